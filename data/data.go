// Package data finds, checks and reads sets of labelled images, in all forms in which
// people keep them: IDX files as MNIST's, folders of pictures, CIFAR's files, CSV. It also splits and
// orders the images for training.
package data

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/data/picture"
	"crnn/internal/osfile"
)

// Set is a set of labelled images.
type Set struct {
	imageset.Description
	Images []uint8 // [Count,Channels,Height,Width], row-major; 0 is black
	Labels []uint8 // [Count], indices into Classes
	Count  int
}

// Image returns the bytes of image i, [Channels,Height,Width], sharing the set's memory.
func (s *Set) Image(i int) []uint8 {
	n := s.Bytes()
	return s.Images[i*n : (i+1)*n : (i+1)*n]
}

// FirstOfEachClass returns the index of the first image of each class, searching from index from
// on, in ascending order. A class without an image has no index.
func FirstOfEachClass(set *Set, from int) []int {
	var first []int
	var seen [imageset.MaxClasses]bool
	for i := from; i < set.Count; i++ {
		if class := set.Labels[i]; !seen[class] {
			seen[class] = true
			first = append(first, i)
		}
	}
	return first
}

// Dataset is a training set and a test set.
type Dataset struct {
	Dir         string // or file
	Form        Form
	Train, Test *Set            // of the same description
	Val         []int32         // indices in Train, ascending, of what the data sets apart for validation; else nil
	Stratified  bool            // what is set apart is a part of each class
	Notes       []string        // lines about what was done to the data, for the user
	warnings    func() []string // nil: none
	// labelWarnings are known without waiting.
	labelWarnings []string
	imageFiles    [2]string // that hold the images for training and for the test; "": several
}

// Warnings returns lines about files that are not what they seem. It may wait for checksums, which are
// computed while the data set is already in use.
func (d *Dataset) Warnings() []string {
	if d.warnings == nil {
		return d.labelWarnings
	}
	return slices.Concat(d.labelWarnings, d.warnings())
}

// setClasses gives the sets the names of the classes.
func (d *Dataset) setClasses(names []string) {
	d.Train.Classes = slices.Clip(slices.Clone(names))
	if d.Test != nil {
		d.Test.Classes = d.Train.Classes
	}
}

// describePixels says how pictures are prepared to be like the images of arrays, whose pictures are
// unknown: proportions are kept and, where the images show bright things on black, a light background
// turns dark.
func (d *Dataset) describePixels() {
	d.Train.Pixels = imageset.Pixels{Resize: imageset.Fit, Invert: d.Train.onBlack(), Background: imageset.Contrast}
	d.Test.Pixels = d.Train.Pixels
}

// onBlack reports whether gray images show things on black: at most one in a hundred has a border whose
// mean is above the middle. Of Fashion-MNIST and MNIST none has.
func (s *Set) onBlack() bool {
	if s.Channels != 1 {
		return false
	}
	const looked = 2000 // images; more would only cost time
	light, n := 0, min(s.Count, looked)
	for i := range n { // from all of them, since they may lie class by class
		if picture.BorderMean(s.Image(i*s.Count/n), s.Width) > 127.5 {
			light++
		}
	}
	return 100*light <= n
}

// FashionMNIST describes the images of Fashion-MNIST.
func FashionMNIST() imageset.Description {
	return imageset.Description{
		Height: 28, Width: 28, Channels: 1, Classes: known.FashionMNIST.Classes,
		Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true, Background: imageset.Contrast},
	}
}

// Form is a form of data on the disk.
type Form string

// The forms.
const (
	FormIDX    Form = "idx"
	FormFolder Form = "folder"
	FormCIFAR  Form = "cifar"
	FormCSV    Form = "csv"
)

