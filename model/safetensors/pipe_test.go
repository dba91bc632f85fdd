//go:build unix

package safetensors

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is refused before it is opened: opening would wait for a writer for ever.
func TestReadFileRefusesPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadFile(path)
	if err == nil || !strings.Contains(err.Error(), path+": not a regular file, expected a safetensors file") {
		t.Errorf("error %v, want that it is not a regular file", err)
	}
}
