package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crnn/train"
)

// clock is a clock that moves only by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// newTestProgress returns a Progress that writes lines into stdout and stderr.
func newTestProgress(plan Plan) (p *Progress, stdout, stderr *bytes.Buffer, c *clock) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	c = &clock{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	p = NewProgress(stdout, stderr, plan)
	p.now = c.now
	return p, stdout, stderr, c
}

var recipePlan = Plan{Epochs: 15, Steps: 16200, StepsPerEpoch: 1080, BatchSize: 50}

func TestProgressLines(t *testing.T) {
	p, stdout, stderr, clock := newTestProgress(recipePlan)
	defer p.Close()
	// Steps of 78 ms, and 3 s of validation after each of two epochs.
	for step := int64(1); step <= 2160; step++ {
		clock.at = clock.at.Add(78 * time.Millisecond)
		p.Update(train.Step{Step: step, Epoch: int((step-1)/1080) + 1, Loss: 2 / float64(step), LR: 0.0005})
		if step%1080 == 0 {
			clock.at = clock.at.Add(3 * time.Second)
		}
	}
	want := `
epoch 1/15  step 130/16200  641 images/s  loss 0.084  20m53s left
epoch 1/15  step 400/16200  641 images/s  loss 0.033  20m32s left
epoch 1/15  step 670/16200  641 images/s  loss 0.021  20m11s left
epoch 1/15  step 940/16200  641 images/s  loss 0.016  19m50s left
epoch 2/15  step 1210/16200  641 images/s  loss 0.002  20m6s left
epoch 2/15  step 1480/16200  641 images/s  loss 0.002  19m38s left
epoch 2/15  step 1750/16200  641 images/s  loss 0.001  19m12s left
epoch 2/15  step 2020/16200  641 images/s  loss 0.001  18m47s left
`
	if diff := cmp.Diff(want[1:], stderr.String()); diff != "" {
		t.Error(diff)
	}
	if stdout.Len() != 0 {
		t.Errorf("standard output holds %q", stdout)
	}
}

// Lines come at most every ten seconds and four times per epoch, except the first one, whatever the
// speed of the steps and however many are left out.
func TestProgressLinesAreFew(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Microsecond, 50 * time.Millisecond, time.Second, time.Hour} {
		for _, skip := range []int64{1, 7, 2000} {
			p, _, stderr, clock := newTestProgress(recipePlan)
			begin := clock.at
			for step := skip; step <= 16200; step += skip {
				clock.at = clock.at.Add(every * time.Duration(skip))
				p.Update(train.Step{Step: step, Epoch: int((step-1)/1080) + 1})
			}
			p.Close()
			n := strings.Count(stderr.String(), "\n")
			if most := int(clock.at.Sub(begin) / lineInterval); n > most || n > 4*15+1 {
				t.Errorf("steps of %v, every %dth: %d lines in %v", every, skip, n, clock.at.Sub(begin))
			}
			if n == 0 && clock.at.Sub(begin) > time.Minute {
				t.Errorf("steps of %v, every %dth: no line in %v", every, skip, clock.at.Sub(begin))
			}
		}
	}
}

// A resumed run counts on from its step, and measures its own time.
func TestProgressOfAResumedRun(t *testing.T) {
	p, _, stderr, clock := newTestProgress(recipePlan)
	defer p.Close()
	for step := int64(10801); step <= 10811; step++ {
		p.Update(train.Step{Step: step, Epoch: 11, Loss: 0.25})
		clock.at = clock.at.Add(time.Second)
	}
	// 5389 steps are left, of a second each.
	want := "epoch 11/15  step 10811/16200  50 images/s  loss 0.250  1h29m49s left\n"
	if got := stderr.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestProgressKeepsStreamsApart(t *testing.T) {
	p, stdout, stderr, _ := newTestProgress(recipePlan)
	write := func(n string) {
		if err := p.Println("line " + n); err != nil {
			t.Error(err)
		}
		if _, err := p.Write([]byte("message " + n + "\n")); err != nil {
			t.Error(err)
		}
	}
	write("1")
	p.Close()
	write("2") // Close ends the bar, not the streams
	p.Close()
	if got, want := stdout.String(), "line 1\nline 2\n"; got != want {
		t.Errorf("standard output %q, want %q", got, want)
	}
	if got, want := stderr.String(), "message 1\nmessage 2\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}
}

type fullDisk struct{ err error }

func (w fullDisk) Write([]byte) (int, error) { return 0, w.err }

func TestPrintlnReportsItsError(t *testing.T) {
	full := errors.New("no space left on device")
	p := NewProgress(fullDisk{full}, new(bytes.Buffer), recipePlan)
	defer p.Close()
	if err := p.Println("line"); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}
