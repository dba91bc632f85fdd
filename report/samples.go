package report

import (
	"fmt"
	"image"
	"math"
	"slices"

	"golang.org/x/image/draw"
	"gonum.org/v1/plot/vg"
	plotdraw "gonum.org/v1/plot/vg/draw"

	"crnn/data/imageset"
)

// Samples returns the figure of one sample per class: images of d, each below its title, in the
// given order. An image is [Channels, Height, Width] bytes, 0 dark and 255 bright.
func Samples(d imageset.Description, images [][]byte, titles []string) (Figure, error) {
	if len(images) == 0 || len(images) != len(titles) {
		return Figure{}, fmt.Errorf("samples: %d images with %d titles", len(images), len(titles))
	}
	rows := make([]Row, len(images))
	for i, img := range images {
		if err := checkImage(d, img); err != nil {
			return Figure{}, fmt.Errorf("samples: image %d (%s) %w", i, printable(titles[i]), err)
		}
		rows[i] = Row{classTitle(titles[i], slices.Index(d.Classes, titles[i])), "", [][]byte{img}}
	}
	return samplesLayout(len(images)).draw(d, rows), nil
}

// Row is a class of a contact sheet: its title and some of its images.
type Row struct {
	Title  string   // shortened if it is too long
	Note   string   // behind the title, never shortened
	Images [][]byte // as for Samples
}

// SheetImages returns how many images of a class a contact sheet of so many classes shows.
func SheetImages(classes int) int { return sheetLayout(classes).images }

// ContactSheet returns the figure of the images of a data set: one row per class of d, in order,
// with a title and as many of the row's images as there is room for.
func ContactSheet(d imageset.Description, rows []Row) (Figure, error) {
	if len(rows) == 0 || len(rows) != len(d.Classes) {
		return Figure{}, fmt.Errorf("contact sheet: %d rows for %d classes", len(rows), len(d.Classes))
	}
	titled := make([]Row, len(rows))
	for i, row := range rows {
		for j, img := range row.Images {
			if err := checkImage(d, img); err != nil {
				return Figure{}, fmt.Errorf("contact sheet: image %d of class %d (%s) %w", j, i, printable(d.Classes[i]), err)
			}
		}
		titled[i] = Row{classTitle(row.Title, i), row.Note, row.Images}
	}
	return sheetLayout(len(rows)).draw(d, titled), nil
}

func checkImage(d imageset.Description, img []byte) error {
	if d.Height < 1 || d.Width < 1 || !imageset.IsChannels(d.Channels) {
		return fmt.Errorf("has the size %s, expected 1 or 3 channels and sides of 1 or more", d.Size())
	}
	if len(img) != d.Bytes() {
		return fmt.Errorf("has %d bytes, expected %d", len(img), d.Bytes())
	}
	return nil
}

// tiles is a layout of rows: titles with images below them. Lengths are in pixels.
type tiles struct {
	across int       // rows beside each other
	images int       // of a row, beside each other
	side   int       // of the square that an image about fills
	width  int       // of a row, at least: room for its title
	title  int       // height of a title
	gap    int       // between rows beside each other; half of it between those below each other
	text   vg.Length // size of the titles' text
}

// tileSpace is the space between two images of a row, in pixels.
const tileSpace = 6

// samplesLayout returns the layout of n samples. The more there are, the smaller is each.
func samplesLayout(n int) tiles {
	across := max(min(n, 5), int(math.Ceil(math.Sqrt(float64(n)))))
	switch {
	case n <= 30:
		return tiles{across, 1, 252, 252, 48, 24, sizeLabel}
	case n <= 100:
		return tiles{across, 1, 168, 168, 36, 20, 9}
	}
	return tiles{across, 1, 112, 112, 28, 16, 7.5}
}

// sheetLayout returns the layout of a contact sheet of n classes.
func sheetLayout(n int) tiles {
	switch {
	case n <= 12:
		return tiles{1, 12, 112, 600, 42, 24, sizeLabel}
	case n <= 40:
		return tiles{2, 8, 84, 420, 36, 36, 10}
	}
	return tiles{6, 5, 56, 304, 28, 28, 8}
}

// imageSize returns the size of a shown image. Small images are enlarged by a whole number, so that
// every pixel becomes a square; very large ones are shrunk.
func (l tiles) imageSize(d imageset.Description) image.Point {
	size := image.Pt(d.Width, d.Height)
	long := max(d.Width, d.Height)
	if 3*long > 4*l.side {
		return image.Pt(max(1, size.X*l.side/long), max(1, size.Y*l.side/long))
	}
	return size.Mul(max(1, (l.side+long/2)/long)) // the nearest to side
}

func (l tiles) draw(d imageset.Description, rows []Row) Figure {
	size := l.imageSize(d)
	width := max(l.width, l.images*(size.X+tileSpace)-tileSpace)
	height := l.title + size.Y
	down := (len(rows) + l.across - 1) / l.across
	canvas, figure := newCanvas(l.across*(width+l.gap)+l.gap, down*(height+l.gap/2)+l.gap/2)
	style, title, first := textStyle(l.text), 0, 0 // where title and first image are, from the left edge
	if l.images == 1 {
		title, first = width/2, (width-size.X)/2
	} else {
		style.XAlign = plotdraw.XLeft
	}
	for i, row := range rows {
		x := l.gap + i%l.across*(width+l.gap)
		y := i / l.across * (height + l.gap/2)
		at, name := figure.at(x+title, y+l.title/2), elide(row.Title, style, pixels(width)-style.Width(row.Note))
		canvas.FillText(style, at, name)
		if row.Note != "" { // by itself: a name that is read from right to left would turn its numbers round
			at.X += style.Width(name)
			canvas.FillText(style, at, row.Note)
		}
		for j, img := range row.Images[:min(l.images, len(row.Images))] {
			corner := image.Pt(x+first+j*(size.X+tileSpace), y+l.title)
			drawImage(figure, image.Rectangle{Max: size}.Add(corner), d, img)
		}
	}
	return figure
}

// drawImage draws an image of d, scaled to place.
func drawImage(f Figure, place image.Rectangle, d imageset.Description, img []byte) {
	bounds := image.Rect(0, 0, d.Width, d.Height)
	var source image.Image = &image.Gray{Pix: img, Stride: d.Width, Rect: bounds}
	if d.Channels == 3 {
		colors, plane := image.NewRGBA(bounds), d.Height*d.Width
		for i := range plane {
			copy(colors.Pix[4*i:], []byte{img[i], img[plane+i], img[2*plane+i], 0xff})
		}
		source = colors
	}
	var scaler draw.Scaler = draw.NearestNeighbor
	if place.Dx() < d.Width || place.Dy() < d.Height {
		scaler = draw.BiLinear
	}
	scaler.Scale(f.image, place, source, bounds, draw.Src, nil)
}
