package data

import (
	"encoding/hex"
	"errors"
	"fmt"

	"crnn/internal/osfile"
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

// Verify checks the four files of dir. Each must be readable, with the format's magic number, 28x28
// images or labels from 0 to 9, the length in its header and, if compressed, its checksum. There
// must be as many labels as images. The status also says whether a file, decompressed, is byte for
// byte Fashion-MNIST's. The error is about dir.
func Verify(dir string) ([]FileStatus, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	status := fashionMNIST.identify(fashionMNIST.read(dir))
	return status[:], nil
}

// identify completes the status of the files by their checksums.
func (c catalog) identify(contents [4]*content, status [4]FileStatus) [4]FileStatus {
	for i, f := range c {
		f.identify(contents[i], &status[i])
	}
	return status
}

// identify puts the checksum of f's content, if any, into status.
func (f dataFile) identify(c *content, status *FileStatus) {
	if c == nil {
		return
	}
	sum := c.sum()
	status.SHA256 = hex.EncodeToString(sum[:])
	if status.SHA256 != f.sum {
		status.State = Differs
	}
}

// read reads and checks f in dir, except its checksum: see identify. If labels are given, there
// must be as many images. The content is nil if the file is damaged or missing.
func (f dataFile) read(dir string, labels *content) (*content, FileStatus) {
	status := FileStatus{Name: f.name}
	var err error
	if status.Path, err = f.find(dir); err != nil {
		status.State, status.Err = Damaged, err
		if errors.Is(err, ErrNotFound) {
			status.State = Missing
		}
		return nil, status
	}
	c, err := f.readPath(status.Path, labels)
	if err != nil {
		status.State, status.Err = Damaged, err
		return nil, status
	}
	status.Compressed, status.Count, status.Bytes = c.compressed, c.count, c.bytes
	return c, status
}

func (f dataFile) readPath(path string, labels *content) (*content, error) {
	file, info, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	count := -1
	if labels != nil {
		count = labels.count
	}
	c, err := readIDX(file, info.Size(), f.kind, count)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; replace the file (crnn data fetch gets the original)", path, osfile.Cause(err))
	}
	return c, nil
}

// warning returns the warning about a file that differs.
func (c catalog) warning(s FileStatus) string {
	for _, f := range c {
		if s.SHA256 == f.sum {
			return fmt.Sprintf("%s: holds the %s of Fashion-MNIST; used as it is", s.Path, f.name)
		}
	}
	return fmt.Sprintf("%s: in order, but not the file of Fashion-MNIST (SHA-256 %s); used as it is", s.Path, s.SHA256)
}
