package train

import (
	"context"
	"errors"
	"time"

	"crnn/data"
	"crnn/model"
)

// Job is a run to make.
type Job struct {
	Backend model.Backend
	Data    *data.Dataset

	// Config holds the settings of a new run. One that goes on from a checkpoint has its own.
	Config Config
	From   *Checkpoint // nil: a new run

	// Given holds the names, such as "hidden-size", of the settings that were asked for even
	// where they are the defaults. The sizes of weights to start from must agree with them.
	Given map[string]bool

	// Dir takes configuration, weights and checkpoints. With nil nothing is written.
	Dir   *Dir
	Build Build

	// Observe, unless nil, is told every event as it happens. An error that it returns ends
	// the run.
	Observe func(Event) error
}

// Result is what came of a run.
type Result struct {
	Test         Test
	Steps        int64 // in all, those before a resume included
	Epochs       int   // likewise; the last may have been cut short by --max-steps
	StoppedEarly bool
	Best         *model.State // that was tested
}

// Runner makes one run: New, Start, Run. Dir may be set until Start, Observe until Run.
type Runner struct {
	Job
	Plan
	Progress
	net                     *model.Network
	trainImages, testImages model.Images
	dataID                  func() string // may have to wait for it
	saved                   int64         // step of the checkpoint in Dir

	unseen int       // samples of the steps whose loss was not looked at yet
	looked time.Time // when it was

	// The network as the last checkpoint has it or the next will; nil: made a step since.
	last      *model.State
	optimizer model.OptimizerState
	best      *model.State
}

// Run makes a run: it trains, validates after every epoch, and at the end tests the model
// of the best validation accuracy, or the last one without validation. A run that goes on
// from a checkpoint gives the same bits as one that was never interrupted.
//
// When ctx is done, the step in hand is finished, a checkpoint is written, and the error
// is an *Interrupted. A setting that cannot be is a *FieldError, a loss that is not finite
// a *Diverged.
func Run(ctx context.Context, job Job) (Result, error) {
	r, err := New(job)
	if err != nil {
		return Result{}, err
	}
	if err := r.Start(); err != nil {
		return Result{}, err
	}
	return r.Run(ctx)
}

// Run makes the run, after Start, as the function Run does.
func (r *Runner) Run(ctx context.Context) (Result, error) {
	if r.Observe == nil {
		r.Observe = func(Event) error { return nil }
	}
	var err error
	for !r.done(r.Config) && err == nil {
		err = r.epoch(ctx)
	}
	if err == nil && r.Test == nil {
		err = r.testBest(ctx)
	}
	if err != nil {
		return Result{}, r.explain(ctx, err)
	}
	return Result{Test: *r.Test, Steps: r.Step, Epochs: r.Epoch, StoppedEarly: r.stoppedEarly(r.Config), Best: r.best}, nil
}

// download copies the network to the host. Weights that are not finite are an error.
func (r *Runner) download() error {
	last, err := r.net.State()
	if err != nil {
		return err
	}
	if err := last.CheckFinite(); err != nil {
		return notFinite(err.Error())
	}
	r.optimizer, err = r.net.OptimizerState()
	if err != nil {
		return err
	}
	r.last = last
	return nil
}

// save writes a checkpoint.
func (r *Runner) save() error {
	if r.Dir == nil {
		return nil
	}
	err := r.Dir.writeCheckpoint(&Checkpoint{
		Config: r.Config, Progress: r.Progress, DataID: r.dataID(),
		Last: r.last, Optimizer: r.optimizer, Best: r.best,
	})
	if err == nil {
		r.saved = r.Step
	}
	return err
}

// explain turns the error that ended the run into the one that its caller gets. A run that
// was interrupted is saved first, unless nothing happened since the last time.
func (r *Runner) explain(ctx context.Context, err error) error {
	dir := ""
	if r.Dir != nil {
		dir = r.Dir.Path()
	}
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		err = nil
		if r.last == nil {
			if err = r.download(); err == nil {
				err = r.save()
			}
		}
		if err == nil {
			return &Interrupted{Dir: dir, Step: r.Step, Cause: cause}
		}
	}
	if what := notFinite(""); errors.As(err, &what) {
		return &Diverged{What: string(what), Step: r.Step, Epoch: r.Epoch + 1, LR: r.Config.LearningRate(r.Epoch), Dir: dir, Saved: r.saved}
	}
	return err
}
