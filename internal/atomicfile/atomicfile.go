// Package atomicfile replaces files so that a reader, or a process that was killed or
// whose machine lost power, finds either the whole old file or the whole new one.
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
)

// infix stands between the name of a file and a random number in the name of its
// temporary file.
const infix = ".tmp-"

// Write makes path hold what write writes, with permissions perm less the umask. The
// bytes go to a temporary file of the same folder, which is flushed to the disk and
// renamed to path; then the folder is flushed. On an error path is as it was before.
// A symbolic link at path is replaced, not followed.
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

// Preserve makes the file at as what path holds at the moment, at once and as a whole. It
// is the same file under two names where the file system allows that, else a copy; the
// next Write to either parts them.
func Preserve(path, as string) error {
	temp := tempName(as)
	if err := os.Link(path, temp); err == nil {
		err = os.Rename(temp, as)
		// Renaming one name of a file to another name of it does nothing: temp stays.
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

// tempPattern matches what tempName returns.
const tempPattern = ".*" + infix + "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"

// createTemp makes a new file beside path. os.CreateTemp would not heed the umask.
func createTemp(path string, perm fs.FileMode) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(tempName(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if err == nil || !os.IsExist(err) || try == 100 {
			return f, err
		}
	}
}

// RemoveStale removes the temporary files that killed processes left in dir. Only one
// who knows that nobody writes there at the moment may call it.
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
