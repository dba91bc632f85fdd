package train

import (
	"fmt"
	"math"
)

// Interrupted is the error of a run whose context ended. It wraps the context's error.
type Interrupted struct {
	Dir   string // empty: nothing was kept
	Step  int64
	Cause error
}

func (e *Interrupted) Error() string {
	text := fmt.Sprintf("interrupted after step %d", e.Step)
	if e.Dir != "" {
		text += ": `crnn train --resume " + e.Dir + "` goes on from there"
	}
	return text
}

func (e *Interrupted) Unwrap() error { return e.Cause }

// Diverged is the error of a run whose loss or weights are not finite any more.
type Diverged struct {
	What  string // "the loss is NaN"
	Step  int64  // the last step made
	Epoch int    // from 1
	LR    float64

	Dir   string // empty: nothing was kept
	Saved int64  // the step after which the checkpoint in Dir was written
}

func (e *Diverged) Error() string {
	lower := min(e.LR/10, Default().LR)
	text := fmt.Sprintf("%s at step %d (epoch %d, learning rate %g): try a lower one, such as --lr %.2g",
		e.What, e.Step, e.Epoch, e.LR, lower)
	switch {
	case e.Dir == "":
	case e.Saved == 0:
		text += fmt.Sprintf("; the checkpoint in %s is the run before its first step", e.Dir)
	default:
		text += fmt.Sprintf("; the checkpoint in %s is the run after step %d", e.Dir, e.Saved)
	}
	return text
}

// notFinite says which number of a run is not finite.
type notFinite string

func (e notFinite) Error() string { return string(e) }

// checkLoss returns a notFinite unless loss is finite.
func checkLoss(name string, loss float64) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return notFinite(fmt.Sprintf("the %s is %v", name, loss))
	}
	return nil
}
