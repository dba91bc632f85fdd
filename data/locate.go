package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adrg/xdg"
)

// EnvVar is the environment variable that names the data set, a directory or file.
const EnvVar = "CRNN_DATA"

// systemDir is where Debian's package puts the data set.
const systemDir = "/usr/share/datasets/fashion-mnist"

// ErrNotFound is the error, by errors.Is, of a missing data set or a missing file of one.
var ErrNotFound = errors.New("data set not found")

// notFoundError is an ErrNotFound that says what is missing and where.
type notFoundError string

func (e notFoundError) Error() string        { return string(e) }
func (e notFoundError) Is(target error) bool { return target == ErrNotFound }

// CacheDir returns the usual directory for Fetch, in the user's cache directory ($XDG_CACHE_HOME,
// or the system's equivalent).
func CacheDir() string { return filepath.Join(xdg.CacheHome, "crnn", "fashion-mnist") }

// Locate returns the directory of the data set: explicit if it is not empty, else the directory
// that CRNN_DATA names, else the user's cache directory if the data set is there, else the
// system's. A directory that the user named is never skipped: if it lacks a file, that is an error.
// The caller adds to it where explicit comes from. If the user named no directory and the data set
// is in none of the usual places, the error is ErrNotFound: it can be fetched.
func Locate(explicit string) (string, error) {
	if explicit != "" {
		return named("", explicit)
	}
	if dir := os.Getenv(EnvVar); dir != "" {
		return named("environment variable "+EnvVar+": ", dir)
	}
	places := []string{CacheDir(), systemDir}
	for _, dir := range places {
		if Check(dir) == nil {
			return dir, nil
		}
	}
	return "", notFoundError(fmt.Sprintf(
		"the data set is neither in %s: get it with crnn data fetch, or name its directory with --data or %s",
		strings.Join(places, " nor in "), EnvVar))
}

// named returns dir, which the user named; by begins its error. The error is not ErrNotFound, since
// the user did not ask to fetch the data set elsewhere.
func named(by, dir string) (string, error) {
	if err := Check(dir); err != nil {
		return "", fmt.Errorf("%s%v", by, err)
	}
	return dir, nil
}

// Check returns an error unless path holds a data set. It looks at names only.
func Check(path string) error {
	s, err := find(path)
	if err != nil {
		return err
	}
	return s.missing
}
