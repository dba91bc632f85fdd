package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func writeString(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func check(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
	if list := names(t, filepath.Dir(path)); len(list) != 1 {
		t.Errorf("the folder holds %q, want the file alone", list)
	}
}

// What the user names stays what it is: a link, a pipe, a device.
func TestOutput(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for link, target := range map[string]string{path("link"): path("file"), path("relative"): "file",
		path("dangling"): "new"} {
		if err := os.Symlink(target, link); err != nil {
			t.Skip("no links: ", err)
		}
	}
	for _, name := range []string{"file", "link", "relative", "dangling"} {
		if err := Output(path(name), 0o644, writeString(name)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path(name)); err != nil || string(got) != name {
			t.Errorf("%s holds %q, error %v", name, got, err)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"dangling", "file", "link", "new", "relative"}) {
		t.Errorf("the folder holds %q", got)
	}
	for _, link := range []string{"link", "relative", "dangling"} {
		if info, err := os.Lstat(path(link)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is a link no more, error %v", link, err)
		}
	}
	written := false
	err := Output(dir, 0o644, func(io.Writer) error { written = true; return nil })
	if err == nil || !strings.Contains(err.Error(), "a directory, expected the name of a file") || written {
		t.Errorf("into a directory: error %v", err)
	}
}

func TestWriteCreatesAndReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, s := range []string{"first, the longer one", "second", ""} {
		if err := Write(path, 0o640, writeString(s)); err != nil {
			t.Fatal(err)
		}
		check(t, path, s)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// No usual umask takes the owner's bits away. The others' bits must be no more than requested.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && (mode&0o700 != 0o600 || mode&^0o640 != 0) {
		t.Errorf("permissions %o, want 640 less the umask", mode)
	}
}

func TestWriteErrorKeepsTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, 0o644, writeString("old")); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("out of ideas")
	err := Write(path, 0o644, func(w io.Writer) error {
		// This is more than any buffer holds, so that half of the new file reaches the disk.
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		if list := names(t, filepath.Dir(path)); len(list) != 2 {
			t.Errorf("while writing the folder holds %q, want file and temporary file", list)
		}
		return failure
	})
	if err != failure {
		t.Errorf("error %v, want %v", err, failure)
	}
	check(t, path, "old")
}

// A folder with the file's name cannot be replaced, and no temporary file is left behind.
func TestWriteErrorOfRename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, 0o644, writeString("new")); err == nil {
		t.Error("no error")
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("the folder holds %q, want nothing new", list)
	}
}

func TestWriteIntoNoFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "file")
	if err := Write(path, 0o644, writeString("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the folder does not exist", err)
	}
}

func TestPreserve(t *testing.T) {
	dir := t.TempDir()
	path, before := filepath.Join(dir, "file"), filepath.Join(dir, "before")
	write := func(s string) {
		t.Helper()
		if err := Write(path, 0o644, writeString(s)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
		}
	}
	write("1")
	for _, next := range []string{"2", "3"} {
		for range 2 { // the second time both names are the same file
			if err := Preserve(path, before); err != nil {
				t.Fatal(err)
			}
		}
		write(next)
		expect(path, next)
		expect(before, map[string]string{"2": "1", "3": "2"}[next])
	}
	if list := names(t, dir); len(list) != 2 {
		t.Errorf("the folder holds %q, want the two files alone", list)
	}
	if err := Preserve(filepath.Join(dir, "absent"), before); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the file does not exist", err)
	}
	expect(before, "2")
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keep.tmp-x")
	if err := Write(path, 0o644, writeString("kept")); err != nil {
		t.Fatal(err)
	}
	f, err := createTemp(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := RemoveStale(dir); err != nil {
		t.Fatal(err)
	}
	check(t, path, "kept")
}
