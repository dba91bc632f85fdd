package model

import "fmt"

// Pass says what the operators of a network are run for: some samples of a batch, forward and back.
//
// Several devices may share a batch. Then Whole is the number of its samples, and First the number
// of the first one here. The dropout masks and the mean of the loss follow the whole batch, so they
// do not depend on how it is shared. Batch normalisation takes its statistics from the samples here.
type Pass struct {
	Samples int    // here: operators use the first so many rows of their arrays
	First   int    // number of the first of them in the whole batch
	Whole   int    // samples of the whole batch
	Train   bool   // batch statistics and dropout are on, and Backward may follow
	Step    uint64 // training steps made before: it chooses the dropout masks
}

// Check returns an error if operator, which was made for at most maxBatch samples, cannot run for p.
func (p Pass) Check(operator string, maxBatch int) error {
	if p.Samples < 1 || p.Samples > maxBatch {
		return fmt.Errorf("%s of %d samples, expected from 1 to %d, its largest batch", operator, p.Samples, maxBatch)
	}
	if p.First < 0 || p.Whole-p.First < p.Samples {
		return fmt.Errorf("%s of samples %d to %d of a batch of %d", operator, p.First, p.First+p.Samples-1, p.Whole)
	}
	return nil
}

// CheckBackward is Check for Backward, which only a pass of training has.
func (p Pass) CheckBackward(operator string, maxBatch int) error {
	if !p.Train {
		return fmt.Errorf("%s for a pass that is not one of training", operator)
	}
	return p.Check(operator, maxBatch)
}
