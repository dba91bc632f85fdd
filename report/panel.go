package report

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"crnn/train"
)

// curve is a quantity by epoch. A value that is not finite leaves a gap.
type curve struct {
	epochs, values []float64
	style          curveStyle
}

type curveStyle struct {
	color  color.Color
	dashed bool
	marker draw.GlyphDrawer // of every epoch; nil: a ring, at epochs that no line shows
	radius vg.Length        // of the marker; 0: the usual
}

// add appends the value of an epoch.
func (c *curve) add(epoch int, value float64) {
	c.epochs = append(c.epochs, float64(epoch))
	c.values = append(c.values, value)
}

// newCurves returns the curves of a run: training first, then validation, which is empty if the run
// has none.
func newCurves(epochs []train.Epoch, training, validation curveStyle) (loss, accuracy []*curve) {
	trainLoss, valLoss := &curve{style: training}, &curve{style: validation}
	trainAcc, valAcc := &curve{style: training}, &curve{style: validation}
	for _, e := range epochs {
		trainLoss.add(e.Epoch, e.TrainLoss)
		trainAcc.add(e.Epoch, e.TrainAccuracy)
		if e.ValLoss != nil && e.ValAccuracy != nil {
			valLoss.add(e.Epoch, *e.ValLoss)
			valAcc.add(e.Epoch, *e.ValAccuracy)
		}
	}
	return []*curve{trainLoss, valLoss}, []*curve{trainAcc, valAcc}
}

func (s curveStyle) line() draw.LineStyle {
	line := draw.LineStyle{Color: s.color, Width: vg.Points(1.8)}
	if s.dashed {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	return line
}

func (s curveStyle) glyph() draw.GlyphStyle {
	glyph := draw.GlyphStyle{Color: s.color, Radius: s.radius, Shape: s.marker}
	if s.radius == 0 {
		glyph.Radius = vg.Points(3)
	}
	if s.marker == nil {
		glyph.Shape = ring{}
	}
	return glyph
}

// ring is a marker that leaves its inside visible.
type ring struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (ring) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: vg.Points(1.5)})
	var circle vg.Path
	circle.Move(vg.Point{X: at.X + style.Radius, Y: at.Y})
	circle.Arc(at, style.Radius, 0, 2*math.Pi)
	circle.Close()
	c.Stroke(circle)
}

// maxMarked is the largest number of epochs whose points are marked: more marks would hide the
// line.
const maxMarked = 60

// Plot implements plot.Plotter.
func (c *curve) Plot(canvas draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&canvas)
	marked := c.style.marker != nil && len(c.values) <= maxMarked
	var stretch []vg.Point // consecutive finite values
	end := func() {
		if len(stretch) > 1 {
			canvas.StrokeLines(c.style.line(), stretch)
		}
		if marked || len(stretch) == 1 {
			for _, point := range stretch {
				canvas.DrawGlyph(c.style.glyph(), point)
			}
		}
		stretch = nil
	}
	for i, v := range c.values {
		if !drawable(v) {
			end()
			continue
		}
		stretch = append(stretch, vg.Point{X: x(c.epochs[i]), Y: y(v)})
	}
	end()
}

// drawable reports whether v is finite and small enough that a range with margins around it cannot
// overflow.
func drawable(v float64) bool { return math.Abs(v) < 1e100 }

// newPanel returns the plot of one quantity by epoch. least and most are the natural bounds of the
// quantity.
func newPanel(title, unit string, least, most float64, curves []*curve) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle = textStyle(sizeTitle)
	p.Title.TextStyle.YAlign = draw.YTop
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "epoch"
	p.Y.Label.Text = unit
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		label := &axis.Label.TextStyle
		xAlign, yAlign := label.XAlign, label.YAlign
		*label = textStyle(sizeLabel)
		label.XAlign, label.YAlign = xAlign, yAlign
		axis.Label.Padding = vg.Points(4)

		tick := &axis.Tick.Label
		xAlign, yAlign = tick.XAlign, tick.YAlign
		*tick = textStyle(sizeTick)
		tick.XAlign, tick.YAlign = xAlign, yAlign
		axis.Tick.Length = vg.Points(4)
		axis.Tick.LineStyle = draw.LineStyle{Color: inkColor, Width: vg.Points(0.75)}
		axis.LineStyle.Width = 0 // frame draws both lines, with a clean corner
		axis.Padding = 0
	}
	p.X.Tick.Marker = plot.TickerFunc(epochTicks)
	p.Y.Tick.Marker = plot.TickerFunc(valueTicks)

	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: gridColor, Width: vg.Points(0.75)}
	grid.Vertical = grid.Horizontal
	p.Add(grid, frame(p.X.Tick.LineStyle))

	epochs, values := newSpan(), newSpan()
	for _, c := range curves {
		for i, v := range c.values {
			epochs.include(c.epochs[i])
			values.include(v)
		}
		p.Add(c)
	}
	p.X.Min, p.X.Max = epochs.widened(0.03, 0.5)
	p.Y.Min, p.Y.Max = values.widened(0.06, 0.05*math.Abs(values.max))
	p.Y.Min, p.Y.Max = math.Max(p.Y.Min, least), math.Min(p.Y.Max, most)
	return p
}

// frame draws the lines of both axes.
type frame draw.LineStyle

// Plot implements plot.Plotter.
func (f frame) Plot(c draw.Canvas, _ *plot.Plot) {
	c.StrokeLines(draw.LineStyle(f), []vg.Point{{X: c.Min.X, Y: c.Max.Y}, c.Min, {X: c.Max.X, Y: c.Min.Y}})
}

// span is a range of values.
type span struct{ min, max float64 }

func newSpan() span { return span{math.Inf(1), math.Inf(-1)} }

func (s *span) include(v float64) {
	if drawable(v) {
		s.min, s.max = math.Min(s.min, v), math.Max(s.max, v)
	}
}

// widened returns the range with a margin on both sides: the given part of its width, or the margin
// single for a range of one value. For an empty range it returns (0, 1).
func (s span) widened(part, single float64) (min, max float64) {
	switch {
	case s.min > s.max:
		return 0, 1
	case s.min == s.max && single == 0:
		return s.min, s.min + 1
	case s.min == s.max:
		return s.min - single, s.max + single
	}
	margin := part * (s.max - s.min)
	return s.min - margin, s.max + margin
}

// epochTicks marks whole epochs from 1, at most 16 of them.
func epochTicks(min, max float64) []plot.Tick {
	return ticks(math.Max(min, 1), max, math.Max(1, niceStep((max-min)/16)))
}

// valueTicks marks about eight round values.
func valueTicks(min, max float64) []plot.Tick { return ticks(min, max, niceStep((max-min)/8)) }

// ticks marks the multiples of step, a power of ten times 1, 2 or 5.
func ticks(min, max, step float64) []plot.Tick {
	var list []plot.Tick
	first, last := math.Ceil(min/step), math.Floor(max/step)
	if last-first > 100 {
		return nil // the range is so narrow beside its values that rounding loses a step
	}
	format, decimals := byte('f'), int(math.Max(0, -math.Floor(math.Log10(step)+1e-9)))
	if step >= 1e6 || decimals > 6 {
		format, decimals = 'g', 4
	}
	for k := first; k <= last; k++ {
		list = append(list, plot.Tick{Value: k * step, Label: strconv.FormatFloat(k*step, format, decimals, 64)})
	}
	return list
}

// niceStep returns the smallest power of ten times 1, 2 or 5 that is at least v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= v {
			return factor * power
		}
	}
	return 10 * power
}
