package data

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"crnn/internal/osfile"
)

// dataFile is one of the files of a data set.
type dataFile struct {
	name   string // in a directory as name.gz or name
	kind   *kind  // nil: a binary file of CIFAR-10, which is not compressed
	sum    string // SHA-256 of the original's decompressed bytes, in hexadecimal; "": not published
	size   int64  // of the original, decompressed, in bytes
	packed string // SHA-256 or MD5 of the original name.gz; "": not needed
}

// catalog is the files of MNIST or a relative: images and labels for training, images and labels for test.
type catalog [4]dataFile

// find returns the path of f in dir. The error is ErrNotFound if dir does not have it.
func (f dataFile) find(dir string) (string, error) {
	for _, name := range []string{f.name + ".gz", f.name} {
		path := filepath.Join(dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%s: %w", path, osfile.Cause(err))
		}
	}
	return "", notFoundError(fmt.Sprintf("%s holds neither %s.gz nor %[2]s", dir, f.name))
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

// decompressed opens the file at path and returns its decompressed bytes.
func decompressed(path string) (io.ReadCloser, error) {
	f, _, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	r, _, err := decompress(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}
