package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// fashion describes the data set that shows bright things on black.
var fashion = imageset.Description{
	Height: 28, Width: 28, Channels: 1, Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true},
}

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (*Picture, error) { return Decode(bytes.NewReader(b), int64(len(b))) }

// prepare reads a file as an image of d.
func prepare(t testing.TB, file []byte, d imageset.Description, invert Invert) ([]uint8, Notes) {
	t.Helper()
	p, err := decode(file)
	if err != nil {
		t.Fatal(err)
	}
	pixels, notes := p.Image(d, invert)
	if len(pixels) != d.Bytes() {
		t.Fatalf("%d bytes, want %d", len(pixels), d.Bytes())
	}
	return pixels, notes
}

// viaPNG writes img as a PNG file and reads that as an image of Fashion-MNIST.
func viaPNG(t testing.TB, img image.Image) []uint8 {
	t.Helper()
	pixels, _ := prepare(t, encodePNG(t, img), fashion, Auto)
	return pixels
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

// goldenFiles are pictures that crnn 0.1.0 reads, JPEG aside: its bits depend on Go's version.
func goldenFiles(t testing.TB) [][]byte {
	t.Helper()
	var files [][]byte
	for _, name := range []string{
		"rgb.png", "gray.png", "gray-alpha16.png", "palette-transparent.png", "interlaced16.png", "full.gif",
	} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	large := image.NewNRGBA(image.Rect(0, 0, 301, 203))
	for i := range large.Pix {
		large.Pix[i] = uint8(i*i>>7 ^ i>>4)
	}
	files = append(files, encodePNG(t, large))
	for i := 3; i < len(large.Pix); i += 4 {
		large.Pix[i] = 255
	}
	return append(files, encodePNG(t, large))
}

// Weights of crnn 0.1.0 get the images that they got from it: testdata/v0.1.0.gray28 holds what its
// data.DecodePicture makes of these files.
func TestImagesAreThoseOf0_1_0(t *testing.T) {
	want, err := os.ReadFile("testdata/v0.1.0.gray28")
	if err != nil {
		t.Fatal(err)
	}
	var got []uint8
	for _, file := range goldenFiles(t) {
		pixels, _ := prepare(t, file, fashion, Auto)
		got = append(got, pixels...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("file %d, pixel %d: %d, want %d", i/fashion.Bytes(), i%fashion.Bytes(), got[i], want[i])
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
			for _, img := range []interface {
				Set(x, y int, c color.Color)
			}{gray16, rgba, nrgba64, paletted} {
				img.Set(x, y, c)
			}
		}
	}
	for _, img := range []image.Image{want, gray16, rgba, nrgba64, paletted} {
		if diff := cmp.Diff(want.Pix, viaPNG(t, img)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", img, diff)
		}
		colours := fashion
		colours.Channels = 3
		got, _ := prepare(t, encodePNG(t, img), colours, Auto)
		if diff := cmp.Diff(slices.Repeat(want.Pix, 3), got); diff != "" {
			t.Errorf("%T in colours (-want +got):\n%s", img, diff)
		}
	}
}

// Each fast way to read pixels gives what At gives.
func TestPixelsAreThoseOfAt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(p []uint8) {
		for i := range p {
			p[i] = uint8(random.IntN(256))
		}
	}
	b := image.Rect(3, 5, 24, 14)
	nrgba, gray := image.NewNRGBA(b), image.NewGray(b)
	noise(nrgba.Pix)
	noise(gray.Pix)
	rgba := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			rgba.Set(x, y, nrgba.At(x, y))
		}
	}
	paletted := image.NewPaletted(b, color.Palette{color.White, color.NRGBA{200, 100, 50, 99}, color.Transparent})
	for i := range paletted.Pix {
		paletted.Pix[i] = uint8(i % 3)
	}
	images := []image.Image{nrgba, rgba, gray, paletted}
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		// Decoders return pictures that begin at 0.
		whole := image.NewYCbCr(image.Rect(0, 0, 32, 16), ratio)
		noise(whole.Y)
		noise(whole.Cb)
		noise(whole.Cr)
		images = append(images, whole.SubImage(image.Rect(0, 0, 21, 9)))
	}
	for _, img := range images {
		b := img.Bounds()
		row, read := make([]color.RGBA64, b.Dx()), rowReader(img)
		for y := b.Min.Y; y < b.Max.Y; y++ {
			read(y, row)
			for x, got := range row {
				if want := color.RGBA64Model.Convert(img.At(b.Min.X+x, y)); got != want {
					t.Fatalf("%T %v, %d,%d: %v, want %v", img, b, x, y, got, want)
				}
			}
		}
		for _, channels := range []int{1, 3} {
			got, _, _ := flattenOver(img, channels, 0)
			want, _, _ := flattenOver(struct{ image.Image }{img}, channels, 0) // has At only
			if diff := cmp.Diff(want.pix, got.pix); diff != "" {
				t.Fatalf("%T %v, %d channels (-want +got):\n%s", img, b, channels, diff)
			}
		}
	}
}

