package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/train"
)

// wholeRun returns the events of a run of two epochs of two steps each, and of its test.
func wholeRun() []train.Event {
	m := recipe(2)
	for i := range m.Epochs {
		m.Epochs[i].Step = int64(2 * (i + 1))
		m.Epochs[i].Confusion = confused(10, int64(100*(i+1)))
	}
	for step := int64(1); step <= 4; step++ {
		m.Steps = append(m.Steps, train.Step{Step: step, Epoch: int(step+1) / 2, Loss: 1 / float64(step), LR: 0.0005})
	}
	m.Tests = []train.Test{{Loss: 0.25, Accuracy: 90.33, Epoch: 2, Confusion: confused(10, 1000)}}
	return m.events()
}

// observe reports events of a run in dir that continues after step, and returns the printed text.
func observe(t *testing.T, dir string, step int64, options Options, events []train.Event) string {
	t.Helper()
	p, stdout, _, _ := newTestProgress(Plan{Epochs: 2, Steps: 4, StepsPerEpoch: 2, BatchSize: 50})
	defer p.Close()
	r, err := NewReporter(dir, step, options, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := r.Observe(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return stdout.String()
}

// files returns the contents of a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	contents := make(map[string]string)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		contents[e.Name()] = string(b)
	}
	return contents
}

var logSteps = Options{Epochs: 2, Classes: fashion, LogSteps: true}

func TestReporter(t *testing.T) {
	dir := t.TempDir()
	got := observe(t, dir, 0, Options{Epochs: 2, Classes: fashion}, wholeRun())
	want := `Epoch 1/2	Train Loss: 0.556	Train Acc: 80.296%	Val Loss: 0.380	Val Acc: 86.833%
Epoch 2/2	Train Loss: 0.443	Train Acc: 84.275%	Val Loss: 0.344	Val Acc: 87.975%
Test Accuracy of RNN model on the 10000 test images: 90.33%
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	content := files(t, dir)
	if len(content) != 3 {
		t.Errorf("%d files, want 3", len(content))
	}
	m, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Steps) != 0 || len(m.Epochs) != 2 || len(m.Tests) != 1 {
		t.Errorf("metrics hold %d steps, %d epochs and %d tests, want 0, 2 and 1", len(m.Steps), len(m.Epochs), len(m.Tests))
	}
	if content[CurvesFile] != string(pngOf(t, Curves(recipe(2)))) {
		t.Error("the curves do not show the epochs")
	}
	figure := confusion(t, confused(10, 1000), fashion, "Test set, model of epoch 2")
	if content[ConfusionFile] != string(pngOf(t, figure)) {
		t.Error("the confusion matrix does not show the test")
	}
}

// After every epoch the files show the run so far.
func TestReporterIsUpToDateAfterAnEpoch(t *testing.T) {
	dir := t.TempDir()
	observe(t, dir, 0, logSteps, wholeRun()[:3])
	content := files(t, dir)
	if n := strings.Count(content[train.MetricsFile], "\n"); n != 3 {
		t.Errorf("metrics hold %d lines, want 3", n)
	}
	if content[CurvesFile] != string(pngOf(t, Curves(recipe(1)))) {
		t.Error("the curves do not show the epoch")
	}
	figure := confusion(t, confused(10, 100), fashion, "Validation set after epoch 1")
	if content[ConfusionFile] != string(pngOf(t, figure)) {
		t.Error("the confusion matrix does not show the validation set")
	}
}

func TestReporterWithoutValidation(t *testing.T) {
	dir := t.TempDir()
	e := withoutValidation(recipe(1)).Epochs[0]
	got := observe(t, dir, 0, logSteps, []train.Event{e})
	if want := "Epoch 1/2\tTrain Loss: 0.556\tTrain Acc: 80.296%\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	content := files(t, dir)
	if _, ok := content[ConfusionFile]; ok || content[CurvesFile] == "" {
		t.Errorf("a confusion matrix without validation, or no curves")
	}
}

// An interrupted and resumed run leaves the same files as an uninterrupted one.
func TestReporterOfAResumedRun(t *testing.T) {
	events := wholeRun()
	for i, e := range events {
		if e, ok := e.(train.Epoch); ok {
			e.Confusion = nil // to save time: the test's matrix replaces it
			events[i] = e
		}
	}
	whole := t.TempDir()
	observe(t, whole, 0, logSteps, events)
	want := files(t, whole)
	for _, c := range []struct {
		name          string
		stopped, from int   // numbers of events
		step          int64 // of the checkpoint
	}{
		{"killed in the first epoch", 2, 0, 0},
		{"interrupted in an epoch", 4, 4, 3},
		{"killed before the checkpoint of the last epoch", 6, 3, 2},
		{"killed after the end of an epoch, with a checkpoint just before it", 6, 5, 4},
		{"killed after the test", 7, 6, 4},
	} {
		dir := t.TempDir()
		observe(t, dir, 0, logSteps, events[:c.stopped])
		observe(t, dir, c.step, logSteps, events[c.from:])
		if diff := cmp.Diff(want, files(t, dir)); diff != "" {
			t.Errorf("%s: %.1000s", c.name, diff)
		}
	}
}

func TestReporterErrors(t *testing.T) {
	p, _, _, _ := newTestProgress(recipePlan)
	defer p.Close()
	absent := filepath.Join(t.TempDir(), "absent")
	if _, err := NewReporter(absent, 0, logSteps, p); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("error %v, want one that names %s", err, absent)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, train.MetricsFile), []byte("damage\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s:1: damaged: ", filepath.Join(dir, train.MetricsFile))
	if _, err := NewReporter(dir, 1, logSteps, p); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}

	dir = t.TempDir()
	r, err := NewReporter(dir, 0, Options{Epochs: 2, Classes: fashion[:3]}, p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Observe(wholeRun()[2]); err == nil || !strings.Contains(err.Error(), "10 rows for 3 class names") {
		t.Errorf("error %v, want one about the class names", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Observe(wholeRun()[2]); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want one that names the removed folder", err)
	}
}
