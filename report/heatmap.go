package report

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	plotdraw "gonum.org/v1/plot/vg/draw"

	"crnn/train"
)

// Layout of a heatmap, in pixels.
const (
	heatmapSide   = 1536 // of the matrix, about: 6 per class with 256 classes
	heatmapMargin = 24
	heatmapTitle  = 60  // height of the title's row
	heatmapHead   = 44  // height of the row that names the recall
	heatmapLabel  = 50  // height of an axis label
	heatmapGap    = 14  // between cells and names
	heatmapNames  = 340 // largest width of a name
	heatmapRecall = 120 // width of the recall

	listSpace  = 80  // between the recall and the lists
	listRow    = 34  // height of a row
	listGap    = 50  // between the lists
	listNames  = 260 // largest width of a name
	listArrow  = 50  // width of the arrow between two names
	listNumber = 130 // width of a column of numbers
)

// Sizes of the smallest text. What would be smaller is left out.
const (
	smallestCount vg.Length = 5.5
	smallestName  vg.Length = 5
)

// heatmap is the confusion matrix of many classes, laid out. What its cells are too small to say is
// in lists beside it.
type heatmap struct {
	counts  train.Confusion
	classes []string
	cell    int      // in pixels
	step    int      // every so many classes a name is shown
	names   []string // those shown, shortened where they are very long; the rest is empty
	name    plotdraw.TextStyle
	widest  int // width of the widest name shown, in pixels
	list    lists
}

func newHeatmap(counts train.Confusion, classes []string) heatmap {
	h := heatmap{counts: counts, classes: classTitles(classes), cell: heatmapSide / len(classes)}
	size := func() vg.Length { return 0.75 * pixels(h.step*h.cell) } // a name fits in the rows until the next
	for _, h.step = range []int{1, 2, 5} {
		if size() >= smallestName {
			break
		}
	}
	h.name = textStyle(min(sizeTick, size()))
	h.names = make([]string, len(classes))
	for i := 0; i < len(classes); i += h.step {
		h.names[i] = elide(h.classes[i], h.name, pixels(heatmapNames))
		h.widest = max(h.widest, dots(h.name.Width(h.names[i])))
	}
	h.list = newLists(counts, h.classes, h.cell*len(classes))
	return h
}

// dots returns a length in pixels, rounded up.
func dots(l vg.Length) int { return int(math.Ceil(l.Dots(dpi))) }

// upright reports whether the names of the columns are narrow enough to stand side by side.
func (h heatmap) upright() bool { return h.widest <= h.step*h.cell*9/10 }

// left and top return the upper left corner of the cells.
func (h heatmap) left() int { return heatmapMargin + heatmapLabel + h.widest + heatmapGap }
func (h heatmap) top() int  { return heatmapMargin + heatmapTitle + heatmapHead }

func (h heatmap) draw(set string) Figure {
	side := h.cell * len(h.classes)
	left, top := h.left(), h.top()
	right, bottom := left+side, top+side
	columnNames := h.widest
	if h.upright() {
		columnNames = dots(h.name.Font.Size)
	}
	lists := right + heatmapGap + heatmapRecall + listSpace
	width := lists + h.list.width() + heatmapMargin
	height := bottom + heatmapGap + columnNames + heatmapLabel + heatmapMargin
	canvas, f := newCanvas(width, height)
	canvas.FillText(textStyle(sizeTitle), f.at(width/2, heatmapMargin+heatmapTitle/2), confusionTitle(h.counts, set))

	label := textStyle(sizeLabel)
	predicted := "predicted class"
	switch {
	case !h.showsCounts():
		predicted += " (the darker a cell, the larger its part of the true class)"
	case largest(h.counts) > maxCount:
		predicted += " (cells: % of the true class)"
	}
	canvas.FillText(label, f.at((left+right)/2, height-heatmapMargin-heatmapLabel/2), predicted)
	canvas.FillText(label, f.at(right+heatmapGap+heatmapRecall/2, top-heatmapHead/2), "recall")
	label.Rotation = math.Pi / 2
	canvas.FillText(label, f.at(heatmapMargin+heatmapLabel/2, (top+bottom)/2), "true class")

	h.drawCells(canvas, f)
	h.drawGrid(f)
	h.drawNames(canvas, f)
	h.drawRecall(canvas, f)
	h.list.draw(canvas, f, lists, top)
	return f
}

// countStyle returns the style of the counts in cells.
func (h heatmap) countStyle() plotdraw.TextStyle {
	return textStyle(min(sizeTitle, 0.3*pixels(h.cell)))
}

