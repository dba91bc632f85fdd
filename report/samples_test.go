package report

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"strings"
	"testing"

	"crnn/data/imageset"
)

// recipeImages describes the images of the recipe.
var recipeImages = imageset.Description{Height: 28, Width: 28, Channels: 1, Classes: fashion}

// ramps returns n images in which every pixel row has its own gray.
func ramps(n int) [][]byte {
	images := make([][]byte, n)
	for i := range images {
		images[i] = make([]byte, 28*28)
		for j := range images[i] {
			images[i][j] = byte(i*20 + j/28)
		}
	}
	return images
}

func samples(t *testing.T, d imageset.Description, images [][]byte, titles []string) Figure {
	t.Helper()
	f, err := Samples(d, images, titles)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// flat returns n images of d, each of one color.
func flat(d imageset.Description, n int) [][]byte {
	images := make([][]byte, n)
	for i := range images {
		for c := range d.Channels {
			images[i] = append(images[i], bytes.Repeat([]byte{flatColor(i)[c]}, d.Height*d.Width)...)
		}
	}
	return images
}

// flatColor returns the color of image i. In an image of one channel, the first value is the gray.
func flatColor(i int) [3]byte {
	return [3]byte{byte(40 + i%200), byte(90 + 3*i%100), byte(10 + 7*i%150)}
}

// The figures of the recipe are those of 0.1.0, to the pixel.
func TestFiguresOfTheRecipe(t *testing.T) {
	for want, f := range map[string]Figure{
		"6b5928c8eb074944ae77a3e7fedc92037d75c30d21779d10d46c1839ad3fa395": samples(t, recipeImages, ramps(10), fashion),
		"6576b72198abc3bd4b83112a118964c48c1747f3a5fc3aad8038b4ff5c45763d": confusion(t, confused(10, 1000), fashion,
			"Test set, model of epoch 12"),
		"1a57e13fd2c38521d54ee5ad9e75b7e79ba64d0c444ee10a2372637c065c81fa": confusion(t, confused(10, 100000), fashion,
			"Test set, model of epoch 12"),
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(f.image.Pix)); got != want {
			t.Errorf("the pixels of the figure of %v have the SHA-256 %s, want %s", f.image.Rect.Max, got, want)
		}
	}
}

func TestSamples(t *testing.T) {
	for _, c := range []struct{ images, width, height int }{
		{1, 300, 324}, {3, 852, 324}, {5, 1404, 324}, {10, 1404, 636}, {26, 1680, 1572}, {100, 1900, 2150}, {256, 2064, 2376},
	} {
		titles := imageset.Numbered(c.images)
		checkFigure(t, samples(t, recipeImages, ramps(c.images), titles), samples(t, recipeImages, ramps(c.images), titles),
			c.width, c.height)
	}
}

// Every pixel of an image is a square of its gray, in the order given.
func TestSamplesAreCrisp(t *testing.T) {
	const scale, title, gap = 9, 48, 24
	images := ramps(10)
	f := samples(t, recipeImages, images, fashion)
	for i, img := range images {
		x0 := gap + i%5*(28*scale+gap)
		y0 := title + i/5*(title+28*scale+gap/2)
		for y := range 28 * scale {
			for x := range 28 * scale {
				want := img[y/scale*28+x/scale]
				if got := f.image.RGBAAt(x0+x, y0+y); got.R != want || got.G != want || got.B != want || got.A != 0xff {
					t.Fatalf("image %d: %v at %d,%d, want gray %d", i, got, x, y, want)
				}
			}
		}
	}
}

// Images of any size and number keep their colors and proportions, and no figure is huge.
func TestSamplesOfAnySize(t *testing.T) {
	for _, d := range []imageset.Description{
		{Height: 32, Width: 32, Channels: 3}, {Height: 32, Width: 128, Channels: 1}, {Height: 500, Width: 100, Channels: 3},
		{Height: 1, Width: 1, Channels: 1}, {Height: 300, Width: 1, Channels: 3}, {Height: 74, Width: 74, Channels: 1},
	} {
		for _, n := range []int{2, 256} {
			images := flat(d, n)
			f := samples(t, d, images, make([]string, n))
			layout := samplesLayout(n)
			size := layout.imageSize(d)
			for i := range images {
				c := flatColor(i)
				want := color.RGBA{c[0], c[1], c[2], 0xff}
				if d.Channels == 1 {
					want = color.RGBA{c[0], c[0], c[0], 0xff}
				}
				x := layout.gap + i%layout.across*(max(layout.width, size.X)+layout.gap) + (max(layout.width, size.X)-size.X)/2
				y := layout.title + i/layout.across*(layout.title+size.Y+layout.gap/2)
				place := image.Rectangle{Max: size}.Add(image.Pt(x, y))
				if got := count(f, place, want); got != size.X*size.Y {
					t.Fatalf("%s: %d of %d pixels of image %d have its color", d.Size(), got, size.X*size.Y, i)
				}
			}
			if s := f.image.Rect.Max; s.X > 3000 || s.Y > 3200 {
				t.Errorf("%d images of %s: a figure of %v", n, d.Size(), s)
			}
		}
	}
}

