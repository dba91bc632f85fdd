package data

import (
	"bufio"
	"bytes"
	"crnn/tests/datatest"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// pillow returns a Python with Pillow: that of CRNN_PYTHON, of scripts/python-env or of the machine.
func pillow(t *testing.T) string {
	t.Helper()
	for _, python := range []string{os.Getenv("CRNN_PYTHON"), filepath.Join("..", ".tools", "venv", "bin", "python"),
		"python3"} {
		if python != "" && exec.Command(python, "-c", "import PIL.Image").Run() == nil {
			return python
		}
	}
	t.Skip("no Python with Pillow: install it, and name the Python in CRNN_PYTHON")
	return ""
}

// shownPicture is a picture and what Pillow shows of it.
type shownPicture struct {
	path      string
	tolerance int
	rgb       []uint8 // [height,width,3]
}

// wantShown checks that the images of a set are those that Pillow shows, in the order of their paths.
func wantShown(t *testing.T, s *Set, want []shownPicture) {
	t.Helper()
	if s.Count != len(want) {
		t.Fatalf("%d images, want %d", s.Count, len(want))
	}
	for i, w := range want {
		got, pixels := s.Image(i), s.Height*s.Width
		if len(got) != len(w.rgb) {
			t.Fatalf("%s: %d bytes, want %d", w.path, len(got), len(w.rgb))
		}
		for j := range w.rgb {
			if d := int(w.rgb[j]) - int(got[j%3*pixels+j/3]); max(d, -d) > w.tolerance {
				t.Errorf("%s: pixel %d, channel %d is %d, want %d within %d",
					w.path, j/3, j%3, got[j%3*pixels+j/3], w.rgb[j], w.tolerance)
				break
			}
		}
	}
}

// A folder of the opaque pictures among picture's fixtures, which Pillow wrote: a class for each format.
func TestFolderOfFixtures(t *testing.T) {
	datatest.SetCache(t)
	from := filepath.Join("picture", "testdata")
	list, err := os.Open(filepath.Join(from, "expect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	root := t.TempDir()
	var want []shownPicture
	for lines := bufio.NewScanner(list); lines.Scan(); {
		var p shownPicture
		var name, format string
		var width, height int
		var gray bool
		if _, err := fmt.Sscan(lines.Text(), &name, &format, &width, &height, &gray, &p.tolerance); err != nil {
			t.Fatal(err)
		}
		rgba, err := os.ReadFile(filepath.Join(from, name+".rgba"))
		if err != nil {
			t.Fatal(err)
		}
		opaque := true
		for i := 0; i < len(rgba); i += 4 {
			opaque = opaque && rgba[i+3] == 255
			p.rgb = append(p.rgb, rgba[i:i+3]...)
		}
		if !opaque || width != 23 || height != 17 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		p.path = filepath.Join(format, name)
		for _, part := range []string{"train", "test"} {
			put(t, filepath.Join(root, part, p.path), b)
		}
		want = append(want, p)
	}
	slices.SortFunc(want, func(a, b shownPicture) int { return bytes.Compare([]byte(a.path), []byte(b.path)) })
	if len(want) < 40 {
		t.Fatalf("only %d fixtures", len(want))
	}
	d, err := Read(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Size() != "17x23x3" || len(d.Train.Classes) != 6 || len(d.Notes) != 0 {
		t.Errorf("%s, classes %q, notes %q", d.Train.Size(), d.Train.Classes, d.Notes)
	}
	wantShown(t, d.Train, want)
	wantShown(t, d.Test, want)
}

// A folder of 2,000 pictures of every format that Pillow writes.
func TestPillowFolder(t *testing.T) {
	python := pillow(t)
	datatest.SetCache(t)
	root := t.TempDir()
	// Tolerances are those of picture/testdata/make.py: what is lossless is exact; JPEG's inverse
	// transforms and conversions of colours may differ by the rounding.
	const script = `
import io, json, os, random, sys
from PIL import Image, ImageOps
random.seed(1)
W, H = 13, 10
T = Image.Transpose
TURNS = [None, T.FLIP_LEFT_RIGHT, T.ROTATE_180, T.FLIP_TOP_BOTTOM, T.TRANSPOSE, T.ROTATE_90, T.TRANSVERSE, T.ROTATE_270]

def picture(i):
    a, b, c = (random.randrange(1, 9) for _ in range(3))
    pixels = bytes(v for y in range(H) for x in range(W)
                   for v in ((20 + a * x + b * y) % 256, (30 + b * x + 2 * c * y) % 256, (200 - c * x - a * y) % 256))
    return Image.frombytes("RGB", (W, H), pixels)

def turned(img, i):
    """Stored in another orientation, of which EXIF tells."""
    exif = Image.Exif()
    exif[274] = i % 8 + 1
    return (img.transpose(TURNS[i % 8]) if i % 8 else img), {"exif": exif.tobytes()}

JPEG = {"quality": 95, "subsampling": 0}
kinds = {
    "png-rgb.png": lambda i, m: (m, {}, 0),
    "png-gray.PNG": lambda i, m: (m.convert("L"), {}, 0),
    "png-palette.png": lambda i, m: (m.quantize(16), {}, 0),
    "png-bits.png": lambda i, m: (m.convert("1"), {}, 0),
    "png-alpha.png": lambda i, m: (m.convert("RGBA"), {}, 0),
    "png-turned.png": lambda i, m: (*turned(m, i), 0),
    "jpeg-rgb.jpg": lambda i, m: (m, JPEG, 4),
    "jpeg-gray.jpeg": lambda i, m: (m.convert("L"), {"quality": 90}, 2),
    "jpeg-progressive.jpg": lambda i, m: (m, JPEG | {"progressive": True}, 4),
    "jpeg-cmyk.JPG": lambda i, m: (m.convert("CMYK"), JPEG, 4),
    "jpeg-turned.jfif": lambda i, m: (lambda n, o: (n, JPEG | o, 4))(*turned(m, i)),
    "gif-palette.gif": lambda i, m: (m.quantize(32), {}, 0),
    "gif-gray.gif": lambda i, m: (m.convert("L"), {}, 0),
    "gif-moving.gif": lambda i, m: (m.quantize(8), {"save_all": True, "append_images": [m.rotate(180).quantize(8)]}, 0),
    "bmp-rgb.bmp": lambda i, m: (m, {}, 0),
    "bmp-gray.bmp": lambda i, m: (m.convert("L"), {}, 0),
    "bmp-palette.bmp": lambda i, m: (m.quantize(64), {}, 0),
    "bmp-bits.bmp": lambda i, m: (m.convert("1"), {}, 0),
    "webp-lossless.webp": lambda i, m: (m, {"lossless": True}, 0),
    "webp-gray.webp": lambda i, m: (Image.merge("RGB", [m.convert("L")] * 3), {"quality": 90}, 0),
    "tiff-raw.tif": lambda i, m: (m, {}, 0),
    "tiff-lzw.tiff": lambda i, m: (m, {"compression": "tiff_lzw"}, 0),
    "tiff-deflate.tif": lambda i, m: (m.convert("L"), {"compression": "tiff_adobe_deflate"}, 0),
    "tiff-packbits.tif": lambda i, m: (m.quantize(16), {"compression": "packbits"}, 0),
    "tiff-fax.TIF": lambda i, m: (m.convert("1"), {"compression": "group4"}, 0),
}
FORMATS = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tiff": "TIFF"}
out = []
for i in range(80):
    for kind, make in kinds.items():
        name, ending = kind.split(".")
        img, options, tolerance = make(i, picture(i))
        data = io.BytesIO()
        img.save(data, FORMATS[name.split("-")[0]], **options)
        part = "test" if i % 4 == 3 else "train"
        folder = os.path.join(sys.argv[1], part, name.split("-")[0])
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "%s %02d.%s" % (name, i, ending))
        with open(path, "wb") as f:
            f.write(data.getvalue())
        with Image.open(path) as saved:
            shown = ImageOps.exif_transpose(saved).convert("RGB")
        out.append([part, os.path.relpath(path, sys.argv[1]), tolerance, shown.tobytes().hex()])
json.dump(out, sys.stdout)
`
	out, err := exec.Command(python, "-c", script, root).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	var list [][4]any
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	want := map[string][]shownPicture{}
	for _, x := range list {
		part := x[0].(string)
		p := shownPicture{path: x[1].(string), tolerance: int(x[2].(float64))}
		if _, err := fmt.Sscanf(x[3].(string), "%x", &p.rgb); err != nil {
			t.Fatal(err)
		}
		want[part] = append(want[part], p)
	}
	for _, part := range want {
		slices.SortFunc(part, func(a, b shownPicture) int { return bytes.Compare([]byte(a.path), []byte(b.path)) })
	}
	for _, again := range []bool{false, true} {
		d, err := Read(t.Context(), root, Options{Progress: func(int, int) {
			if again {
				t.Error("pictures are decoded again")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if d.Train.Size() != "10x13x3" || d.Train.Count != 1500 || len(d.Notes) != 0 {
			t.Errorf("%s, %d images, notes %q", d.Train.Size(), d.Train.Count, d.Notes)
		}
		wantShown(t, d.Train, want["train"])
		wantShown(t, d.Test, want["test"])
	}
}
