package report

import (
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/data/imageset"
	"crnn/train"
)

// No figure is huge, and the matrix has about the same size for all numbers of classes.
func TestHeatmap(t *testing.T) {
	for classes := maxMatrix + 1; classes <= imageset.MaxClasses; classes++ {
		h := newHeatmap(confused(classes, 1000), imageset.Numbered(classes))
		if side := h.cell * classes; side < heatmapSide*4/5 || side > heatmapSide {
			t.Errorf("%d classes: the matrix has a side of %d", classes, side)
		}
		if size := h.name.Font.Size; size < smallestName || size > pixels(h.step*h.cell) {
			t.Errorf("%d classes: names of size %.1f each %d pixels", classes, size, h.step*h.cell)
		}
	}
	for _, classes := range []int{11, 47, 256} {
		counts, names := confused(classes, 1000), imageset.Numbered(classes)
		f := confusion(t, counts, names, "Test set")
		checkFigure(t, f, confusion(t, counts, names, "Test set"), f.image.Rect.Dx(), 0)
		if s := f.image.Rect.Max; s.X > 3100 || s.Y > 2200 {
			t.Errorf("%d classes: a figure of %v", classes, s)
		}
	}
}

// Very long names are shortened, and names of one letter stand upright below the columns.
func TestHeatmapOfNames(t *testing.T) {
	long, short := make([]string, 100), make([]string, 26)
	for i := range long {
		long[i] = strings.Repeat("a very long name ", 100)
	}
	for i := range short {
		short[i] = string(rune('A' + i))
	}
	if s := confusion(t, confused(100, 1000), long, "Test set").image.Rect.Max; s.X > 3100 || s.Y > 2200 {
		t.Errorf("a figure of %v with long names", s)
	}
	if newHeatmap(confused(100, 1000), long).upright() || !newHeatmap(confused(26, 1000), short).upright() {
		t.Error("long names stand side by side, or short ones do not")
	}
}

func TestHeatmapOfDistinctDataDiffers(t *testing.T) {
	for _, classes := range []int{26, 256} {
		names := imageset.Numbered(classes)
		plain := confusion(t, confused(classes, 1000), names, "Test set")
		counts := confused(classes, 1000)
		counts[3][7] += 20
		renamed := imageset.Numbered(classes)
		renamed[10] = "ten" // its name is shown even if only each fifth is
		for name, f := range map[string]Figure{
			"count": confusion(t, counts, names, "Test set"),
			"title": confusion(t, confused(classes, 1000), names, "Validation set"),
			"class": confusion(t, confused(classes, 1000), renamed, "Test set"),
			"all":   confusion(t, confused(classes, 100000), names, "Test set"),
		} {
			if same(plain, f) {
				t.Errorf("%d classes: a change of %s does not show", classes, name)
			}
		}
	}
}

// Right is blue, wrong is vermilion; a row is a true class.
func TestHeatmapShadesCells(t *testing.T) {
	counts := make(train.Confusion, 256)
	for i := range counts {
		counts[i] = make([]int64, 256)
	}
	counts[5][5], counts[5][200], counts[9][0] = 1, 3, 7
	f := confusion(t, counts, imageset.Numbered(256), "Test set")
	h := newHeatmap(counts, imageset.Numbered(256))
	for at, want := range map[image.Point]color.Color{
		{5, 5}: tint(blue, 0.5), {200, 5}: tint(vermilion, 0.866025), {0, 9}: vermilion,
		{9, 9}: color.White, {5, 200}: color.White,
	} {
		cell := image.Rect(0, 0, h.cell, h.cell).Add(image.Pt(h.left()+at.X*h.cell, h.top()+at.Y*h.cell)).Inset(1)
		if got := count(f, cell, want); got != cell.Dx()*cell.Dy() {
			t.Errorf("column %d of row %d: %d of %d pixels are %v", at.X, at.Y, got, cell.Dx()*cell.Dy(), want)
		}
	}
	// The bar of the recall of class 5 is a quarter blue.
	bars := image.Rect(0, 0, heatmapRecall, h.cell).Add(image.Pt(h.left()+256*h.cell+heatmapGap, h.top()+5*h.cell))
	if got, want := count(f, bars, blue), heatmapRecall/4*(h.cell-1); got != want {
		t.Errorf("%d blue pixels in the bar, want %d", got, want)
	}
}

// The lists name what is confused most, and fit beside the matrix.
func TestLists(t *testing.T) {
	counts := make(train.Confusion, 40)
	for i := range counts {
		counts[i] = make([]int64, 40)
		counts[i][i] = 90
	}
	counts[4][2], counts[2][4], counts[3][4], counts[3][3] = 10, 30, 10, 10
	counts[7][7] = 0 // no images
	l := newLists(counts, imageset.Numbered(40), 1500)
	want := []list{
		{"Most confused classes", []listEntry{
			{"true class", "predicted class", "images", "of the class"},
			{"2", "4", "30", "25.0 %"}, {"3", "4", "10", "50.0 %"}, {"4", "2", "10", "10.0 %"}}},
		{"Lowest recall", []listEntry{{"true class", "", "images", "recall"},
			{"3", "", "20", "50.0 %"}, {"2", "", "120", "75.0 %"}, {"4", "", "100", "90.0 %"}}},
	}
	if diff := cmp.Diff(want, l.each, cmp.AllowUnexported(list{}, listEntry{})); diff != "" {
		t.Error(diff)
	}

	l = newLists(confused(256, 1000), imageset.Numbered(256), 1500)
	rows := 0
	for _, list := range l.each {
		rows += 1 + len(list.rows)
	}
	if height := rows*listRow + listGap; height > 1500 || height < 1300 {
		t.Errorf("lists of %d rows are %d high beside a matrix of 1500", rows, height)
	}
	if got, want := l.each[0].title, "Most confused classes (22 of 256 pairs)"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
}

// A matrix without errors, and one without images, have lists without entries.
func TestHeatmapWithoutErrors(t *testing.T) {
	perfect, empty := make(train.Confusion, 11), make(train.Confusion, 11)
	for i := range perfect {
		perfect[i], empty[i] = make([]int64, 11), make([]int64, 11)
		perfect[i][i] = 10
	}
	names := imageset.Numbered(11)
	for _, counts := range []train.Confusion{perfect, empty} {
		confusion(t, counts, names, "Test set")
		for _, list := range newLists(counts, names, 1500).each {
			if len(list.rows) != 1 {
				t.Errorf("%s: %d rows, want the head", list.title, len(list.rows))
			}
		}
	}
	// "none" is written below each head.
	canvas, f := newCanvas(800, 400)
	newLists(perfect, names, 1500).draw(canvas, f, 0, 0)
	for _, y := range []int{2 * listRow, 2*listRow + 3*listRow + listGap} {
		row := image.Rect(0, y, 800, y+listRow)
		if white := count(f, row, color.White); white == row.Dx()*row.Dy() {
			t.Errorf("nothing stands at %d", y)
		}
	}
}
