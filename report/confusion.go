package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"crnn/train"
)

// Confusion returns the figure of a confusion matrix. It has one row per true class and one column
// per predicted class. On the right is the recall of each class, the part of its images that was
// recognised. A cell is shaded by its part of the row and shows its count, or that part in percent
// if counts are too long for a cell. The title begins with set, the name of the classified images.
func Confusion(counts train.Confusion, classes []string, set string) (Figure, error) {
	if len(counts) == 0 || len(counts) != len(classes) {
		return Figure{}, fmt.Errorf("confusion matrix: %d rows for %d class names", len(counts), len(classes))
	}
	for i, row := range counts {
		if len(row) != len(classes) {
			return Figure{}, fmt.Errorf("confusion matrix: row %d has %d columns, expected %d", i, len(row), len(classes))
		}
	}
	m := newMatrix(counts, classes)
	canvas, figure := newCanvas(matrixWidth, int(math.Ceil(m.height().Dots(dpi))))
	m.draw(canvas, set)
	return figure, nil
}

// total returns the numbers of classified and of recognised images.
func total(counts train.Confusion) (images, right int64) {
	for i, row := range counts {
		for j, n := range row {
			images += n
			if i == j {
				right += n
			}
		}
	}
	return images, right
}

const (
	matrixWidth = 1600 // of the figure, in pixels

	matrixMargin vg.Length = 10
	matrixTitle  vg.Length = 26 // height of the title's row
	matrixHead   vg.Length = 18 // height of the row that names the recall
	matrixLabel  vg.Length = 24 // height of an axis label
	matrixGap    vg.Length = 6  // between cells and class names
	recallGap    vg.Length = 10 // between cells and recall

	smallestText vg.Length = 4 // smaller text is left out

	// maxCount is the largest count that cells show in full.
	maxCount = 9999
)

// matrix is a confusion matrix laid out.
type matrix struct {
	counts   train.Confusion
	classes  []string // names, shortened where they are very long
	percent  bool     // cells show parts of the row
	cell     vg.Length
	nameSize vg.Length // of the text
	names    vg.Length // width of the widest name
}

func newMatrix(counts train.Confusion, classes []string) matrix {
	m := matrix{counts: counts}
	for _, row := range counts {
		for _, n := range row {
			m.percent = m.percent || n > maxCount
		}
	}
	columns := vg.Length(len(classes) + 1) // one more for the recall
	width := pixels(matrixWidth) - 2*matrixMargin - matrixLabel - matrixGap - recallGap
	// A name is never higher than its cell, even if the names take a quarter of the width.
	m.nameSize = min(sizeLabel, 0.75*width/columns)
	style := m.nameStyle()
	for _, name := range classes {
		name = elide(name, style, width/4)
		m.classes = append(m.classes, name)
		m.names = max(m.names, style.Width(name))
	}
	m.cell = (width - m.names) / columns
	return m
}

func (m matrix) nameStyle() draw.TextStyle {
	style := textStyle(m.nameSize)
	style.XAlign = draw.XRight
	return style
}

// columnNames returns the height of the names below the cells, at an angle of 45 degrees.
func (m matrix) columnNames() vg.Length { return (m.names + m.nameSize) * math.Sqrt2 / 2 }

func (m matrix) height() vg.Length {
	return 2*matrixMargin + matrixTitle + matrixHead +
		m.cell*vg.Length(len(m.classes)) + matrixGap + m.columnNames() + matrixLabel
}

