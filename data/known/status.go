package known

import (
	"encoding/hex"

	"crnn/data/idx"
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

// Status compares the content of the file at path, or the error that it gave, with f.
func (f File) Status(path string, c *idx.Content, err error) FileStatus {
	s := FileStatus{Name: f.Name, Path: path}
	if err != nil {
		s.State, s.Err = Damaged, err
		return s
	}
	sum := c.Sum()
	s.Compressed, s.Count, s.Bytes, s.SHA256 = c.Compressed, c.Count, c.Bytes, hex.EncodeToString(sum[:])
	if s.SHA256 != f.Sum {
		s.State = Differs
	}
	return s
}