// showsCounts reports whether cells are large enough for their counts.
func (h heatmap) showsCounts() bool { return h.countStyle().Font.Size >= smallestCount }

func (h heatmap) drawCells(c plotdraw.Canvas, f Figure) {
	percent := largest(h.counts) > maxCount
	for i, row := range h.counts {
		sum := sumOf(row)
		for j, count := range row {
			if count == 0 {
				continue // white, without a number: most cells of a large matrix are empty
			}
			full := vermilion
			if i == j {
				full = blue
			}
			shade := cellShade(count, sum)
			x, y := h.left()+j*h.cell, h.top()+i*h.cell
			fill(f, image.Rect(x, y, x+h.cell, y+h.cell), tint(full, shade))
			if !h.showsCounts() {
				continue
			}
			style, content := h.countStyle(), fmt.Sprint(count)
			if percent {
				content = fmt.Sprintf("%.1f", 100*float64(count)/float64(sum))
			}
			if content == "0.0" {
				continue
			}
			if shade > 0.6 {
				style.Color = color.White
			}
			c.FillText(style, f.at(x+h.cell/2, y+h.cell/2), content)
		}
	}
}

func fill(f Figure, r image.Rectangle, c color.Color) {
	draw.Draw(f.image, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// drawGrid draws the borders of the cells, or where they are very small, those of every tenth class.
func (h heatmap) drawGrid(f Figure) {
	const smallest = 12 // pixels; lines around smaller cells would hide them
	side := h.cell * len(h.classes)
	for i := range len(h.classes) + 1 {
		line := gridColor
		switch {
		case i == 0 || i == len(h.classes):
			line = color.RGBA{0x99, 0x99, 0x99, 0xff}
		case h.cell < smallest && i%10 != 0:
			continue
		}
		x, y := h.left()+i*h.cell, h.top()+i*h.cell
		fill(f, image.Rect(x, h.top(), x+1, h.top()+side+1), line)
		fill(f, image.Rect(h.left(), y, h.left()+side+1, y+1), line)
	}
}

func (h heatmap) drawNames(c plotdraw.Canvas, f Figure) {
	row, column := h.name, h.name
	row.XAlign = plotdraw.XRight
	bottom := h.top() + h.cell*len(h.classes)
	if h.upright() {
		column.YAlign = plotdraw.YTop
	} else {
		column.XAlign, column.Rotation = plotdraw.XRight, math.Pi/2
	}
	for i := 0; i < len(h.names); i += h.step {
		middle := i*h.cell + h.cell/2
		x, y := h.left()+middle, h.top()+middle
		c.FillText(row, f.at(h.left()-heatmapGap, y), h.names[i])
		c.FillText(column, f.at(x, bottom+heatmapGap), h.names[i])
		if h.step > 1 { // a tick shows which class the name belongs to
			fill(f, image.Rect(h.left()-heatmapGap/2, y, h.left(), y+1), inkColor)
			fill(f, image.Rect(x, bottom, x+1, bottom+heatmapGap/2), inkColor)
		}
	}
}

// drawRecall draws the recall of each class: its number, or a bar where the rows are too low.
func (h heatmap) drawRecall(c plotdraw.Canvas, f Figure) {
	x := h.left() + h.cell*len(h.classes) + heatmapGap
	style := textStyle(min(sizeTick, 0.75*pixels(h.cell)))
	number := style.Font.Size >= 8
	for i, row := range h.counts {
		y, sum := h.top()+i*h.cell, sumOf(row)
		switch {
		case number:
			c.FillText(style, f.at(x+heatmapRecall/2, y+h.cell/2), share(row[i], sum, 1))
		case sum > 0:
			space := max(1, h.cell/5)
			bar := image.Rect(x, y+space, x+heatmapRecall, y+h.cell)
			fill(f, bar, color.RGBA{0xee, 0xee, 0xee, 0xff})
			bar.Max.X = x + int(math.Round(heatmapRecall*float64(row[i])/float64(sum)))
			fill(f, bar, blue)
		}
	}
}

// confusedPair counts the images of a true class that were taken for another class.
type confusedPair struct {
	truth, predicted int
	count, of        int64
}

// confusedPairs returns the pairs of classes that are confused, the most frequent first.
func confusedPairs(counts train.Confusion) []confusedPair {
	var pairs []confusedPair
	for i, row := range counts {
		for j, count := range row {
			if i != j && count > 0 {
				pairs = append(pairs, confusedPair{i, j, count, sumOf(row)})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b confusedPair) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.of, b.of))
	})
	return pairs
}

