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

// dataFile is one of the four files of a data set.
type dataFile struct {
	name string // in a directory as name.gz or name
	kind *kind
	sum  string // SHA-256 of the original's decompressed bytes, in hexadecimal
	size int64  // of the original, decompressed, in bytes
}

// catalog is a data set's files: images and labels for training, images and labels for test.
type catalog [4]dataFile

var fashionMNIST = catalog{
	{"train-images-idx3-ubyte", imageKind, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47040016},
	{"train-labels-idx1-ubyte", labelKind, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60008},
	{"t10k-images-idx3-ubyte", imageKind, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7840016},
	{"t10k-labels-idx1-ubyte", labelKind, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10008},
}

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
		return notFoundError(fmt.Sprintf("there is no directory %s, expected the one that holds the data set; crnn data fetch gets Fashion-MNIST", dir))
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
