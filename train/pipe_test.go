//go:build unix

package train

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe is refused before it is opened: opening would wait for a writer for ever.
func TestPipeIsNoCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), checkpointFile)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadCheckpoint(path)
	expectError(t, err, path, "not a regular file")
}
