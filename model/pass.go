package model

import (
	"errors"
	"fmt"
)

// Pass describes one run of the network's operators, forward and back, on some samples of a batch.
//
// Several devices may share a batch. Then Whole is the number of the batch's samples, and First the
// index in it of this device's first sample. The dropout masks and the mean of the loss follow the
// whole batch, so they do not depend on how it is shared. Batch normalisation takes its statistics
// from this device's samples.
type Pass struct {
	Samples int    // on this device: operators use as many rows of their arrays
	First   int    // index of the first of them in the whole batch
	Whole   int    // samples of the whole batch
	Train   bool   // batch statistics and dropout are on, and Backward may follow
	Step    uint64 // training steps made before: it chooses the dropout masks
}

// Check returns an error if an operator that was made for at most maxBatch samples cannot run for
// p. The caller puts the operator's name before the errors of this and the other checks of a pass.
func (p Pass) Check(maxBatch int) error {
	if p.Samples < 1 || p.Samples > maxBatch {
		return fmt.Errorf("of %d samples, expected from 1 to %d, its largest batch", p.Samples, maxBatch)
	}
	if p.First < 0 || p.Whole-p.First < p.Samples {
		return fmt.Errorf("of samples %d to %d of a batch of %d", p.First, p.First+p.Samples-1, p.Whole)
	}
	return nil
}

// CheckBackward is Check for Backward, which only a training pass has.
func (p Pass) CheckBackward(maxBatch int) error {
	if !p.Train {
		return errors.New("for a pass that is not a training pass")
	}
	return p.Check(maxBatch)
}

// CheckAfter returns an error unless the operator's last Forward, whose results its Backward uses, ran
// for p. forward is the zero Pass before the first.
func (p Pass) CheckAfter(forward Pass) error {
	if p == forward {
		return nil
	}
	return fmt.Errorf("of %v, expected the pass of the last forward: %v", p, forward)
}

// String names the samples, and whether they are trained on.
func (p Pass) String() string {
	if p.Samples == 0 {
		return "none"
	}
	text := fmt.Sprintf("samples %d to %d of a batch of %d", p.First, p.First+p.Samples-1, p.Whole)
	if p.Train {
		text += fmt.Sprintf(" in training after %d steps", p.Step)
	}
	return text
}

// CheckLabels returns an error if an operator for a number of classes cannot run for p with labels.
func (p Pass) CheckLabels(labels Labels, classes int) error {
	if labels.Len() < p.Samples {
		return fmt.Errorf("of %d samples with room for the labels of %d", p.Samples, labels.Len())
	}
	if labels.Classes() > classes {
		return fmt.Errorf("of %d classes with labels of %d", classes, labels.Classes())
	}
	return nil
}