func TestLuminanceOfColours(t *testing.T) {
	for _, test := range []struct {
		c    color.RGBA
		want uint8
	}{ // in a black border: 0.299 R + 0.587 G + 0.114 B
		{color.RGBA{255, 0, 0, 255}, 76}, {color.RGBA{0, 255, 0, 255}, 150}, {color.RGBA{0, 0, 255, 255}, 29},
	} {
		img := image.NewRGBA(image.Rect(0, 0, 28, 28))
		for i := 3; i < len(img.Pix); i += 4 {
			img.Pix[i] = 255
		}
		img.Set(10, 10, test.c)
		if got := viaPNG(t, img)[10*28+10]; got != test.want {
			t.Errorf("%v becomes %d, want %d", test.c, got, test.want)
		}
	}
}

// Colours lie in planes: all of red, then green, then blue.
func TestColoursArePlanar(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	want := []uint8{0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22}
	for _, invert := range []Invert{Auto, No, Yes} {
		got, notes := prepare(t, encodePNG(t, img), imageset.Description{Height: 2, Width: 3, Channels: 3}, invert)
		if invert == Yes {
			for i := range got {
				got[i] = 255 - got[i]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", invert, diff)
		}
		if notes.Inverted != (invert == Yes) {
			t.Errorf("%s: %+v", invert, notes)
		}
	}
}

func TestInvert(t *testing.T) {
	dark := grayOf(28, 28, func(x, y int) uint8 {
		if x > 8 && x < 20 && y > 5 {
			return 200
		}
		return 10
	})
	light := grayOf(28, 28, func(x, y int) uint8 { return 255 - dark.GrayAt(x, y).Y })
	plain := fashion
	plain.Pixels.Invert = false
	colours := fashion
	colours.Channels = 3
	for _, test := range []struct {
		img    *image.Gray
		d      imageset.Description
		invert Invert
		want   *image.Gray
	}{
		{dark, fashion, Auto, dark}, {light, fashion, Auto, dark}, {light, colours, Auto, dark},
		{dark, plain, Auto, dark}, {light, plain, Auto, light},
		{dark, fashion, Yes, light}, {light, fashion, Yes, dark}, {light, plain, Yes, dark},
		{dark, fashion, No, dark}, {light, fashion, No, light},
	} {
		got, notes := prepare(t, encodePNG(t, test.img), test.d, test.invert)
		if diff := cmp.Diff(slices.Repeat(test.want.Pix, test.d.Channels), got); diff != "" {
			t.Errorf("%+v %s (-want +got):\n%s", test.d, test.invert, diff)
		}
		if want := (Notes{Inverted: test.img != test.want}); notes != want {
			t.Errorf("%s: notes %+v, want %+v", test.invert, notes, want)
		}
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
		got := BorderMean(img.Pix, size.X)
		if want := float64(sum) / float64(n); got != want {
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
		for background, want := range map[imageset.Background]uint8{imageset.Black: 0, imageset.White: 255} {
			for _, channels := range []int{1, 3} {
				d := imageset.Description{Height: 28, Width: 28, Channels: channels}
				d.Pixels.Background = background
				got, notes := prepare(t, encodePNG(t, img), d, Auto)
				if got[0] != want || got[10*28+10] != subject || notes.Behind != background {
					t.Errorf("%s, subject %d: background %d (%q), subject %d",
						background, subject, got[0], notes.Behind, got[10*28+10])
				}
			}
		}
	}
	img := image.NewNRGBA(image.Rect(0, 0, 28, 28))
	if diff := cmp.Diff(make([]uint8, fashion.Bytes()), viaPNG(t, img)); diff != "" {
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

// A picture of one value keeps that value, without a seam at the padding.
func TestScaling(t *testing.T) {
	for _, size := range []image.Point{
		{1, 1}, {3, 3}, {14, 14}, {27, 29}, {28, 28}, {56, 28}, {28, 56}, {100, 37}, {1000, 1}, {1, 3000}, {640, 480},
	} {
		for _, v := range []uint8{0, 127, 128, 255} {
			file := encodePNG(t, grayOf(size.X, size.Y, func(int, int) uint8 { return v }))
			for _, resize := range []imageset.Resize{imageset.Fit, imageset.Stretch} {
				for _, channels := range []int{1, 3} {
					d := imageset.Description{Height: 20, Width: 28, Channels: channels}
					d.Pixels.Resize = resize
					got, _ := prepare(t, file, d, Auto)
					if i := slices.IndexFunc(got, func(w uint8) bool { return w != v }); i >= 0 {
						t.Fatalf("%v of %d to %s %q: byte %d is %d", size, v, d.Size(), resize, i, got[i])
					}
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

// Fit pads each colour with its own mean of the border; Stretch does not pad.
func TestPaddingOfColours(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	for i := range img.Pix {
		img.Pix[i] = [4]uint8{200, 100, 50, 255}[i%4]
	}
	img.SetNRGBA(20, 10, color.NRGBA{0, 0, 0, 255})
	d := imageset.Description{Height: 10, Width: 10, Channels: 3}
	d.Pixels.Resize = imageset.Fit
	got, _ := prepare(t, encodePNG(t, img), d, Auto)
	for c, want := range []uint8{200, 100, 50} {
		if got[100*c] != want || got[100*c+99] != want {
			t.Errorf("channel %d is padded with %d and %d, want %d", c, got[100*c], got[100*c+99], want)
		}
	}
	// Left half black, right half white, of any proportions.
	d.Pixels.Resize = imageset.Stretch
	for _, size := range []image.Point{{40, 10}, {10, 40}, {10, 10}} {
		half := grayOf(size.X, size.Y, func(x, y int) uint8 { return uint8(x / (size.X / 2) * 255) })
		got, _ := prepare(t, encodePNG(t, half), d, Auto)
		for i, v := range got {
			if want := uint8(i % 10 / 5 * 255); i%10 != 4 && i%10 != 5 && v != want { // 4 and 5: at the edge, which rings
				t.Fatalf("%v: byte %d is %d, want %d", size, i, v, want)
			}
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

// Halving a coloured picture before the filter changes no value by more than roundings, even in noise.
func TestHalvingIsTheFilters(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	img := image.NewNRGBA(image.Rect(0, 0, 512, 320))
	for y := range 320 {
		for x := range 512 {
			v := uint8(x/100%2*100 + random.IntN(100))
			img.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	file := encodePNG(t, img)
	d := imageset.Description{Height: 20, Width: 32, Channels: 1}
	want, _ := prepare(t, file, d, Auto)
	d.Channels = 3
	got, _ := prepare(t, file, d, Auto)
	most := 0
	for i := range want {
		diff := int(got[i]) - int(want[i])
		most = max(most, diff, -diff)
	}
	if most > 2 { // one of each of the two roundings
		t.Errorf("a value differs by %d", most)
	}
}

// A picture on its side gives the image that it gives upright, up to the rounding of sums in another
// order.
func TestImageIsUpright(t *testing.T) {
	up := grayOf(61, 33, func(x, y int) uint8 {
		if x > 10 && x < 30 && y > 20 {
			return 250
		}
		return uint8(x + y)
	})
	for _, d := range []imageset.Description{
		fashion, {Height: 15, Width: 40, Channels: 1}, {Height: 15, Width: 40, Channels: 3},
		{Height: 33, Width: 61, Channels: 1},
		{Height: 40, Width: 31, Channels: 3, Pixels: imageset.Pixels{Resize: imageset.Fit}},
	} {
		want, _ := prepare(t, encodePNG(t, up), d, Auto)
		for o := 1; o <= 8; o++ {
			stored := image.NewGray(up.Rect)
			if turned(o) {
				stored = image.NewGray(image.Rect(0, 0, 33, 61))
			}
			// 6 and 8 undo each other; the others undo themselves.
			undo := o
			if o == 6 || o == 8 {
				undo = 14 - o
			}
			copy(stored.Pix, turn(up.Pix, 61, 33, undo))
			p := &Picture{Info{"PNG", 61, 33, true}, stored, o}
			got, _ := p.Image(d, Auto)
			for i := range got {
				if diff := int(got[i]) - int(want[i]); diff < -1 || diff > 1 {
					t.Fatalf("%s, orientation %d: byte %d is %d, want %d", d.Size(), o, i, got[i], want[i])
				}
			}
		}
	}
}

func TestNotes(t *testing.T) {
	thing := func(x0, y0, x1, y1 int) *image.Gray {
		return grayOf(100, 100, func(x, y int) uint8 {
			if x >= x0 && x < x1 && y >= y0 && y < y1 {
				return 30
			}
			return 240
		})
	}
	stripes := grayOf(100, 100, func(x, y int) uint8 { return uint8(x / 10 % 4 * 60) })
	wide := grayOf(200, 50, func(x, y int) uint8 { return uint8(x / 20 % 4 * 60) })
	for _, test := range []struct {
		name string
		img  image.Image
		want Notes
	}{
		{"large", thing(5, 10, 95, 90), Notes{Inverted: true}},
		{"low but wide, as a shoe", thing(5, 40, 95, 60), Notes{Inverted: true}},
		{"touches the border", thing(20, 10, 80, 100), Notes{Inverted: true}},
		{"small", thing(40, 40, 70, 70), Notes{Inverted: true, Small: true}},
		{"nothing", thing(0, 0, 0, 0), Notes{Inverted: true, Small: true}},
		{"stripes", stripes, Notes{Busy: true}},
		{"stripes between padding", wide, Notes{Busy: true}},
	} {
		for _, channels := range []int{1, 3} {
			d := fashion
			d.Channels = channels
			_, got := prepare(t, encodePNG(t, test.img), d, Auto)
			if got != test.want {
				t.Errorf("%s, %d channels: %+v, want %+v", test.name, channels, got, test.want)
			}
			d.Pixels.Invert = false
			if _, got := prepare(t, encodePNG(t, test.img), d, Auto); got != (Notes{}) {
				t.Errorf("%s for other data: %+v, want none", test.name, got)
			}
		}
	}
	const all = "inverted; its transparent parts became white; its background is not plain; its subject fills little of it"
	if got := fmt.Sprint(Notes{true, imageset.White, true, true}); got != all {
		t.Errorf("%q, want %q", got, all)
	}
	if got := fmt.Sprint(Notes{}); got != "" {
		t.Errorf("%q, want nothing", got)
	}
}
