package report

import (
	"fmt"
	"image"
	"strings"
	"testing"

	"crnn/train"
)

var fashion = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
	"Bag", "Ankle boot"}

// confused returns the matrix of a classifier on perClass images per class. It takes class i for
// class i+1 once per nine times that it is right.
func confused(classes int, perClass int64) train.Confusion {
	counts := make(train.Confusion, classes)
	for i := range counts {
		counts[i] = make([]int64, classes)
		counts[i][i] = perClass - perClass/10
		counts[i][(i+1)%classes] += perClass / 10
	}
	return counts
}

func confusion(t *testing.T, counts train.Confusion, classes []string, set string) Figure {
	t.Helper()
	f, err := Confusion(counts, classes, set)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConfusion(t *testing.T) {
	for _, classes := range []int{2, 10} {
		names := make([]string, classes)
		for i := range names {
			names[i] = fmt.Sprint("class ", i)
		}
		counts := confused(classes, 1000)
		checkFigure(t, confusion(t, counts, names, "Test set"), confusion(t, counts, names, "Test set"), matrixWidth, 0)
	}
	names := []string{strings.Repeat("a very long name ", 100), ""}
	f := confusion(t, confused(2, 10), names, "Test set")
	if height := f.image.Rect.Dy(); height > 2*matrixWidth {
		t.Errorf("%d pixels high with a long name", height)
	}
}

func TestConfusionOfDistinctDataDiffers(t *testing.T) {
	plain := confusion(t, confused(10, 1000), fashion, "Test set")
	counts := confused(10, 1000)
	counts[3][7]++
	renamed := append([]string(nil), fashion...)
	renamed[9] = "Boot"
	for name, f := range map[string]Figure{
		"count": confusion(t, counts, fashion, "Test set"),
		"title": confusion(t, confused(10, 1000), fashion, "Validation set"),
		"class": confusion(t, confused(10, 1000), renamed, "Test set"),
		"all":   confusion(t, confused(10, 100000), fashion, "Test set"),
	} {
		if same(plain, f) {
			t.Errorf("a change of %s does not show", name)
		}
	}
}

// A row is a true class: the color of a cell shows its part of the row.
func TestConfusionShadesRows(t *testing.T) {
	counts := train.Confusion{{0, 1000}, {0, 0}} // all of class 0 taken for class 1, none of class 1
	f := confusion(t, counts, []string{"a", "b"}, "Test set")
	m := newMatrix(counts, []string{"a", "b"})
	cell := int(m.cell.Dots(dpi))
	left := int((matrixMargin + matrixLabel + m.names + matrixGap).Dots(dpi))
	top := int((matrixMargin + matrixTitle + matrixHead).Dots(dpi))
	for row := range 2 {
		for column := range 2 {
			inner := image.Rect(column*cell, row*cell, (column+1)*cell, (row+1)*cell).Add(image.Pt(left, top)).Inset(4)
			blues := count(f, inner, blue)
			if filled := row == 0 && column == 1; filled != (blues > cell*cell/2) {
				t.Errorf("row %d, column %d: %d pixels of %d are blue", row, column, blues, cell*cell)
			}
		}
	}
}

func TestRecall(t *testing.T) {
	m := newMatrix(train.Confusion{{853, 147, 0}, {10, 20, 10}, {0, 0, 0}}, []string{"a", "b", "c"})
	for i, want := range []string{"85.3 %", "50.0 %", "–"} {
		if got := m.recall(i); got != want {
			t.Errorf("recall of class %d is %s, want %s", i, got, want)
		}
	}
}

func TestConfusionRefuses(t *testing.T) {
	for want, counts := range map[string]train.Confusion{
		"confusion matrix: 0 rows for 2 class names":        {},
		"confusion matrix: 1 rows for 2 class names":        {{1, 2}},
		"confusion matrix: row 1 has 3 columns, expected 2": {{1, 2}, {1, 2, 3}},
	} {
		if _, err := Confusion(counts, []string{"a", "b"}, "Test set"); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
