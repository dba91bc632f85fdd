package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/train"
)

// fiveRuns are a finished run, an unfinished one, a diverged one, one without validation, and one
// in its first epoch.
func fiveRuns(t *testing.T) []Run {
	t.Helper()
	base := t.TempDir()
	config := func(lr, schedule, fraction string) string {
		return fmt.Sprintf("version: 1.0.0\nout: %s\nepochs: 15\nlr: %s\nlr_schedule: %s\nval_fraction: %s\n",
			schedule+lr, lr, schedule, fraction)
	}
	test := []train.Test{{Loss: 0.28, Accuracy: 90.33, Epoch: 15}}
	finished := recipe(15)
	finished.Tests = test
	diverged := recipe(3)
	diverged.Epochs[2].TrainLoss, *diverged.Epochs[2].ValLoss = math.NaN(), math.NaN()
	all := withoutValidation(recipe(12))
	all.Tests = test
	runs, err := ReadRuns([]string{
		writeRun(t, base, "recipe", config("0.0005", "step", "0.1"), finished),
		writeRun(t, base, "no-schedule", config("0.001", "none", "0.1"), recipe(5)),
		writeRun(t, base, "lr-1", config("1", "step", "0.1"), diverged),
		writeRun(t, base, "all-data", config("0.0005", "step", "0"), all),
		writeRun(t, base, "début", "epochs: 20\nlr: 0.0005\n", recipe(0)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func table(t *testing.T, runs []Run) string {
	t.Helper()
	var b strings.Builder
	if err := WriteTable(&b, runs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteTable(t *testing.T) {
	runs := fiveRuns(t)
	// Each row in two lines: the figures, then the settings in which the runs differ.
	want := `
run          epochs  best val acc  at epoch  train loss  train acc  val loss  test acc  seconds
                                                                    lr      lr_schedule  val_fraction  version
recipe        15/15        91.43%        15       0.162     94.33%     0.265    90.33%   1263.8
                                                                    0.0005  step         0.1           1.0.0
no-schedule    5/15        90.40%         5       0.261     90.71%     0.284         -    421.2
                                                                    0.001   none         0.1           1.0.0
lr-1           3/15        89.12%         3         NaN     88.25%       NaN         -    252.8
                                                                    1       step         0.1           1.0.0
all-data      12/15             -         -       0.176     93.79%         -    90.33%   1011.0
                                                                    0.0005  step         0             1.0.0
début          0/20             -         -           -          -         -         -      0.0
                                                                    0.0005  -            -             -
`
	want = strings.ReplaceAll(want, "\n"+strings.Repeat(" ", 68), "  ")
	if diff := cmp.Diff(want[1:], table(t, runs)); diff != "" {
		t.Error(diff)
	}
	want = `
run     epochs  best val acc  at epoch  train loss  train acc  val loss  test acc  seconds
recipe   15/15        91.43%        15       0.162     94.33%     0.265    90.33%   1263.8
`
	if diff := cmp.Diff(want[1:], table(t, runs[:1])); diff != "" {
		t.Error(diff)
	}
	runs[0].Settings = nil
	want = `
run     epochs  best val acc  at epoch  train loss  train acc  val loss  test acc  seconds
recipe      15        91.43%        15       0.162     94.33%     0.265    90.33%   1263.8
`
	if diff := cmp.Diff(want[1:], table(t, runs[:1])); diff != "" {
		t.Error(diff)
	}
}

func TestComparison(t *testing.T) {
	runs := fiveRuns(t)
	f := Comparison(runs)
	checkFigure(t, f, Comparison(runs), curvesWidth, 0)
	left, right := halves(f)
	for i, name := range []string{"recipe", "no-schedule", "lr-1", "all-data"} {
		if color := runColors[i]; count(f, left, color) == 0 || count(f, right, color) == 0 {
			t.Errorf("%s is not visible", name)
		}
	}
	if n := count(f, left, runColors[4]); n != 0 {
		t.Errorf("a run without an epoch has %d pixels", n)
	}
	for i := range runs[:4] {
		fewer := append([]Run(nil), runs...)
		fewer[i].Metrics.Epochs = fewer[i].Metrics.Epochs[1:]
		if same(f, Comparison(fewer)) {
			t.Errorf("%s without its first epoch looks the same", runs[i].Name)
		}
	}
}

// Runs of a single epoch have points instead of lines.
func TestComparisonOfSingleEpochs(t *testing.T) {
	f := Comparison([]Run{{Name: "a", Metrics: recipe(1)}, {Name: "b", Metrics: withoutValidation(recipe(1))}})
	left, right := halves(f)
	for i := range 2 {
		if count(f, left, runColors[i]) == 0 || count(f, right, runColors[i]) == 0 {
			t.Errorf("run %d is not visible", i)
		}
	}
}

// A legend of many long names has as many rows as it needs, and pushes out no panel.
func TestComparisonOfManyRuns(t *testing.T) {
	var runs []Run
	for i := range 25 {
		runs = append(runs, Run{Name: fmt.Sprint(strings.Repeat("long", 4*i), i), Metrics: recipe(i)})
	}
	f := Comparison(runs)
	if few := Comparison(runs[:2]); f.image.Rect.Dy() < few.image.Rect.Dy()+15*int(legendRow.Dots(dpi)) {
		t.Errorf("%d pixels high, %d with two runs", f.image.Rect.Dy(), few.image.Rect.Dy())
	}
}

func TestRunStylesDiffer(t *testing.T) {
	seen := make(map[string]int)
	for i := range len(runColors) * len(runMarkers) {
		_, style := runStyles(i)
		key := fmt.Sprintf("%v %T", style.color, style.marker)
		if other, ok := seen[key]; ok {
			t.Errorf("runs %d and %d look the same", other, i)
		}
		seen[key] = i
	}
}
