// Package report turns the events of a run into output for people: the lines on standard output and
// the progress on standard error, metrics.jsonl, and the figures.
package report

import (
	"fmt"
	"path/filepath"

	"crnn/train"
)

// Names of the figures in the directory of a run.
const (
	SamplesFile   = "samples.png"
	CurvesFile    = "curves.png"
	ConfusionFile = "confusion.png"
)

// Options hold what a Reporter cannot know from events.
type Options struct {
	Epochs   int      // of the whole run
	Classes  []string // names of the classes, in order
	LogSteps bool     // keep every step in metrics.jsonl
}

// Reporter turns the events of one run into lines, metrics and figures.
type Reporter struct {
	dir      string
	options  Options
	progress *Progress
	metrics  Metrics
	writer   *MetricsWriter
}

// NewReporter returns the reporter of the run in dir, which must exist. step is the number of steps
// made before: 0 for a new run, or the checkpoint's for a resumed one. Metrics of later steps are
// dropped; new ones are appended to the rest. The caller closes both reporter and progress.
func NewReporter(dir string, step int64, options Options, progress *Progress) (*Reporter, error) {
	if err := TruncateMetrics(dir, step); err != nil {
		return nil, err
	}
	writer, err := OpenMetrics(dir)
	if err != nil {
		return nil, err
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		writer.Close()
		return nil, err
	}
	return &Reporter{dir, options, progress, metrics, writer}, nil
}

// Observe takes the next event. When it returns from an epoch or a test, the event is on
// the disk, its line is printed and the figures show it.
func (r *Reporter) Observe(e train.Event) error {
	switch e := e.(type) {
	case train.Step:
		return r.step(e)
	case train.Epoch:
		return r.epoch(e)
	case train.Test:
		return r.test(e)
	}
	return fmt.Errorf("%T is not an event of a run", e)
}

func (r *Reporter) step(e train.Step) error {
	r.progress.Update(e)
	if !r.options.LogSteps {
		return nil
	}
	return r.writer.Write(e)
}

func (r *Reporter) epoch(e train.Epoch) error {
	// The metrics may hold this epoch already. This happens if a run was killed after the epoch's
	// end and resumed from a checkpoint between its last step and its end.
	last := len(r.metrics.Epochs) - 1
	if last < 0 || r.metrics.Epochs[last].Epoch != e.Epoch || r.metrics.Epochs[last].Step != e.Step {
		if err := r.writer.Write(e); err != nil {
			return err
		}
		r.metrics.add(e)
	}
	if err := r.progress.Println(EpochLine(e, r.options.Epochs)); err != nil {
		return err
	}
	if err := Curves(r.metrics).Save(filepath.Join(r.dir, CurvesFile)); err != nil {
		return err
	}
	return r.confusion(e.Confusion, fmt.Sprintf("Validation set after epoch %d", e.Epoch))
}

func (r *Reporter) test(e train.Test) error {
	if err := r.writer.Write(e); err != nil {
		return err
	}
	images, _ := total(e.Confusion)
	if err := r.progress.Println(TestLine(e, images)); err != nil {
		return err
	}
	return r.confusion(e.Confusion, fmt.Sprintf("Test set, model of epoch %d", e.Epoch))
}

// confusion saves the figure of counts, unless counts is nil.
func (r *Reporter) confusion(counts train.Confusion, set string) error {
	if counts == nil {
		return nil
	}
	figure, err := Confusion(counts, r.options.Classes, set)
	if err != nil {
		return err
	}
	return figure.Save(filepath.Join(r.dir, ConfusionFile))
}

// Close closes the metrics.
func (r *Reporter) Close() error { return r.writer.Close() }
