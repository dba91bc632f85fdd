package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, info, err := Open(file, "a file")
	if err != nil || info.Size() != 4 {
		t.Fatal(info, err)
	}
	f.Close()
	for path, want := range map[string]string{
		dir:                           ": a directory, expected a checkpoint",
		os.DevNull:                    ": not a regular file, expected a checkpoint",
		file + "/within":              ": ",
		filepath.Join(dir, "missing"): ": ",
	} {
		_, _, err := Open(path, "a checkpoint")
		if err == nil || !strings.HasPrefix(err.Error(), path+want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: error %v, want %s%s", path, err, path, want)
		}
	}
	if _, _, err := Open(filepath.Join(dir, "missing"), "a file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestCause(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "write", Path: ".temp", Err: fs.ErrPermission},
		&os.LinkError{Op: "rename", Old: ".temp", New: "file", Err: fs.ErrPermission},
		fmt.Errorf("more: %w", &fs.PathError{Op: "open", Path: ".temp", Err: fs.ErrPermission}),
		fs.ErrPermission,
	} {
		if got := Cause(err); got != fs.ErrPermission {
			t.Errorf("cause of %v is %v", err, got)
		}
	}
}
