package data

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// State is the result of checking a file of a data set.
type State int

const (
	Match   State = iota // the file of Fashion-MNIST
	Differs              // in order, but not Fashion-MNIST's
	Damaged              // not an IDX file that can be used
	Missing
)

func (s State) String() string {
	return [...]string{"match", "differs", "damaged", "missing"}[s]
}

// FileStatus is the state of one file of a data set.
type FileStatus struct {
	Name       string // without .gz
	Path       string // "" if the file is missing
	State      State
	Err        error // one line about the fault of a damaged or missing file
	Compressed bool
	Count      int    // images or labels
	Bytes      int64  // decompressed
	SHA256     string // of the decompressed bytes, in hexadecimal
}

// Verify checks the four IDX files of path, as Read finds them. Each must be readable, with the
// format's magic number, the length in its header and, if compressed, its checksum. There must be as
// many labels as images. The status also says whether a file, decompressed, is byte for byte
// Fashion-MNIST's. The error is about path.
func Verify(path string) ([]FileStatus, error) {
	files, prefix, found, err := findIDX(path)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := checkDir(path); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: no IDX files to verify; crnn data info looks at other forms of data", path)
	}
	advice := adviceFor(files.dir())
	contents, errs := files.read(advice)
	status := make([]FileStatus, len(files))
	for i, f := range fashionMNIST {
		status[i] = f.status(files[i], contents[i], errs[i])
		if files[i] == "" {
			status[i].State, status[i].Err = Missing, files.check(prefix, advice)
		}
	}
	return status, nil
}

// status compares the content of the file at path, or the error that it gave, with f.
func (f dataFile) status(path string, c *content, err error) FileStatus {
	s := FileStatus{Name: f.name, Path: path}
	if err != nil {
		s.State, s.Err = Damaged, err
		return s
	}
	sum := c.sum()
	s.Compressed, s.Count, s.Bytes, s.SHA256 = c.compressed, c.count, c.bytes, hex.EncodeToString(sum[:])
	if s.SHA256 != f.sum {
		s.State = Differs
	}
	return s
}

// read reads f in dir, and compares it with the original.
func (f dataFile) read(dir string) FileStatus {
	path, err := f.find(dir)
	if err != nil {
		s := FileStatus{Name: f.name, State: Damaged, Err: err}
		if errors.Is(err, ErrNotFound) {
			s.State = Missing
		}
		return s
	}
	c, err := readIDXFile(path, f.kind, nil, "")
	return f.status(path, c, err)
}