// lowestRecalls returns the classes of which images were not recognised, the lowest recall first.
func lowestRecalls(counts train.Confusion) []int {
	var classes []int
	recall := func(i int) float64 { return float64(counts[i][i]) / float64(sumOf(counts[i])) }
	for i, row := range counts {
		if sumOf(row) > row[i] {
			classes = append(classes, i)
		}
	}
	slices.SortStableFunc(classes, func(a, b int) int { return cmp.Compare(recall(a), recall(b)) })
	return classes
}

// lists are the lists beside a heatmap.
type lists struct {
	each  []list
	names int // width of a name, in pixels
}

// list is a table of classes or of pairs of classes, with two numbers each.
type list struct {
	title string
	rows  []listEntry // the first holds the heads of the columns
}

// listEntry has a second name if it is about a pair.
type listEntry struct{ name, second, count, part string }

// newLists returns the lists that have room in the given height, in pixels.
func newLists(counts train.Confusion, classes []string, height int) lists {
	room := (height-listGap)/listRow - 4 // four rows are titles and heads
	pairs, recalls := confusedPairs(counts), lowestRecalls(counts)
	confused := list{
		title: "Most confused classes" + firstOf(len(pairs), room*3/5, "pairs"),
		rows:  []listEntry{{"true class", "predicted class", "images", "of the class"}},
	}
	for _, p := range pairs[:min(len(pairs), room*3/5)] {
		confused.rows = append(confused.rows,
			listEntry{classes[p.truth], classes[p.predicted], fmt.Sprint(p.count), share(p.count, p.of, 1)})
	}
	room -= room * 3 / 5
	lowest := list{
		title: "Lowest recall" + firstOf(len(recalls), room, "classes with errors"),
		rows:  []listEntry{{name: "true class", count: "images", part: "recall"}},
	}
	for _, i := range recalls[:min(len(recalls), room)] {
		sum := sumOf(counts[i])
		lowest.rows = append(lowest.rows,
			listEntry{name: classes[i], count: fmt.Sprint(sum), part: share(counts[i][i], sum, 1)})
	}
	l := lists{each: []list{confused, lowest}}
	for _, row := range confused.rows {
		for _, name := range []string{row.name, row.second} {
			l.names = max(l.names, min(listNames, dots(textStyle(sizeTick).Width(name))))
		}
	}
	return l
}

// firstOf says in a title that only the first of n rows are shown, if that is so.
func firstOf(n, shown int, what string) string {
	if n <= shown {
		return ""
	}
	return fmt.Sprintf(" (%d of %d %s)", shown, n, what)
}

func (l lists) width() int { return 2*l.names + listArrow + 2*listNumber }

// draw draws the lists below each other, from an upper left corner on.
func (l lists) draw(c plotdraw.Canvas, f Figure, x, y int) {
	title, left, middle, right := textStyle(sizeLabel), textStyle(sizeTick), textStyle(sizeTick), textStyle(sizeTick)
	title.XAlign, left.XAlign, right.XAlign = plotdraw.XLeft, plotdraw.XLeft, plotdraw.XRight
	gray := color.Gray{0x77}
	for _, t := range l.each {
		c.FillText(title, f.at(x, y+listRow/2), t.title)
		y += listRow
		for i, row := range t.rows {
			for _, style := range []*plotdraw.TextStyle{&left, &middle, &right} {
				style.Color = inkColor
				if i == 0 {
					style.Color = gray
				}
			}
			text := y + listRow/2
			second := x + l.names + listArrow
			names := l.names
			if row.second == "" {
				names += listArrow + l.names
			} else if i > 0 {
				c.FillText(middle, f.at(second-listArrow/2, text), "→")
			}
			c.FillText(left, f.at(x, text), elide(row.name, left, pixels(names)))
			c.FillText(left, f.at(second, text), elide(row.second, left, pixels(l.names)))
			c.FillText(right, f.at(second+l.names+listNumber, text), row.count)
			c.FillText(right, f.at(second+l.names+2*listNumber, text), row.part)
			y += listRow
			if i == 0 {
				fill(f, image.Rect(x, y-1, x+l.width(), y), gridColor)
			}
		}
		if len(t.rows) == 1 {
			left.Color = inkColor
			c.FillText(left, f.at(x, y+listRow/2), "none")
			y += listRow
		}
		y += listGap
	}
}
