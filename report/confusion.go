package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"crnn/train"
)

// Confusion returns the figure of a confusion matrix. It has one row per true class and one column
// per predicted class. On the right is the recall of each class, the part of its images that was
// recognised. A cell is shaded by its part of the row and shows its count, or that part in percent
// if counts are too long for a cell. The title begins with set, the name of the classified images.
//
// With more than 10 classes, lists beside the matrix name the pairs of classes that are confused
// most, and the classes with the lowest recall. Cells and names too small to be read are left out.
func Confusion(counts train.Confusion, classes []string, set string) (Figure, error) {
	if len(counts) == 0 || len(counts) != len(classes) {
		return Figure{}, fmt.Errorf("confusion matrix: %d rows for %d class names", len(counts), len(classes))
	}
	for i, row := range counts {
		if len(row) != len(classes) {
			return Figure{}, fmt.Errorf("confusion matrix: row %d has %d columns, expected %d", i, len(row), len(classes))
		}
	}
	if len(classes) > maxMatrix {
		return newHeatmap(counts, classes).draw(set), nil
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

// confusionTitle returns the title of a confusion matrix of set.
func confusionTitle(counts train.Confusion, set string) string {
	images, right := total(counts)
	return fmt.Sprintf("%s: accuracy %s (%d images)", set, share(right, images, 2), images)
}

// largest returns the largest count.
func largest(counts train.Confusion) int64 {
	var n int64
	for _, row := range counts {
		n = max(n, slices.Max(row))
	}
	return n
}

const (
	maxMatrix   = 10   // classes; with more the figure is a heatmap
	matrixWidth = 1600 // of the figure, in pixels

	matrixMargin vg.Length = 10
	matrixTitle  vg.Length = 26 // height of the title's row
	matrixHead   vg.Length = 18 // height of the row that names the recall
	matrixLabel  vg.Length = 24 // height of an axis label
	matrixGap    vg.Length = 6  // between cells and class names
	recallGap    vg.Length = 10 // between cells and recall

	// maxCount is the largest count that cells show in full.
	maxCount = 9999
)

// matrix is a confusion matrix laid out.
type matrix struct {
	counts  train.Confusion
	classes []string // names, shortened where they are very long
	percent bool     // cells show parts of the row
	cell    vg.Length
	names   vg.Length // width of the widest name
}

func newMatrix(counts train.Confusion, classes []string) matrix {
	m := matrix{counts: counts}
	m.percent = largest(counts) > maxCount
	columns := vg.Length(len(classes) + 1) // one more for the recall
	width := pixels(matrixWidth) - 2*matrixMargin - matrixLabel - matrixGap - recallGap
	style := nameStyle()
	for _, name := range classTitles(classes) {
		name = elide(name, style, width/4)
		m.classes = append(m.classes, name)
		m.names = max(m.names, style.Width(name))
	}
	m.cell = (width - m.names) / columns
	return m
}

func nameStyle() draw.TextStyle {
	style := textStyle(sizeLabel)
	style.XAlign = draw.XRight
	return style
}

// columnNames returns the height of the names below the cells, at an angle of 45 degrees.
func (m matrix) columnNames() vg.Length { return (m.names + sizeLabel) * math.Sqrt2 / 2 }

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

	c.FillText(textStyle(sizeTitle), vg.Point{X: c.Center().X, Y: c.Max.Y - matrixMargin - matrixTitle/2},
		confusionTitle(m.counts, set))
	label := textStyle(sizeLabel)
	c.FillText(label, vg.Point{X: recall, Y: top + matrixHead/2}, "recall")
	predicted := "predicted class"
	if m.percent {
		predicted += " (cells: % of the true class)"
	}
	c.FillText(label, vg.Point{X: (left + right) / 2, Y: c.Min.Y + matrixMargin + matrixLabel/2}, predicted)
	label.Rotation = math.Pi / 2
	c.FillText(label, vg.Point{X: c.Min.X + matrixMargin + matrixLabel/2, Y: (top + bottom) / 2}, "true class")

	name := nameStyle()
	slanted := name
	slanted.Rotation = math.Pi / 4
	value := textStyle(sizeTitle)
	for i, row := range m.counts {
		sum := sumOf(row)
		y := top - (vg.Length(i)+0.5)*m.cell
		for j, count := range row {
			m.drawCell(c, vg.Point{X: left + (vg.Length(j)+0.5)*m.cell, Y: y}, count, sum, value)
		}
		c.FillText(value, vg.Point{X: recall, Y: y}, m.recall(i))
		c.FillText(name, vg.Point{X: left - matrixGap, Y: y}, m.classes[i])
		c.FillText(slanted, vg.Point{X: left + (vg.Length(i)+0.5)*m.cell, Y: bottom - matrixGap}, m.classes[i])
	}

	line := draw.LineStyle{Color: gridColor, Width: vg.Points(0.75)}
	for i := range len(m.classes) + 1 {
		at := vg.Length(i) * m.cell
		c.StrokeLine2(line, left+at, top, left+at, bottom)
		c.StrokeLine2(line, left, top-at, right, top-at)
	}
}

// sumOf returns the number of images of a true class, from its row.
func sumOf(row []int64) int64 {
	var sum int64
	for _, count := range row {
		sum += count
	}
	return sum
}

// recall returns the part of the images of class i that was recognised, as text.
func (m matrix) recall(i int) string { return share(m.counts[i][i], sumOf(m.counts[i]), 1) }

// drawCell draws count, of a row that has sum, around the middle of its cell.
func (m matrix) drawCell(c draw.Canvas, middle vg.Point, count, sum int64, text draw.TextStyle) {
	shade := cellShade(count, sum)
	half := m.cell / 2
	c.FillPolygon(tint(blue, shade), []vg.Point{
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
	c.FillText(text, middle, content)
}

// cellShade returns the shade of a cell, from 0 to 1. The square root makes a few confused images
// visible beside the many on the diagonal.
func cellShade(count, sum int64) float64 {
	if sum == 0 {
		return 0
	}
	return math.Sqrt(float64(count) / float64(sum))
}

// tint returns white for a shade of 0, and full for 1.
func tint(full color.RGBA, shade float64) color.RGBA {
	mix := func(full uint8) uint8 { return uint8(math.Round(255 - shade*(255-float64(full)))) }
	return color.RGBA{mix(full.R), mix(full.G), mix(full.B), 0xff}
}

// share returns part/whole in percent, or a dash if there is no whole.
func share(part, whole int64, decimals int) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f %%", decimals, 100*float64(part)/float64(whole))
}
