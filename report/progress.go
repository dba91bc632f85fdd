package report

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"crnn/train"
)

// Plan is what a run is going to do.
type Plan struct {
	Epochs        int
	Steps         int64 // of the whole run, those before a resume included
	StepsPerEpoch int64
	BatchSize     int // images of a step
}

// Progress shows on standard error how far a run is: on a terminal as a bar, elsewhere
// as a line now and then. While it is open, lines for standard output go through
// Println, and other messages for standard error through Write: it keeps them and the
// bar apart. Several goroutines may use it, if they may use the two streams.
type Progress struct {
	plan           Plan
	stdout, stderr io.Writer
	shared         bool // both are the same terminal
	now            func() time.Time

	// The bar, nil where lines are shown. It asks for text from goroutines of its own:
	// its methods must not be called with mu held.
	container *mpb.Progress
	bar       *mpb.Bar

	mu       sync.Mutex
	pace     pace
	nextAt   time.Time // of the next line, at the earliest
	nextStep int64     // likewise
}

// A line is written when both have passed since the last one: this time, and this part
// of an epoch.
const (
	lineInterval  = 10 * time.Second
	linesPerEpoch = 4
)

// NewProgress shows the progress of a run that is about to begin. The caller closes it.
func NewProgress(stdout, stderr io.Writer, plan Plan) *Progress {
	p := &Progress{plan: plan, stdout: stdout, stderr: stderr, now: time.Now}
	if !IsTerminal(stderr) {
		return p
	}
	p.shared = IsTerminal(stdout) && sameFile(stdout, stderr)
	p.container = mpb.New(mpb.WithOutput(stderr))
	// A bar with a total ends by itself when it is reached, and could not be removed
	// then; this one is given its total later, and ends with Close.
	p.bar = p.container.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.text(pace.position) })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text(pace.speed) })))
	p.bar.SetTotal(plan.Steps, false)
	return p
}

// text returns a text about the pace.
func (p *Progress) text(of func(pace, Plan) string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return of(p.pace, p.plan)
}

// Update takes a step that was made. Steps may be left out.
func (p *Progress) Update(step train.Step) {
	if p.bar != nil {
		p.bar.SetCurrent(step.Step)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.pace.observe(step, p.plan.BatchSize, now)
	if p.bar != nil {
		return
	}
	if p.nextAt.IsZero() { // the first line does not wait for its part of the epoch
		p.nextAt = now.Add(lineInterval)
	}
	if now.Before(p.nextAt) || step.Step < p.nextStep {
		return
	}
	p.nextAt = now.Add(lineInterval)
	p.nextStep = step.Step + (p.plan.StepsPerEpoch+linesPerEpoch-1)/linesPerEpoch
	// A message that cannot be written is no reason to end the run.
	fmt.Fprintf(p.stderr, "%s  %s\n", p.pace.position(p.plan), p.pace.speed(p.plan))
}

// Println writes a line to standard output.
func (p *Progress) Println(line string) error {
	line += "\n"
	if p.shared {
		if _, err := io.WriteString(p.container, line); err == nil {
			return nil
		}
		// The bar has ended.
	}
	_, err := io.WriteString(p.stdout, line)
	return err
}

// Write writes whole lines to standard error.
func (p *Progress) Write(text []byte) (int, error) {
	if p.container != nil {
		if n, err := p.container.Write(text); err == nil {
			return n, nil
		}
	}
	return p.stderr.Write(text)
}

// Close removes the bar. What is written afterwards is written at once.
func (p *Progress) Close() {
	if p.container != nil {
		p.bar.Abort(true)
		p.container.Wait()
	}
}

// IsTerminal tells whether w is a terminal that can move its cursor.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// sameFile tells whether two terminals are one.
func sameFile(a, b io.Writer) bool {
	if runtime.GOOS == "windows" {
		return true // a process has one console, and it has no file identity
	}
	infoA, errA := a.(*os.File).Stat()
	infoB, errB := b.(*os.File).Stat()
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