func (m matrix) draw(c draw.Canvas, set string) {
	n := vg.Length(len(m.classes))
	left := c.Min.X + matrixMargin + matrixLabel + m.names + matrixGap
	top := c.Max.Y - matrixMargin - matrixTitle - matrixHead
	right, bottom := left+n*m.cell, top-n*m.cell
	recall := right + recallGap + m.cell/2

	images, hits := total(m.counts)
	c.FillText(textStyle(sizeTitle), vg.Point{X: c.Center().X, Y: c.Max.Y - matrixMargin - matrixTitle/2},
		fmt.Sprintf("%s: accuracy %s (%d images)", set, share(hits, images, 2), images))
	label := textStyle(sizeLabel)
	head := textStyle(min(sizeLabel, 0.3*m.cell))
	fillText(c, head, vg.Point{X: recall, Y: top + matrixHead/2}, "recall")
	predicted := "predicted class"
	if m.percent {
		predicted += " (cells: % of the true class)"
	}
	c.FillText(label, vg.Point{X: (left + right) / 2, Y: c.Min.Y + matrixMargin + matrixLabel/2}, predicted)
	label.Rotation = math.Pi / 2
	c.FillText(label, vg.Point{X: c.Min.X + matrixMargin + matrixLabel/2, Y: (top + bottom) / 2}, "true class")

	name := m.nameStyle()
	slanted := name
	slanted.Rotation = math.Pi / 4
	value := textStyle(min(sizeTitle, 0.3*m.cell))
	for i, row := range m.counts {
		sum := m.images(i)
		y := top - (vg.Length(i)+0.5)*m.cell
		for j, count := range row {
			m.drawCell(c, vg.Point{X: left + (vg.Length(j)+0.5)*m.cell, Y: y}, count, sum, value)
		}
		fillText(c, value, vg.Point{X: recall, Y: y}, m.recall(i))
		fillText(c, name, vg.Point{X: left - matrixGap, Y: y}, m.classes[i])
		fillText(c, slanted, vg.Point{X: left + (vg.Length(i)+0.5)*m.cell, Y: bottom - matrixGap}, m.classes[i])
	}

	line := draw.LineStyle{Color: gridColor, Width: min(vg.Points(0.75), m.cell/10)}
	for i := range len(m.classes) + 1 {
		at := vg.Length(i) * m.cell
		c.StrokeLine2(line, left+at, top, left+at, bottom)
		c.StrokeLine2(line, left, top-at, right, top-at)
	}
}

// images returns the number of images of class i.
func (m matrix) images(i int) int64 {
	var sum int64
	for _, count := range m.counts[i] {
		sum += count
	}
	return sum
}

// recall returns the part of the images of class i that was recognised, as text.
func (m matrix) recall(i int) string { return share(m.counts[i][i], m.images(i), 1) }

// drawCell draws count, of a row that has sum, around the middle of its cell.
func (m matrix) drawCell(c draw.Canvas, middle vg.Point, count, sum int64, text draw.TextStyle) {
	// The square root makes a few confused images visible beside the many on the diagonal.
	var shade float64
	if sum > 0 {
		shade = math.Sqrt(float64(count) / float64(sum))
	}
	mix := func(full uint8) uint8 { return uint8(math.Round(255 - shade*(255-float64(full)))) }
	half := m.cell / 2
	c.FillPolygon(color.RGBA{mix(blue.R), mix(blue.G), mix(blue.B), 0xff}, []vg.Point{
		{X: middle.X - half, Y: middle.Y - half}, {X: middle.X + half, Y: middle.Y - half},
		{X: middle.X + half, Y: middle.Y + half}, {X: middle.X - half, Y: middle.Y + half},
	})
	content := fmt.Sprint(count)
	switch {
	case count == 0:
		text.Color = color.Gray{0xaa}
	case m.percent:
		content = fmt.Sprintf("%.1f", 100*float64(count)/float64(sum))
	}
	if shade > 0.6 {
		text.Color = color.White
	}
	fillText(c, text, middle, content)
}

// share returns part/whole in percent, or a dash if there is no whole.
func share(part, whole int64, decimals int) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f %%", decimals, 100*float64(part)/float64(whole))
}

// fillText draws text unless it is too small to be read.
func fillText(c draw.Canvas, style draw.TextStyle, at vg.Point, text string) {
	if style.Font.Size >= smallestText {
		c.FillText(style, at, text)
	}
}
