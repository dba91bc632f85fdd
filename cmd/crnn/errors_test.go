package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestErrorIsOneLine(t *testing.T) {
	if got, want := errorLine(errors.New("a\nb\r\n\nc")), "crnn: a; b; c"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk"), 1},
		{usagef("flag"), 2},
		{fmt.Errorf("config: %w", usagef("key")), 2},
		{fmt.Errorf("stopped: %w", context.Canceled), 130},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// failingWriter fails as a disk or a pipe does.
type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestOutputErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   int
		stderr string
	}{
		{syscall.ENOSPC, exitFailed, "crnn: standard output: no space left on device\n"},
		{syscall.EPIPE, exitDone, ""},
	} {
		var stderr bytes.Buffer
		code := run(context.Background(), []string{"summary"}, failingWriter{c.err}, &stderr)
		if code != c.code || stderr.String() != c.stderr {
			t.Errorf("%v: exit code %d, %q; want %d, %q", c.err, code, stderr.String(), c.code, c.stderr)
		}
	}
}

// A bug must not show a trace unless CRNN_DEBUG asks for it.
func TestPanicIsOneLine(t *testing.T) {
	for _, debug := range []string{"", "1"} {
		t.Setenv("CRNN_DEBUG", debug)
		var stderr bytes.Buffer
		code := run(context.Background(), []string{"summary"}, panickingWriter{}, &stderr)
		lines := strings.Count(stderr.String(), "\n")
		if code != exitFailed || !strings.HasPrefix(stderr.String(), "crnn: internal error: oops (") ||
			(lines == 1) == (debug == "1") {
			t.Errorf("CRNN_DEBUG=%s: exit code %d, %q", debug, code, stderr.String())
		}
	}
}

type panickingWriter struct{}

func (panickingWriter) Write([]byte) (int, error) { panic("oops") }
