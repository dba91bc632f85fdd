package report

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// pngOf returns the bytes of a figure.
func pngOf(t *testing.T, f Figure) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// same reports whether two figures have the same pixels.
func same(a, b Figure) bool {
	return a.image.Rect == b.image.Rect && bytes.Equal(a.image.Pix, b.image.Pix)
}

// checkFigure checks that two figures of the same data are equal and have the given size. A height
// of 0 stands for any.
func checkFigure(t *testing.T, f, again Figure, width, height int) {
	t.Helper()
	if !same(f, again) {
		t.Error("two figures of the same data differ")
	}
	if size := f.image.Rect.Size(); size.X != width || (height != 0 && size.Y != height) {
		t.Errorf("size %v, want %dx%d", size, width, height)
	}
}

// count returns the number of pixels of f inside r that have exactly the color c.
func count(f Figure, r image.Rectangle, c color.Color) int {
	want := color.RGBAModel.Convert(c).(color.RGBA)
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if f.image.RGBAAt(x, y) == want {
				n++
			}
		}
	}
	return n
}

// halves returns the panels of a figure of curves, without the legend.
func halves(f Figure) (left, right image.Rectangle) {
	return image.Rect(0, 0, curvesWidth/2, curvesHeight-30), image.Rect(curvesWidth/2, 0, curvesWidth, curvesHeight-30)
}

// The file is a PNG of the figure's pixels, the same bytes every time.
func TestFigureSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "curves.png")
	f := Curves(recipe(2))
	for range 2 { // the second replaces the first
		if err := f.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, pngOf(t, Curves(recipe(2)))) {
		t.Error("the file is not the figure")
	}
	img, err := png.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds() != f.image.Rect {
		t.Fatalf("size %v, want %v", img.Bounds(), f.image.Rect)
	}
	for y := range f.image.Rect.Dy() {
		for x := range f.image.Rect.Dx() {
			if got, want := color.RGBAModel.Convert(img.At(x, y)), f.image.RGBAAt(x, y); got != want {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, got, want)
			}
		}
	}
}
