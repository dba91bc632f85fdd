//go:build unix

package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOutputIntoAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, _ := os.ReadFile(pipe)
		got <- string(b)
	}()
	if err := Output(pipe, 0o644, writeString("through it")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "through it" {
		t.Errorf("the pipe gave %q", s)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is one no more, error %v", err)
	}
}

// A link to a device stands for it, so that a mistake does not cost the machine its device.
func TestOutputIntoADevice(t *testing.T) {
	null := filepath.Join(t.TempDir(), "null")
	if err := os.Symlink(os.DevNull, null); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no more")
	if err := Output(null, 0o644, writeString("gone")); err != nil {
		t.Fatal(err)
	}
	if err := Output(null, 0o644, func(io.Writer) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
	if info, err := os.Stat(null); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("%s is a device no more, error %v", os.DevNull, err)
	}
}
