package data

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"crnn/data/imageset"
	"crnn/internal/osfile"
)

// cifar are the binary files of CIFAR-10 or CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html).
// An image is its labels, a byte each, then 3072 bytes: 32x32 red, then green, then blue. CIFAR-100
// has two labels, of which the second is the finer one.
type cifar struct {
	dir         string
	labels      int // per image
	train, test []string
	names       string // file of the classes' names
}

const cifarSide = 32

// findCIFAR returns the files in dir, or in the folder below it that the archives make.
func findCIFAR(dir string) (cifar, bool) {
	for _, c := range []cifar{
		{labels: 1, train: []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
			"data_batch_5.bin"}, test: []string{"test_batch.bin"}, names: "batches.meta.txt"},
		{labels: 2, train: []string{"train.bin"}, test: []string{"test.bin"}, names: "fine_label_names.txt"},
	} {
		for _, below := range []string{"", "cifar-10-batches-bin", "cifar-100-binary"} {
			c.dir = filepath.Join(dir, below)
			if _, err := os.Stat(filepath.Join(c.dir, c.train[0])); err == nil {
				return c, true
			}
			if _, err := os.Stat(filepath.Join(c.dir, c.test[0])); err == nil {
				return c, true
			}
		}
	}
	return cifar{}, false
}

// missing returns an error about the first missing file, or nil.
func (c cifar) missing() error {
	for _, name := range slices.Concat(c.train, c.test) {
		if _, err := os.Stat(filepath.Join(c.dir, name)); errors.Is(err, fs.ErrNotExist) {
			return notFoundError(fmt.Sprintf("%s: the file %s of CIFAR is missing", c.dir, name))
		}
	}
	return nil
}

func (c cifar) read() (*Dataset, error) {
	if err := c.missing(); err != nil {
		return nil, err
	}
	d := &Dataset{Dir: c.dir, Form: FormCIFAR}
	most := uint8(0)
	for _, part := range []struct {
		to    **Set
		files []string
	}{{&d.Train, c.train}, {&d.Test, c.test}} {
		s := &Set{Description: imageset.Description{Height: cifarSide, Width: cifarSide, Channels: 3}}
		for _, name := range part.files {
			if err := c.add(s, filepath.Join(c.dir, name)); err != nil {
				return nil, err
			}
		}
		most = max(most, slices.Max(s.Labels))
		*part.to = s
	}
	names, from, err := c.classes()
	if err != nil {
		return nil, err
	}
	switch {
	case names == nil:
		names = imageset.Numbered(max(int(most)+1, imageset.MinClasses))
	case int(most) >= len(names):
		return nil, fmt.Errorf("%s: names %d classes, but the labels of %s go up to %d", from, len(names), c.dir, most)
	}
	d.setClasses(names)
	d.describePixels()
	return d, nil
}

// add appends the images of the file at path to s.
func (c cifar) add(s *Set, path string) error {
	f, info, err := osfile.Open(path, "a file")
	if err != nil {
		return err
	}
	f.Close()
	record := c.labels + s.Bytes()
	if info.Size() == 0 || info.Size()%int64(record) != 0 {
		return fmt.Errorf("%s: %d bytes, expected a multiple of %d, the bytes per image of CIFAR: cut, or another format",
			path, info.Size(), record)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	for ; len(file) >= record; file = file[record:] {
		s.Labels = append(s.Labels, file[c.labels-1])
		s.Images = append(s.Images, file[c.labels:record]...)
		s.Count++
	}
	return nil
}

// classes returns the names in the file that the archives have, or nil without it.
func (c cifar) classes() (names []string, from string, err error) {
	for _, name := range []string{ClassesFile, c.names} {
		path := filepath.Join(c.dir, name)
		text, err := readText(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			names, err = parseClasses(bytes.TrimSpace(text))
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		return names, path, nil
	}
	return nil, "", nil
}
