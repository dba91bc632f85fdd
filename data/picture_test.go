package data

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) ([]uint8, error) {
	return DecodePicture(bytes.NewReader(b), int64(len(b)))
}

// viaPNG writes img as a PNG file and reads that as a picture.
func viaPNG(t *testing.T, img image.Image) []uint8 {
	t.Helper()
	got, err := decode(encodePNG(t, img))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != imageSize {
		t.Fatalf("%d pixels, want %d", len(got), imageSize)
	}
	return got
}

// grayOf makes a picture of the value of each pixel.
func grayOf(w, h int, value func(x, y int) uint8) *image.Gray {
	g := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			g.Pix[y*g.Stride+x] = value(x, y)
		}
	}
	return g
}

// The data set's own images, read as pictures, are unchanged.
func TestPictureOfTheDataSetIsUnchanged(t *testing.T) {
	d, err := Load(fashionDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []*Set{d.Train, d.Test} {
		for i := range set.Count {
			img := &image.Gray{Pix: set.Image(i), Stride: imageWidth, Rect: image.Rect(0, 0, imageWidth, imageHeight)}
			if mean := borderMean(img); mean > 127.5 {
				t.Errorf("image %d counts as having a light background, its border's mean is %.1f", i, mean)
			}
			if i%500 != 0 {
				continue
			}
			if diff := cmp.Diff(set.Image(i), viaPNG(t, img)); diff != "" {
				t.Fatalf("image %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

// Every gray value survives every way in which a PNG file can hold it.
func TestGrayIsExact(t *testing.T) {
	want := grayOf(28, 28, func(x, y int) uint8 {
		if x == 0 || y == 0 || x == 27 || y == 27 {
			return 0
		}
		return uint8(y*28 + x)
	})
	bounds := want.Rect
	gray16, rgba, nrgba64 := image.NewGray16(bounds), image.NewRGBA(bounds), image.NewNRGBA64(bounds)
	var palette color.Palette
	for i := range 256 {
		palette = append(palette, color.Gray{uint8(i)})
	}
	paletted := image.NewPaletted(bounds, palette)
	for y := range 28 {
		for x := range 28 {
			c := want.GrayAt(x, y)
			gray16.Set(x, y, c)
			rgba.Set(x, y, c)
			nrgba64.Set(x, y, c)
			paletted.Set(x, y, c)
		}
	}
	for _, img := range []image.Image{want, gray16, rgba, nrgba64, paletted} {
		if diff := cmp.Diff(want.Pix, viaPNG(t, img)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", img, diff)
		}
	}
	var b bytes.Buffer
	if err := gif.Encode(&b, paletted, nil); err != nil {
		t.Fatal(err)
	}
	got, err := decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Pix, got); diff != "" {
		t.Errorf("GIF (-want +got):\n%s", diff)
	}
}

func TestJPEG(t *testing.T) {
	want := grayOf(28, 28, func(x, y int) uint8 { return uint8(4 * (x + y)) })
	var b bytes.Buffer
	if err := jpeg.Encode(&b, want, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	got, err := decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		// At quality 100 the coefficients are rounded to integers, which changes a pixel by a few
		// units.
		if d := int(v) - int(want.Pix[i]); d < -4 || d > 4 {
			t.Errorf("pixel %d: %d, want %d", i, v, want.Pix[i])
		}
	}
}

func TestLuminanceOfColours(t *testing.T) {
	for _, test := range []struct {
		c    color.Color
		want uint8
	}{ // in a black border: 0.299 R + 0.587 G + 0.114 B
		{color.RGBA{255, 0, 0, 255}, 76}, {color.RGBA{0, 255, 0, 255}, 150}, {color.RGBA{0, 0, 255, 255}, 29},
	} {
		img := image.NewRGBA(image.Rect(0, 0, 28, 28))
		for y := range 28 {
			for x := range 28 {
				img.Set(x, y, color.Black)
			}
		}
		img.Set(10, 10, test.c)
		if got := viaPNG(t, img)[10*28+10]; got != test.want {
			t.Errorf("%v becomes %d, want %d", test.c, got, test.want)
		}
	}
}

func TestLightBackgroundIsTurnedDark(t *testing.T) {
	dark := grayOf(28, 28, func(x, y int) uint8 {
		if x > 8 && x < 20 && y > 5 {
			return 200
		}
		return 10
	})
	light := grayOf(28, 28, func(x, y int) uint8 { return 255 - dark.GrayAt(x, y).Y })
	if diff := cmp.Diff(dark.Pix, viaPNG(t, light)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each pixel of the border counts once, the corners too, in pictures of every shape.
func TestBorderMean(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {1, 5}, {5, 1}, {2, 2}, {2, 5}, {4, 3}, {28, 28}} {
		img := grayOf(size.X, size.Y, func(x, y int) uint8 { return uint8(7*x + 11*y) })
		sum, n := 0, 0
		for y := range size.Y {
			for x := range size.X {
				if x == 0 || y == 0 || x == size.X-1 || y == size.Y-1 {
					sum += int(img.GrayAt(x, y).Y)
					n++
				}
			}
		}
		if got, want := borderMean(img), float64(sum)/float64(n); got != want {
			t.Errorf("%v: %v, want %v", size, got, want)
		}
	}
}

// A subject without a background becomes bright on black, whether it is dark or light.
func TestTransparentBackground(t *testing.T) {
	for _, subject := range []uint8{0, 40, 220, 255} {
		img := image.NewNRGBA(image.Rect(0, 0, 28, 28))
		for y := 8; y < 20; y++ {
			for x := 8; x < 20; x++ {
				img.SetNRGBA(x, y, color.NRGBA{subject, subject, subject, 255})
			}
		}
		want := subject
		if subject < 128 {
			want = 255 - subject // seen on white, and inverted
		}
		got := viaPNG(t, img)
		if got[0] != 0 || got[10*28+10] != want {
			t.Errorf("subject %d: background %d, subject %d; want 0 and %d", subject, got[0], got[10*28+10], want)
		}
	}
	img := image.NewNRGBA(image.Rect(0, 0, 28, 28))
	if diff := cmp.Diff(make([]uint8, imageSize), viaPNG(t, img)); diff != "" {
		t.Errorf("nothing at all (-want +got):\n%s", diff)
	}
	// Half transparent black, on white: gray 127, whose inverse is 128; a border of it is dark.
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 128
	}
	if got := viaPNG(t, img)[0]; got != 127 {
		t.Errorf("half transparent black becomes %d, want 127", got)
	}
}

func TestScaling(t *testing.T) {
	for _, size := range []image.Point{
		{1, 1}, {3, 3}, {14, 14}, {27, 29}, {28, 28}, {56, 28}, {28, 56}, {100, 37}, {1000, 1}, {1, 3000}, {640, 480},
	} {
		// A picture of one value keeps that value, without a seam at the padding.
		for _, v := range []uint8{0, 127, 128, 255} {
			want := v
			if v > 127 {
				want = 255 - v
			}
			for i, got := range viaPNG(t, grayOf(size.X, size.Y, func(int, int) uint8 { return v })) {
				if got != want {
					t.Fatalf("%v of %d: pixel %d is %d, want %d", size, v, i, got, want)
				}
			}
		}
	}
}

// The proportions stay. The rest is background, equal above and below.
func TestPaddingKeepsProportions(t *testing.T) {
	img := grayOf(280, 140, func(x, y int) uint8 {
		if x > 20 && x < 260 && y > 20 && y < 120 {
			return 255
		}
		return 0
	})
	got := viaPNG(t, img)
	at := func(x, y int) uint8 { return got[y*28+x] }
	for _, p := range []image.Point{{14, 0}, {14, 6}, {14, 21}, {14, 27}, {0, 14}, {27, 14}} {
		if at(p.X, p.Y) > 2 { // Catmull-Rom rings by less than that on black
			t.Errorf("pixel %v is %d, want background", p, at(p.X, p.Y))
		}
	}
	for _, p := range []image.Point{{14, 10}, {14, 14}, {14, 17}, {4, 14}, {23, 14}} {
		if at(p.X, p.Y) < 253 {
			t.Errorf("pixel %v is %d, want the subject's 255", p, at(p.X, p.Y))
		}
	}
}

// Shrinking averages pixels; it does not pick single ones.
func TestShrinkingAverages(t *testing.T) {
	img := grayOf(280, 280, func(x, y int) uint8 {
		if x < 10 || y < 10 || x >= 270 || y >= 270 {
			return 0
		}
		return uint8((x + y) % 2 * 255)
	})
	got := viaPNG(t, img)
	for y := 4; y < 24; y++ {
		for x := 4; x < 24; x++ {
			// A chequered board of 0 and 255 averages to 127.5. Over 20 and more points, the
			// filter's weights cancel to within one per cent.
			if v := got[y*28+x]; v < 124 || v > 131 {
				t.Fatalf("pixel %d,%d is %d, want 127 or 128", x, y, v)
			}
		}
	}
}

func TestOrientation(t *testing.T) {
	got := viaPNG(t, grayOf(56, 56, func(x, y int) uint8 {
		if x > 6 && x < 20 && y > 30 && y < 50 {
			return 255
		}
		return 0
	}))
	if got[20*28+7] != 255 || got[7*28+20] != 0 {
		t.Errorf("bottom left is %d, top right %d; want 255 and 0", got[20*28+7], got[7*28+20])
	}
}

// pngHeader returns a PNG file whose header promises the given size, without pixels.
func pngHeader(width, height uint32, padding int) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	ihdr = binary.BigEndian.AppendUint32(ihdr, height)
	ihdr = append(ihdr, 8, 6, 0, 0, 0) // 8 bits, RGBA
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	b = append(b, ihdr...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
	return append(b, make([]byte, padding)...)
}

func TestFilesThatAreNoPictures(t *testing.T) {
	gray := encodePNG(t, image.NewGray(image.Rect(0, 0, 28, 28)))
	var j bytes.Buffer
	if err := jpeg.Encode(&j, image.NewGray(image.Rect(0, 0, 99, 99)), nil); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty, expected a PNG, JPEG or GIF picture"},
		{"text", []byte("no picture at all"), "not a picture in a format that is understood (PNG, JPEG, GIF)"},
		{"one byte", []byte{0xff}, "not a picture"},
		{"WebP", []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "not a picture"},
		{"PNG cut in the header", gray[:20], "damaged PNG picture: unexpected EOF"},
		{"PNG cut", gray[:len(gray)-20], "damaged PNG picture: png: invalid format: unexpected EOF"},
		{"JPEG cut", j.Bytes()[:j.Len()/2], "damaged JPEG picture: unexpected EOF"},
		{"GIF cut", []byte("GIF89a"), "damaged GIF picture"},
		{"GIF without frames", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "damaged GIF picture"},
		{"too many pixels", pngHeader(20000, 20000, 0), "the picture has 20000x20000 pixels, at most 100 million"},
		{"too long a side", pngHeader(1<<17, 1, 1<<10),
			"the picture has 131072x1 pixels, at most 100 million in all and 65536 on a side"},
		{"sides that overflow", pngHeader(1<<31-1, 1<<31-1, 0), "damaged PNG picture"},
		{"forged size", pngHeader(9999, 9999, 1000), "promises 9999x9999 pixels, which a file of 1033 bytes cannot hold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decode(test.file)
			runtime.ReadMemStats(&after)
			wantError(t, err, test.want)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 { // buffers of the decoders
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

func TestLoadPicture(t *testing.T) {
	dir := t.TempDir()
	want := noise(imageSize, 1)
	for x := range 28 {
		want[x], want[27*28+x] = 0, 0
	}
	path := filepath.Join(dir, "picture.txt") // the name does not matter
	img := &image.Gray{Pix: want, Stride: 28, Rect: image.Rect(0, 0, 28, 28)}
	if err := os.WriteFile(path, encodePNG(t, img), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := LoadPicture(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	text := filepath.Join(dir, "text.png")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = LoadPicture(text)
	wantError(t, err, text+": not a picture")
	_, err = LoadPicture(dir)
	wantError(t, err, dir+": a directory, expected a file")
	_, err = LoadPicture(filepath.Join(dir, "absent"))
	wantError(t, err, filepath.Join(dir, "absent")+": no such file")
}

func FuzzPicture(f *testing.F) {
	gray := grayOf(9, 5, func(x, y int) uint8 { return uint8(x * y) })
	colours := image.NewNRGBA(image.Rect(0, 0, 5, 9))
	copy(colours.Pix, noise(len(colours.Pix), 1))
	paletted := image.NewPaletted(image.Rect(0, 0, 3, 4), color.Palette{color.White, color.Transparent, color.Black})
	for _, img := range []image.Image{gray, colours, paletted} {
		f.Add(encodePNG(f, img))
		var j, g bytes.Buffer
		if err := jpeg.Encode(&j, img, nil); err != nil {
			f.Fatal(err)
		}
		if err := gif.Encode(&g, img, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(j.Bytes())
		f.Add(g.Bytes())
	}
	f.Add(pngHeader(1000, 1000, 200))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := decode(file)
		if err != nil {
			wantError(t, err)
		} else if len(got) != imageSize {
			t.Errorf("%d pixels, want %d", len(got), imageSize)
		}
	})
}
