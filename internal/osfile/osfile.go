// Package osfile opens files that the user names, and shortens their errors for the user.
package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Open opens a regular file for reading. It refuses anything else before opening, since reading
// that may fail in odd ways or, from a pipe, never end. The error names expected, such as "a
// checkpoint".
func Open(path, expected string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, Cause(err))
	case info.IsDir():
		return nil, nil, fmt.Errorf("%s: a directory, expected %s", path, expected)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s: not a regular file, expected %s", path, expected)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, Cause(err))
	}
	return f, info, nil
}

// Cause returns err without the operation and the path that package os puts before it. The caller
// names the file, and the path may be a temporary file's.
func Cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