func TestImageSize(t *testing.T) {
	for _, c := range []struct{ height, width, side, wantHeight, wantWidth int }{
		{28, 28, 252, 252, 252},
		{32, 32, 252, 256, 256},
		{200, 200, 252, 200, 200},
		{336, 84, 252, 336, 84},
		{337, 674, 252, 126, 252},
		{4096, 1, 252, 252, 1},
		{28, 28, 56, 56, 56},
	} {
		got := tiles{side: c.side}.imageSize(imageset.Description{Height: c.height, Width: c.width})
		if got != image.Pt(c.wantWidth, c.wantHeight) {
			t.Errorf("%dx%d for %d: %dx%d, want %dx%d", c.height, c.width, c.side, got.Y, got.X, c.wantHeight, c.wantWidth)
		}
	}
}

func TestSamplesShowTitles(t *testing.T) {
	other := append([]string(nil), fashion...)
	other[6] = "Skirt"
	if same(samples(t, recipeImages, ramps(10), fashion), samples(t, recipeImages, ramps(10), other)) {
		t.Error("a change of a title does not show")
	}
}

// A title that no font shows has the label of its class.
func TestSamplesOfUnknownScript(t *testing.T) {
	useFonts(t, noFonts)
	d := recipeImages
	d.Classes = []string{"狗", "猫"}
	got := samples(t, d, ramps(1), []string{"猫"})
	if !same(got, samples(t, recipeImages, ramps(1), []string{`1: \u732b`})) {
		t.Error("the title is not the label and the escaped name")
	}
}

func TestSamplesRefuses(t *testing.T) {
	two := imageset.Description{Height: 28, Width: 28, Channels: 2}
	for want, c := range map[string]struct {
		d      imageset.Description
		images [][]byte
		titles []string
	}{
		"samples: 0 images with 0 titles": {recipeImages, nil, nil},
		"samples: 2 images with 1 titles": {recipeImages, ramps(2), fashion[:1]},
		"samples: image 1 (Trouser) has 3 bytes, expected 784": {
			recipeImages, [][]byte{make([]byte, 784), {1, 2, 3}}, fashion[:2]},
		"samples: image 0 (T-shirt/top) has the size 28x28x2, expected 1 or 3 channels and sides of 1 or more": {
			two, ramps(1), fashion[:1]},
	} {
		if _, err := Samples(c.d, c.images, c.titles); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// sheetRows returns a row per class, the first with one image, the second with two, and so on.
func sheetRows(d imageset.Description) []Row {
	rows := make([]Row, len(d.Classes))
	for i, class := range d.Classes {
		rows[i] = Row{class, ": 600", flat(d, min(i+1, 20))}
	}
	return rows
}

func contactSheet(t *testing.T, d imageset.Description, rows []Row) Figure {
	t.Helper()
	f, err := ContactSheet(d, rows)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestContactSheet(t *testing.T) {
	for _, c := range []struct{ classes, shown, width, height int }{
		{2, 12, 1458, 344}, {12, 12, 1458, 2004}, {40, 8, 1536, 2778}, {41, 5, 2020, 700}, {256, 5, 2020, 4228},
	} {
		d := imageset.Description{Height: 28, Width: 28, Channels: 3, Classes: imageset.Numbered(c.classes)}
		rows := sheetRows(d)
		f := contactSheet(t, d, rows)
		checkFigure(t, f, contactSheet(t, d, rows), c.width, c.height)
		layout := sheetLayout(c.classes)
		size := layout.imageSize(d)
		for i, row := range rows {
			x := layout.gap + i%layout.across*(c.width-layout.gap)/layout.across
			y := i/layout.across*(layout.title+size.Y+layout.gap/2) + layout.title
			for j := range c.shown {
				want := color.RGBA{0xff, 0xff, 0xff, 0xff}
				if j < len(row.Images) {
					rgb := flatColor(j)
					want = color.RGBA{rgb[0], rgb[1], rgb[2], 0xff}
				}
				place := image.Rectangle{Max: size}.Add(image.Pt(x+j*(size.X+tileSpace), y))
				if got := count(f, place, want); got != size.X*size.Y {
					t.Fatalf("%d classes: %d of %d pixels of image %d of class %d have its color",
						c.classes, got, size.X*size.Y, j, i)
				}
			}
		}
	}
}

func TestContactSheetOfAnyNames(t *testing.T) {
	useFonts(t, noFonts)
	d := recipeImages
	d.Classes = []string{strings.Repeat("long ", 1000), "", "a\nb", "猫"}
	if s := contactSheet(t, d, sheetRows(d)).image.Rect.Max; s != image.Pt(1458, 676) {
		t.Errorf("size %v", s)
	}
	escaped := sheetRows(d)
	escaped[3].Title = `3: \u732b`
	if !same(contactSheet(t, d, sheetRows(d)), contactSheet(t, d, escaped)) {
		t.Error("the title of unknown letters is not the label and the escaped name")
	}
	other := sheetRows(d)
	other[0].Note = ": 601"
	if same(contactSheet(t, d, sheetRows(d)), contactSheet(t, d, other)) {
		t.Error("behind a long title the note is not shown")
	}
}

func TestContactSheetRefuses(t *testing.T) {
	d := recipeImages
	short := sheetRows(d)
	short[1].Images[1] = []byte{1, 2, 3}
	for want, rows := range map[string][]Row{
		"contact sheet: 0 rows for 10 classes":                                  nil,
		"contact sheet: 9 rows for 10 classes":                                  sheetRows(d)[:9],
		"contact sheet: image 1 of class 1 (Trouser) has 3 bytes, expected 784": short,
	} {
		if _, err := ContactSheet(d, rows); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
