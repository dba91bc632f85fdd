package report

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// legendEntry is the look of a curve and its meaning.
type legendEntry struct {
	name  string
	style curveStyle
	point bool // the curve is a single point
}

// Sizes of a legend.
const (
	legendSample vg.Length = 30 // width of the piece of line
	legendGap    vg.Length = 5  // between the line and its name
	legendSpace  vg.Length = 22 // between two entries
	legendRow    vg.Length = 18 // height of a row
)

// legend is a list of rows, each with as many entries as fit in its width.
type legend [][]legendEntry

func legendText() draw.TextStyle {
	style := textStyle(sizeLabel)
	style.XAlign = draw.XLeft
	return style
}

// newLegend distributes entries on rows of the given width.
func newLegend(width vg.Length, entries []legendEntry) legend {
	var l legend
	var used vg.Length
	for _, e := range entries {
		e.name = elide(e.name, legendText(), width-legendSample-legendGap)
		need := e.width()
		if len(l) == 0 || used+legendSpace+need > width {
			l = append(l, nil)
			used = need
		} else {
			used += legendSpace + need
		}
		l[len(l)-1] = append(l[len(l)-1], e)
	}
	return l
}

func (e legendEntry) width() vg.Length {
	return legendSample + legendGap + legendText().Width(e.name)
}

func (l legend) height() vg.Length { return vg.Length(len(l)) * legendRow }

// draw draws the rows down from the upper edge of c. The widest row is centred, and the others
// begin at its left edge.
func (l legend) draw(c draw.Canvas) {
	var widest vg.Length
	for _, row := range l {
		width := legendSpace * vg.Length(len(row)-1)
		for _, e := range row {
			width += e.width()
		}
		widest = max(widest, width)
	}
	y := c.Max.Y - legendRow/2
	for _, row := range l {
		x := c.Center().X - widest/2
		for _, e := range row {
			if !e.point {
				c.StrokeLine2(e.style.line(), x, y, x+legendSample, y)
			}
			if e.point || e.style.marker != nil {
				c.DrawGlyphNoClip(e.style.glyph(), vg.Point{X: x + legendSample/2, Y: y})
			}
			c.FillText(legendText(), vg.Point{X: x + legendSample + legendGap, Y: y}, e.name)
			x += e.width() + legendSpace
		}
		y -= legendRow
	}
}