// Options say how a data set is read.
type Options struct {
	Height, Width int  // of the images; 0: as the data has them
	Gray          bool // colours become gray
	// TestFraction is the part of the images of each class that is set apart for the test, in a folder or a
	// CSV file without a test of its own.
	TestFraction float64
	Seed         uint64 // of what is set apart
	Background   imageset.Background
	// Like, if not nil, describes the images of a network that is tested: the pictures of a folder are
	// prepared to be like them. Background is not used then.
	Like *imageset.Description
	// Progress, if not nil, is called as pictures are read, from one goroutine at a time: at least after
	// every hundredth of them and after the last. Pictures from the cache are not counted.
	Progress func(done, total int)
}

// Load is Read with the data's own size, for data without pictures.
func Load(path string) (*Dataset, error) {
	return Read(context.Background(), path, Options{TestFraction: 0.1})
}

// Read reads the data set at path, whose form it finds by looking. An error names the file that is
// missing, damaged or does not fit, and the remedy.
func Read(ctx context.Context, path string, o Options) (*Dataset, error) {
	s, err := find(path)
	if err != nil {
		return nil, err
	}
	d, err := s.read(ctx, o)
	if err != nil {
		return nil, err
	}
	if s.form != FormFolder { // whose pictures are scaled as they are read
		if err := d.convert(o); err != nil {
			return nil, err
		}
		if err := d.checkShapes(); err != nil {
			return nil, err
		}
		d.describePixels()
	}
	return d, nil
}

// checkShapes returns an error unless the images of both parts have one shape, as CIFAR's always have.
func (d *Dataset) checkShapes() error {
	if d.Train.SameShape(d.Test.Description) {
		return nil
	}
	remedy := "--image-size HxW, to which all are scaled"
	if d.Train.Channels != d.Test.Channels {
		remedy = "--grayscale"
	}
	return fmt.Errorf("%s: images of %s, but those in %s are %s: expected one size; pass %s",
		d.imageFiles[1], d.Test.Size(), d.imageFiles[0], d.Train.Size(), remedy)
}

// source is a data set on the disk that was found but not read.
type source struct {
	form Form
	read func(context.Context, Options) (*Dataset, error)
	// missing is an error about a file that the data set lacks; nil: it is complete.
	missing error
}

// find tells the form of the data at path.
func find(path string) (source, error) {
	files, prefix, found, err := findIDX(path)
	if err != nil {
		return source{}, err
	}
	if found {
		return source{FormIDX, func(context.Context, Options) (*Dataset, error) { return readIDXSet(files, prefix) },
			files.check(prefix, adviceFor(files.dir()))}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return source{}, cmp.Or(checkDir(path), err) // nil: it has just been made
	}
	if c, found, err := findCSV(path, info); err != nil {
		return source{}, err
	} else if found {
		return source{FormCSV, c.read, c.missing()}, nil
	}
	if !info.IsDir() {
		return source{}, fmt.Errorf("%s: not a directory, expected the one that holds the data set%s", path, unpack(path))
	}
	if c, found, err := findCIFAR(path); err != nil {
		return source{}, err
	} else if found {
		return source{FormCIFAR, func(context.Context, Options) (*Dataset, error) { return c.read() }, c.missing()}, nil
	}
	tree, err := findFolder(path)
	if err != nil {
		return source{}, err
	}
	return source{FormFolder, tree.read, nil}, nil
}

// archives are the ways in which archives begin: ZIP, gzip, bzip2, xz, Zstandard, 7z, RAR.
var archives = []string{
	"PK\x03\x04", "\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "7z\xbc\xaf\x27\x1c", "Rar!",
}

// unpack returns the advice for an archive.
func unpack(path string) string {
	f, _, err := osfile.Open(path, "a file")
	if err != nil {
		return ""
	}
	defer f.Close()
	start := make([]byte, 8)
	n, _ := io.ReadFull(f, start)
	for _, a := range archives {
		if strings.HasPrefix(string(start[:n]), a) || strings.HasSuffix(path, ".tar") {
			return "; it is an archive: unpack it first"
		}
	}
	return ""
}
