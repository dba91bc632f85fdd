//go:build unix

package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A context that nobody looks at cannot stop anything.
func TestSignalContextNoticesWhoLooks(t *testing.T) {
	for name, look := range map[string]func(context.Context){
		"Err":     func(ctx context.Context) { ctx.Err() },
		"Done":    func(ctx context.Context) { ctx.Done() },
		"derived": func(ctx context.Context) { _, cancel := context.WithCancel(ctx); cancel() },
	} {
		inner, cancel := context.WithCancel(context.Background())
		defer cancel()
		ctx := &signalContext{Context: inner}
		if ctx.watched.Load() {
			t.Error("watched from the start")
		}
		if look(ctx); !ctx.watched.Load() {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// A signal ends a program at once while it only waits, here for a reader of its output.
func TestInterruptBeforeTheRun(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		// A signal before the program handles signals kills it: then the test waits longer.
		for wait := 50 * time.Millisecond; ; wait *= 2 {
			code, stderr := interruptBlocked(t, signal, wait)
			if code == -1 && wait < hang/4 {
				continue
			}
			if code != exitInterrupted || stderr != "crnn: interrupted\n" {
				t.Errorf("%v: exit code %d, %q", signal, code, stderr)
			}
			break
		}
	}
}

// interruptBlocked runs a program whose output nobody reads and sends it a signal after a
// while. The code is -1 if it hangs or is killed.
func interruptBlocked(t *testing.T, signal syscall.Signal, after time.Duration) (code int, errors string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil { // until the pipe is full
		_, err = w.Write(make([]byte, 512))
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	cmd := process{args: []string{"help"}}.command(t, ctx)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	cmd.Process.Signal(signal)
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), stderr.String()
}
