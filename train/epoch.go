package train

import (
	"context"
	"time"

	"crnn/data"
	"crnn/model"
)

// epoch makes the remaining steps of the current epoch, and ends it.
func (r *Runner) epoch(ctx context.Context) error {
	began, before := time.Now(), r.Seconds
	lr := r.Config.LearningRate(r.Epoch)
	if err := r.net.SetTotals(r.Totals); err != nil {
		return err
	}
	order := data.Order(r.Plan.Train, r.Config.Seed, r.Epoch, !r.Config.NoShuffle)
	left := order[min(r.EpochSteps*r.Config.BatchSize, len(order)):]
	for batch := range batches(left, r.Config.BatchSize) {
		if r.Config.MaxSteps > 0 && r.Step >= int64(r.Config.MaxSteps) {
			break
		}
		if err := ctx.Err(); err != nil {
			if failed := r.look(lr); failed != nil {
				return failed
			}
			return err
		}
		if err := r.step(batch, lr); err != nil {
			return err
		}
		r.Seconds = before + time.Since(began).Seconds()
	}
	if err := r.look(lr); err != nil {
		return err
	}

	var val *Evaluation
	if len(r.Val) > 0 {
		e, err := Evaluate(ctx, r.net, r.trainImages, r.Data.Train.Labels, r.Val)
		if err != nil {
			return err
		}
		val = &e
	}
	r.Seconds = before + time.Since(began).Seconds()
	return r.endEpoch(lr, val)
}

// step makes one training step. It looks at the loss only now and then: on an asynchronous device,
// a look waits for all earlier steps.
func (r *Runner) step(batch []int32, lr float64) error {
	r.last = nil
	if err := r.net.Step(r.trainImages, batch, lr); err != nil {
		return err
	}
	r.Step++
	r.EpochSteps++
	r.unseen += len(batch)
	// Nobody notices a delay of 10 ms. A GPU makes some hundred steps in it, a processor less than
	// one.
	if r.Config.LogSteps || time.Since(r.looked) > 10*time.Millisecond {
		return r.look(lr)
	}
	return nil
}

// look takes the totals of the steps made so far from the device and reports them.
func (r *Runner) look(lr float64) error {
	if r.unseen == 0 {
		return nil
	}
	totals, err := r.net.Totals()
	if err != nil {
		return err
	}
	loss := (totals.Loss - r.Totals.Loss) / float64(r.unseen)
	r.Totals, r.unseen, r.looked = totals, 0, time.Now()
	if err := checkLoss("loss", loss); err != nil {
		return err
	}
	return r.Observe(Step{Step: r.Step, Epoch: r.Epoch + 1, Loss: loss, LR: lr})
}

// endEpoch chooses the best model, reports the epoch and writes a checkpoint. val is nil without
// validation.
func (r *Runner) endEpoch(lr float64, val *Evaluation) error {
	if err := r.download(); err != nil {
		return err
	}
	loss, accuracy := means(r.Totals)
	event := Epoch{Epoch: r.Epoch + 1, Step: r.Step, TrainLoss: loss, TrainAccuracy: accuracy, LR: lr, Seconds: r.Seconds}
	best := true // without validation the last model is the best
	if val != nil {
		event.ValLoss, event.ValAccuracy, event.Confusion = &val.Loss, &val.Accuracy, val.Confusion
		best = r.BestEpoch == 0 || val.Accuracy > r.BestAccuracy
		r.Waited++
		if r.BestEpoch == 0 || val.Loss < r.BestLoss {
			r.BestLoss, r.Waited = val.Loss, 0
		}
		if best {
			r.BestAccuracy = val.Accuracy
		}
	}
	r.Epoch++
	if best {
		r.BestEpoch, r.best = r.Epoch, r.last
	}
	r.EpochSteps, r.Totals, r.Seconds = 0, model.Totals{}, 0

	if r.Dir != nil {
		if err := r.Dir.writeWeights(r.last, r.best); err != nil {
			return err
		}
	}
	// The observer's files come before the checkpoint, so that they never lack an epoch that it
	// counts as done. After a kill in between, the epoch is made again, to the same bits.
	if err := r.Observe(event); err != nil {
		return err
	}
	return r.save()
}

// testBest tests the best model and writes the last checkpoint.
func (r *Runner) testBest(ctx context.Context) error {
	if err := r.net.SetState(r.best); err != nil {
		return err
	}
	all := make([]int32, r.Data.Test.Count)
	for i := range all {
		all[i] = int32(i)
	}
	e, err := Evaluate(ctx, r.net, r.testImages, r.Data.Test.Labels, all)
	if err != nil {
		return err
	}
	event := Test{Loss: e.Loss, Accuracy: e.Accuracy, Epoch: r.BestEpoch, Confusion: e.Confusion}
	if err := r.Observe(event); err != nil {
		return err
	}
	r.Test = &event
	return r.save()
}
