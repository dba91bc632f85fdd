// Package train is the recipe: settings, learning rate schedule, epochs, best model, checkpoints. A run
// reports events; it prints nothing.
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

	// Config holds the settings of a new run. A run that continues from a checkpoint ignores it.
	Config Config
	From   *Checkpoint // nil: a new run

	// Given holds the names, such as "hidden-size", of the settings that the user gave, also those
	// equal to the defaults. The sizes of weights to start from must agree with them.
	Given map[string]bool

	// Dir takes configuration, weights and checkpoints. With nil nothing is written.
	Dir   *Dir
	Build Build

	// Observe, unless nil, is told every event as it happens. An error that it returns ends
	// the run.
	Observe func(Event) error
}

// Result is the result of a run.
type Result struct {
	Test         Test
	Steps        int64 // in all, including those before a resume
	Epochs       int   // likewise; the last may have been cut short by --max-steps
	StoppedEarly bool
	Best         *model.State // the tested model
}

// Runner makes one run: New, Start, Run. Dir may be set until Start, Observe until Run.
type Runner struct {
	Job
	Plan
	Progress
	net                     *model.Network
	trainImages, testImages model.Images
	dataID                  func() string // may have to wait for the data
	saved                   int64         // step of the checkpoint in Dir

	unseen int       // samples since the last look at the loss
	looked time.Time // time of that look

	// The network of the last checkpoint or for the next one; nil after a step.
	last      *model.State
	optimizer model.OptimizerState
	best      *model.State
}

// Run makes a run: it trains, validates after every epoch, and at the end tests the model with the
// best validation accuracy, or the last one without validation. A run that continues from a
// checkpoint gives the same bits as one that was never interrupted.
//
// When ctx ends, Run finishes the current step, writes a checkpoint and returns an *Interrupted.
// The error of an impossible setting is a *FieldError, of a loss that is not finite a *Diverged.
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

// Sizes returns the sizes of the network, after New.
func (r *Runner) Sizes() model.Config { return r.net.Config }

// Run makes the run, after Start, like the function Run.
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
	last.Images = r.Data.Train.Description
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

// explain turns the error that ended the run into the error for the caller. An interrupted run is
// saved first, unless nothing happened since the last checkpoint.
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
		return &Diverged{What: string(what), Step: r.Step, Epoch: r.Epoch + 1, LR: r.Config.LearningRate(r.Epoch), Dir: dir,
			Saved: r.saved}
	}
	return err
}
