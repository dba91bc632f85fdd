package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"crnn/train"
)

// pace is the speed of a run, measured from the steps that it reports. It may report only some.
type pace struct {
	first, last moment

	// Images and seconds of training, weighted towards recent ones.
	images, seconds float64

	// Over the steps of the current epoch.
	lossSum float64
	losses  float64
}

// moment is the time at which a step was reported.
type moment struct {
	step  int64
	epoch int
	at    time.Time
}

// memory is the age, in seconds, at which a step counts 1/e of a new one.
const memory = 5

// observe records a step of batchSize images that ended now.
func (p *pace) observe(step train.Step, batchSize int, now time.Time) {
	this := moment{step.Step, step.Epoch, now}
	made := 1.0 // steps since the previous report
	if !p.last.at.IsZero() {
		made = float64(step.Step - p.last.step)
	}
	switch {
	case p.last.at.IsZero():
		p.first = this
	case step.Epoch == p.last.epoch:
		seconds := now.Sub(p.last.at).Seconds()
		forget := math.Exp(-seconds / memory)
		p.seconds = p.seconds*forget + seconds
		p.images = p.images*forget + made*float64(batchSize)
	default: // the time since the last step includes a validation
		p.lossSum, p.losses = 0, 0
	}
	p.lossSum += step.Loss * made
	p.losses += made
	p.last = this
}

// position returns the run's current epoch and step as text.
func (p pace) position(plan Plan) string {
	return fmt.Sprintf("epoch %d/%d  step %d/%d", max(p.last.epoch, 1), plan.Epochs, p.last.step, plan.Steps)
}

// speed returns the images per second, the epoch's loss so far and the time left for the whole run
// as text, each if known.
func (p pace) speed(plan Plan) string {
	var parts []string
	if p.seconds > 0 {
		parts = append(parts, fmt.Sprintf("%.0f images/s", p.images/p.seconds))
	}
	if p.losses > 0 {
		parts = append(parts, fmt.Sprintf("loss %.3f", p.lossSum/p.losses))
	}
	if made := p.last.step - p.first.step; made > 0 {
		// Average over the whole time, so that validations count too.
		left := p.last.at.Sub(p.first.at).Seconds() / float64(made) * float64(max(0, plan.Steps-p.last.step))
		parts = append(parts, fmt.Sprintf("%s left", time.Duration(left*float64(time.Second)).Round(time.Second)))
	}
	return strings.Join(parts, "  ")
}
