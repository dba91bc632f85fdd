package report

import (
	"fmt"
	"image"

	"golang.org/x/image/draw"
	"gonum.org/v1/plot/vg"
)

// Layout of the figure of samples, in pixels.
const (
	imageSide     = 28
	sampleScale   = 9 // pixels of the figure per pixel of an image, in each direction
	sampleSide    = imageSide * sampleScale
	sampleTitle   = 48 // height of the row that names the class
	sampleGap     = 24
	samplesAcross = 5
)

// Samples returns the figure of one sample per class: images of 28x28 bytes, row-major,
// 0 black and 255 white, five in a row in the given order, each below its title.
func Samples(images [][]byte, titles []string) (Figure, error) {
	if len(images) == 0 || len(images) != len(titles) {
		return Figure{}, fmt.Errorf("samples: %d images with %d titles", len(images), len(titles))
	}
	for i, img := range images {
		if len(img) != imageSide*imageSide {
			return Figure{}, fmt.Errorf("samples: image %d (%s) has %d bytes, expected %d",
				i, titles[i], len(img), imageSide*imageSide)
		}
	}
	const across, down = sampleSide + sampleGap, sampleTitle + sampleSide + sampleGap/2
	rows := (len(images) + samplesAcross - 1) / samplesAcross
	height := rows*down + sampleGap/2
	canvas, figure := newCanvas(samplesAcross*across+sampleGap, height)
	style := textStyle(sizeLabel)
	for i, img := range images {
		x := sampleGap + i%samplesAcross*across
		y := i / samplesAcross * down
		middle := vg.Point{X: pixels(x + sampleSide/2), Y: pixels(height - y - sampleTitle/2)}
		canvas.FillText(style, middle, elide(titles[i], style, pixels(sampleSide)))

		gray := &image.Gray{Pix: img, Stride: imageSide, Rect: image.Rect(0, 0, imageSide, imageSide)}
		place := image.Rect(x, y+sampleTitle, x+sampleSide, y+sampleTitle+sampleSide)
		draw.NearestNeighbor.Scale(figure.image, place, gray, gray.Rect, draw.Src, nil)
	}
	return figure, nil
}
