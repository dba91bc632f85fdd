package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"crnn/train"
)

// openTerminal returns both ends of a pseudo-terminal: controller shows what is written to
// terminal.
func openTerminal(t *testing.T) (controller, terminal *os.File) {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { controller.Close() })
	fd := int(controller.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 110}); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	t.Setenv("TERM", "xterm")
	return controller, terminal
}

// watch collects the output of a terminal until it is closed.
func watch(controller *os.File) func() string {
	var seen bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&seen, controller) // ends with EIO when the terminal is closed
	}()
	return func() string {
		<-done
		return seen.String()
	}
}

// screen returns the lines that a terminal shows after text, which moves the cursor up
// and erases below it as mpb does.
func screen(t *testing.T, text string) []string {
	t.Helper()
	lines := []string{""}
	up := regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)
	for text != "" {
		if m := up.FindStringSubmatch(text); m != nil {
			var n int
			fmt.Sscan(m[1], &n)
			if n >= len(lines) {
				t.Fatalf("the cursor moves up %d lines of %d", n, len(lines))
			}
			lines = append(lines[:len(lines)-1-n], "")
			text = text[len(m[0]):]
			continue
		}
		switch c := text[0]; c {
		case '\x1b':
			t.Fatalf("unexpected escape sequence %.10q", text)
		case '\r': // of "\r\n", as a terminal writes a line break
		case '\n':
			lines = append(lines, "")
		default:
			lines[len(lines)-1] += string(c)
		}
		text = text[1:]
	}
	return lines
}

// Lines of both streams stay whole when they share a terminal with the bar, and the bar
// leaves nothing behind.
func TestProgressOnATerminal(t *testing.T) {
	controller, terminal := openTerminal(t)
	seen := watch(controller)
	p := NewProgress(terminal, terminal, Plan{Epochs: 3, Steps: 30, StepsPerEpoch: 10, BatchSize: 50})
	var want []string
	for step := int64(1); step <= 30; step++ {
		p.Update(train.Step{Step: step, Epoch: int(step-1)/10 + 1, Loss: 0.5})
		time.Sleep(30 * time.Millisecond) // the bar is drawn between some of the lines
		if step%10 == 0 {
			line := fmt.Sprintf("Epoch %d/3\tTrain Loss: 0.500", step/10)
			if err := p.Println(line); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(p, "message", step)
			want = append(want, line, fmt.Sprint("message ", step))
		}
	}
	p.Close()
	if err := p.Println("after"); err != nil {
		t.Error(err)
	}
	want = append(want, "after", "")
	terminal.Close()

	text := seen()
	if got := screen(t, text); !slices.Equal(got, want) {
		t.Errorf("the terminal shows %q\nwant %q", got, want)
	}
	bar := regexp.MustCompile(`epoch \d/3  step \d+/30 +\[[=>-]+\] \d+ images/s  loss 0\.500  \d+s left`)
	if !bar.MatchString(text) {
		t.Errorf("no bar in %q", text)
	}
}

// If standard output goes elsewhere, its lines are not on the terminal.
func TestProgressOnATerminalOfItsOwn(t *testing.T) {
	controller, terminal := openTerminal(t)
	seen := watch(controller)
	var stdout bytes.Buffer
	p := NewProgress(&stdout, terminal, recipePlan)
	p.Update(train.Step{Step: 1, Epoch: 1, Loss: 0.5})
	if err := p.Println("line"); err != nil {
		t.Error(err)
	}
	fmt.Fprintln(p, "message")
	p.Close()
	terminal.Close()
	if stdout.String() != "line\n" {
		t.Errorf("standard output holds %q", stdout.String())
	}
	if got := screen(t, seen()); strings.Join(got, "\n") != "message\n" {
		t.Errorf("the terminal shows %q", got)
	}
}

// A terminal that cannot move its cursor gets lines.
func TestProgressOnADumbTerminal(t *testing.T) {
	_, terminal := openTerminal(t)
	t.Setenv("TERM", "dumb")
	p := NewProgress(terminal, terminal, recipePlan)
	defer p.Close()
	if p.bar != nil {
		t.Error("a bar is shown")
	}
}
