package data

import (
	"crnn/data/known"
	"crnn/internal/osfile"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// EnvVar is the environment variable that names the data set, a directory or file.
const EnvVar = "CRNN_DATA"

// ErrNotFound is the error, by errors.Is, of a missing data set or a missing file of one.
var ErrNotFound = errors.New("data set not found")

// notFoundError is an ErrNotFound that says what is missing and where.
type notFoundError string

func (e notFoundError) Error() string        { return string(e) }
func (e notFoundError) Is(target error) bool { return target == ErrNotFound }

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
	places := []string{known.FashionMNIST.CacheDir(), known.DebianDir}
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

// checkDir returns an error unless dir is a directory.
func checkDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return notFoundError(fmt.Sprintf("there is no directory %s, expected the one that holds the data set; "+
			"crnn data fetch gets Fashion-MNIST", dir))
	case err != nil:
		return fmt.Errorf("%s: %w", dir, osfile.Cause(err))
	case !info.IsDir():
		return fmt.Errorf("%s: not a directory, expected the one that holds the data set", dir)
	}
	return nil
}
