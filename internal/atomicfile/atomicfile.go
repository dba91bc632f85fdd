// Package atomicfile replaces files as a whole. A reader always finds either the whole old file or
// the whole new one, also after a kill of the writer or a loss of power.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// infix stands between the name of a file and a random number in the name of its
// temporary file.
const infix = ".tmp-"

// Write replaces path by the output of write, with permissions perm less the umask. The bytes go to
// a temporary file in the same folder, which is flushed to the disk and renamed to path; then the
// folder is flushed. On an error path is unchanged. A symbolic link at path is replaced, not
// followed.
func Write(path string, perm fs.FileMode, write func(io.Writer) error) (err error) {
	f, err := createTemp(path, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<16)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Output is Write for a file that the user names. A link is followed: the file that it leads to is
// replaced. A device or a pipe is written into and stays.
func Output(path string, perm fs.FileMode, write func(io.Writer) error) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return &fs.PathError{Op: "write", Path: path, Err: errors.New("a directory, expected the name of a file")}
	case err == nil && (!info.Mode().IsRegular() || isDescriptor(path)):
		return writeInto(path, write)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	} else if target, err := os.Readlink(path); err == nil { // to a file that is not there yet
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return Write(path, perm, write)
}

// isDescriptor reports whether path stands for an open file, such as /dev/stdout. Its writer goes on where
// others stopped.
func isDescriptor(path string) bool {
	return strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/")
}

// writeInto writes into what is at path.
func writeInto(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// Preserve replaces the file at as by the current file at path, as a whole. If the file system
// allows it, both names then stand for the same file, else as is a copy. The next Write to either
// separates them.
func Preserve(path, as string) error {
	temp := tempName(as)
	if err := os.Link(path, temp); err == nil {
		err = os.Rename(temp, as)
		// If both names already stand for the same file, Rename does nothing and temp stays.
		if removeErr := os.Remove(temp); err == nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = removeErr
		}
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return Write(as, 0o644, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// tempName returns the name of a new file beside path.
func tempName(path string) string {
	dir, base := filepath.Split(path)
	return fmt.Sprintf("%s.%s%s%08x", dir, base, infix, rand.Uint32())
}

// tempPattern matches the names from tempName.
const tempPattern = ".*" + infix + "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"

// createTemp makes a new file beside path. os.CreateTemp ignores the umask.
func createTemp(path string, perm fs.FileMode) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(tempName(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if err == nil || !os.IsExist(err) || try == 100 {
			return f, err
		}
	}
}

// RemoveStale removes the temporary files that killed processes left in dir. Call it only if nobody
// is writing in dir.
func RemoveStale(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		stale, err := filepath.Match(tempPattern, e.Name())
		if err != nil {
			return err
		}
		if !stale || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
