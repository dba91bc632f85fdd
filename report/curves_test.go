package report

import (
	"math"
	"testing"
)

func TestCurves(t *testing.T) {
	for _, epochs := range []int{0, 1, 15, 200} {
		checkFigure(t, Curves(recipe(epochs)), Curves(recipe(epochs)), curvesWidth, 0)
	}
}

// Every curve of the run is visible in both panels, and no other.
func TestCurvesShowWhatTheRunHas(t *testing.T) {
	for _, epochs := range []int{1, 15, 200} {
		f := Curves(recipe(epochs))
		left, right := halves(f)
		for _, c := range []struct {
			name  string
			count int
		}{
			{"training loss", count(f, left, blue)},
			{"validation loss", count(f, left, vermilion)},
			{"training accuracy", count(f, right, blue)},
			{"validation accuracy", count(f, right, vermilion)},
		} {
			if c.count == 0 {
				t.Errorf("%d epochs: no %s", epochs, c.name)
			}
		}
		f = Curves(withoutValidation(recipe(epochs)))
		if n := count(f, f.image.Rect, vermilion); n != 0 {
			t.Errorf("%d epochs without validation: %d pixels of its color", epochs, n)
		}
		if count(f, left, blue) == 0 || count(f, right, blue) == 0 {
			t.Errorf("%d epochs without validation: no training", epochs)
		}
	}
}

func TestCurvesOfDistinctDataDiffer(t *testing.T) {
	plain := Curves(recipe(15))
	for name, change := range map[string]func(*Metrics){
		"training loss":       func(m *Metrics) { m.Epochs[7].TrainLoss += 0.05 },
		"training accuracy":   func(m *Metrics) { m.Epochs[7].TrainAccuracy += 1 },
		"validation loss":     func(m *Metrics) { *m.Epochs[7].ValLoss += 0.05 },
		"validation accuracy": func(m *Metrics) { *m.Epochs[7].ValAccuracy -= 1 },
		"epochs":              func(m *Metrics) { m.Epochs = m.Epochs[:14] },
	} {
		m := recipe(15)
		change(&m)
		if same(plain, Curves(m)) {
			t.Errorf("a change of %s does not show", name)
		}
	}
}

// A value that is not finite leaves a gap; all other epochs are drawn in place.
func TestCurvesWithGaps(t *testing.T) {
	left, _ := halves(Figure{})
	whole := Curves(recipe(15))
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		m := recipe(15)
		m.Epochs[7].TrainLoss = bad
		f := Curves(m)
		if n, of := count(f, left, blue), count(whole, left, blue); n >= of || n < of*3/4 {
			t.Errorf("%g at one of 15 epochs: %d pixels of %d are left", bad, n, of)
		}
		for i := range m.Epochs {
			m.Epochs[i].TrainLoss = bad
		}
		f = Curves(m)
		if n := count(f, left, blue); n != 0 {
			t.Errorf("%g at all epochs: %d pixels", bad, n)
		}
	}
}
