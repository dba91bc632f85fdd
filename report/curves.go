package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colors that people with any kind of color blindness can tell apart (Okabe and Ito: "Color
// Universal Design", 2008), without the yellow, which is too light for lines on white.
var (
	blue      = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green     = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	purple    = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	skyBlue   = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	orange    = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
)

// Size of a figure of curves in pixels, without its legend.
const (
	curvesWidth  = 1600
	curvesHeight = 680
)

// Curves returns the figure of a run: its losses on the left, its accuracies on the right, by
// epoch. A ring marks the best validation accuracy, where the kept model is from.
func Curves(m Metrics) Figure {
	training := curveStyle{color: blue, marker: draw.CircleGlyph{}}
	validation := curveStyle{color: vermilion, marker: draw.BoxGlyph{}}
	loss, accuracy := newCurves(m.Epochs, training, validation)

	entries := []legendEntry{{name: "training", style: training}}
	if best := m.BestEpoch(); best != nil {
		mark := &curve{style: curveStyle{color: inkColor, marker: ring{}, radius: vg.Points(6)}}
		mark.add(best.Epoch, *best.ValAccuracy)
		accuracy = append(accuracy, mark)
		entries = append(entries,
			legendEntry{name: "validation", style: validation},
			legendEntry{name: fmt.Sprintf("best validation accuracy: %.2f %%, epoch %d", *best.ValAccuracy, best.Epoch),
				style: mark.style, point: true})
	}
	return twoPanels(loss, accuracy, entries)
}

// twoPanels returns a figure of losses, accuracies and a legend below them.
func twoPanels(loss, accuracy []*curve, entries []legendEntry) Figure {
	const margin, gap vg.Length = 8, 14
	width := pixels(curvesWidth) - 2*margin
	l := newLegend(width, entries)
	height := curvesHeight + int(math.Ceil(l.height().Dots(dpi)))

	canvas, figure := newCanvas(curvesWidth, height)
	inner := draw.Crop(canvas, margin, -margin, margin, -margin)
	left := newPanel("Loss", "cross-entropy (nats)", 0, math.Inf(1), loss)
	right := newPanel("Accuracy", "accuracy (%)", 0, 100, accuracy)
	half := (width - gap) / 2
	left.Draw(draw.Crop(inner, 0, -half-gap, l.height()+margin, 0))
	right.Draw(draw.Crop(inner, half+gap, 0, l.height()+margin, 0))
	l.draw(draw.Crop(inner, 0, 0, 0, l.height()-inner.Size().Y))
	return figure
}
