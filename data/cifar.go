package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"crnn/data/idx"
	"crnn/data/imageset"
	"crnn/internal/memory"
	"crnn/internal/osfile"
)

// cifar are the binary files of CIFAR-10 or CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html).
// An image is its labels, a byte each, then 3072 bytes: 32x32 red, then green, then blue. CIFAR-100
// has two labels, of which the second is the finer one.
type cifar struct {
	title  string
	most   int // classes
	dir    string
	labels int // per image
	train  []string
	test   string
	names  string // file of the classes' names
}

const cifarSide = 32

// findCIFAR returns the files in dir, or in the folder below it that the archives make.
func findCIFAR(dir string) (_ cifar, found bool, err error) {
	exists := func(path ...string) bool {
		info, err := os.Stat(filepath.Join(path...))
		return err == nil && !info.IsDir()
	}
	for _, c := range []cifar{
		{title: "CIFAR-10", most: 10, labels: 1, train: []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
			"data_batch_4.bin", "data_batch_5.bin"}, test: "test_batch.bin", names: "batches.meta.txt"},
		{title: "CIFAR-100", most: 100, labels: 2, train: []string{"train.bin"}, test: "test.bin",
			names: "fine_label_names.txt"},
	} {
		for _, below := range []string{"", "cifar-10-batches-bin", "cifar-100-binary"} {
			c.dir = filepath.Join(dir, below)
			if exists(c.dir, c.train[0]) || exists(c.dir, c.test) {
				return c, true, nil
			}
		}
	}
	for _, python := range []struct{ below, file, title, archive string }{
		{"cifar-10-batches-py", "data_batch_1", "CIFAR-10", "cifar-10-binary.tar.gz"},
		{"cifar-100-python", "fine_label_names", "CIFAR-100", "cifar-100-binary.tar.gz"},
	} {
		for _, below := range []string{"", python.below} {
			if dir := filepath.Join(dir, below); exists(dir, python.file) || below != "" && exists(dir, "meta") {
				return cifar{}, false, fmt.Errorf("%s: the form of %s for Python, which is not read: expected the binary one, "+
					"the contents of %s", dir, python.title, python.archive)
			}
		}
	}
	return cifar{}, false, nil
}

// missing returns an error about the first missing file, or nil.
func (c cifar) missing() error {
	for _, name := range slices.Concat(c.train, []string{c.test}) {
		if _, err := os.Stat(filepath.Join(c.dir, name)); errors.Is(err, fs.ErrNotExist) {
			return notFoundError(fmt.Sprintf("%s is missing, expected with the other files of %s",
				filepath.Join(c.dir, name), c.title))
		}
	}
	return nil
}

func (c cifar) read() (*Dataset, error) {
	if err := c.missing(); err != nil {
		return nil, err
	}
	d := &Dataset{Dir: c.dir, Form: FormCIFAR}
	names, err := readClassNames(c.dir, "", c.names)
	if err != nil {
		return nil, err
	}
	var perFile []int // images of the files for training
	if d.Train, perFile, err = c.readFiles(c.train...); err != nil {
		return nil, err
	}
	if d.Test, _, err = c.readFiles(c.test); err != nil {
		return nil, err
	}
	if names.names == nil && int(max(slices.Max(d.Train.Labels), slices.Max(d.Test.Labels))) >= c.most {
		names = classNames{names: imageset.Numbered(c.most), from: c.title} // a damaged label
	}
	return d, d.nameClasses(names, func(s *Set, image int) string {
		name := c.test
		if s == d.Train {
			file := 0
			for image >= perFile[file] {
				image -= perFile[file]
				file++
			}
			name = c.train[file]
		}
		return fmt.Sprintf("%s: byte %d: image %d", filepath.Join(c.dir, name), image*c.record()+c.labels-1, image)
	})
}

// record returns the bytes per image in a file.
func (c cifar) record() int { return c.labels + 3*cifarSide*cifarSide }

// readFiles returns the images of some files, and how many each has.
func (c cifar) readFiles(names ...string) (s *Set, perFile []int, err error) {
	s = &Set{Description: imageset.Description{Height: cifarSide, Width: cifarSide, Channels: 3}}
	var files []io.Reader
	for _, name := range names {
		path := filepath.Join(c.dir, name)
		f, info, err := osfile.Open(path, "a file")
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		n := info.Size() / int64(c.record())
		if n == 0 || info.Size()%int64(c.record()) != 0 {
			return nil, nil, fmt.Errorf("%s: %d bytes, expected a multiple of %d, the bytes per image of %s: "+
				"cut, or another format; get it again", path, info.Size(), c.record(), c.title)
		}
		if n += int64(s.Count); n > idx.MaxCount {
			return nil, nil, fmt.Errorf("%s: more than %d images, at most that many are read", path, idx.MaxCount)
		}
		files, perFile = append(files, f), append(perFile, int(n)-s.Count)
		s.Count = int(n)
	}
	s.Images, s.Labels = memory.Zeros(s.Count*s.Bytes()), make([]uint8, s.Count)
	image := 0
	labels := make([]byte, c.labels)
	for i, f := range files {
		r := bufio.NewReaderSize(f, 1<<18)
		for range perFile[i] {
			_, err := io.ReadFull(r, labels)
			if err == nil {
				_, err = io.ReadFull(r, s.Image(image))
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", filepath.Join(c.dir, names[i]), osfile.Cause(err))
			}
			s.Labels[image] = labels[c.labels-1]
			image++
		}
	}
	return s, perFile, nil
}
