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

// Plan is the length of a run.
type Plan struct {
	Epochs        int
	Steps         int64 // of the whole run, including those before a resume
	StepsPerEpoch int64
	BatchSize     int // images per step
}

// Progress shows a run's progress on standard error: on a terminal as a bar, elsewhere as a line
// now and then. While it is open, write lines for standard output by Println, and other messages
// for standard error by Write: it keeps them and the bar apart. Several goroutines may use it if
// the two streams allow that.
type Progress struct {
	plan           Plan
	stdout, stderr io.Writer
	shared         bool // both are the same terminal
	now            func() time.Time

	// The bar, nil if lines are shown. Its own goroutines ask for text, so its methods must not be
	// called with mu held.
	container *mpb.Progress
	bar       *mpb.Bar

	mu       sync.Mutex
	pace     pace
	nextAt   time.Time // earliest time of the next line
	nextStep int64     // earliest step of the next line
}

// A new line is written after both this time and this part of an epoch.
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
	// A bar that is made with a total ends by itself when it reaches the total, and cannot be
	// removed then. This bar gets its total later, and ends with Close.
	p.bar = p.container.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.text(pace.position) })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.text(pace.speed) })))
	p.bar.SetTotal(plan.Steps, false)
	return p
}

// text returns what of says about the pace.
func (p *Progress) text(of func(pace, Plan) string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return of(p.pace, p.plan)
}

// Update records a finished step. Steps may be left out.
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
	if p.nextAt.IsZero() { // the first line waits only for the time
		p.nextAt = now.Add(lineInterval)
	}
	if now.Before(p.nextAt) || step.Step < p.nextStep {
		return
	}
	p.nextAt = now.Add(lineInterval)
	p.nextStep = step.Step + (p.plan.StepsPerEpoch+linesPerEpoch-1)/linesPerEpoch
	// A message that cannot be written does not end the run.
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

// Close removes the bar. Later output is written directly.
func (p *Progress) Close() {
	if p.container != nil {
		p.bar.Abort(true)
		p.container.Wait()
	}
}

// IsTerminal reports whether w is a terminal that can move its cursor.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// sameFile reports whether two terminals are the same.
func sameFile(a, b io.Writer) bool {
	if runtime.GOOS == "windows" {
		return true // a process has one console, and it has no file identity
	}
	infoA, errA := a.(*os.File).Stat()
	infoB, errB := b.(*os.File).Stat()
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
