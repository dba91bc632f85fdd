package report

import (
	"image"
	"image/color"
	"image/png"
	"io"

	"git.sr.ht/~sbinet/gg"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"crnn/internal/atomicfile"
)

// Figure is a picture. The same data always gives the same bytes.
type Figure struct{ image *image.RGBA }

// WritePNG writes the figure as a PNG.
func (f Figure) WritePNG(w io.Writer) error { return png.Encode(w, f.image) }

// Save writes the figure as a PNG to path. Until it is complete, readers find the old file.
func (f Figure) Save(path string) error { return atomicfile.Output(path, 0o644, f.WritePNG) }

// dpi is the resolution of every figure, in pixels per inch. At half of it text of
// sizeTick is still 11 pixels high.
const dpi = 150

// Sizes of text.
const (
	sizeTitle vg.Length = 14
	sizeLabel vg.Length = 12
	sizeTick  vg.Length = 11
)

var (
	inkColor  = color.RGBA{0x22, 0x22, 0x22, 0xff} // of text and axes
	gridColor = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// pixels returns the length of n pixels.
func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dpi }

// newCanvas returns a white canvas of the given size in pixels, and the figure that shows it.
func newCanvas(width, height int) (draw.Canvas, Figure) {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	drawing := gg.NewContextForRGBA(picture) // vgimg's own context would draw on a copy
	drawing.SetLineCapButt()
	drawing.InvertY()
	c := vgimg.NewWith(vgimg.UseImageWithContext(picture, drawing), vgimg.UseDPI(dpi))
	return draw.New(c), Figure{picture}
}

// at returns the point of a pixel of f, counted from the upper left corner.
func (f Figure) at(x, y int) vg.Point {
	return vg.Point{X: pixels(x), Y: pixels(f.image.Rect.Dy() - y)}
}

// textStyle returns the style of text that is centred on its point.
func textStyle(size vg.Length) draw.TextStyle {
	return draw.TextStyle{
		Color:   inkColor,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  draw.XCenter,
		YAlign:  draw.YCenter,
		Handler: letters,
	}
}
