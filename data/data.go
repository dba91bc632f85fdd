// Package data finds, downloads, checks and reads Fashion-MNIST, or another data set
// in its format: four IDX files with 28x28 images and their labels, compressed with
// gzip or not. It also splits and orders the images for training, and reads pictures.
package data

import "sync"

// Sizes of every data set that this package reads.
const (
	imageHeight = 28
	imageWidth  = 28
	imageSize   = imageHeight * imageWidth
	numClasses  = 10
)

// ClassNames are the names of Fashion-MNIST's labels 0 to 9.
var ClassNames = [numClasses]string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

// Set is a set of labelled gray images.
type Set struct {
	Images               []uint8 // [Count,Height,Width], row-major; 0 is black
	Labels               []uint8 // [Count], indices into ClassNames
	Count, Height, Width int
}

// Image returns the Height*Width pixels of image i, sharing the set's memory.
func (s *Set) Image(i int) []uint8 {
	n := s.Height * s.Width
	return s.Images[i*n : (i+1)*n : (i+1)*n]
}

// FirstOfEachClass returns the index of the first image of each class, searching from index from
// on, in ascending order. A class without an image has no index.
func FirstOfEachClass(set *Set, from int) []int {
	var first []int
	var seen [numClasses]bool
	for i := from; i < set.Count; i++ {
		if class := set.Labels[i]; !seen[class] {
			seen[class] = true
			first = append(first, i)
		}
	}
	return first
}

// Dataset is the training set and the test set of one directory.
type Dataset struct {
	Dir         string
	Train, Test *Set
	warnings    func() []string // nil: none
}

// Warnings returns one line per file that is in order but not Fashion-MNIST's. It may wait for
// checksums, which are computed while the data set is already in use.
func (d *Dataset) Warnings() []string {
	if d.warnings == nil { // made by hand
		return nil
	}
	return d.warnings()
}

// Load reads and checks the four files of dir, as NAME.gz or NAME. The error is about the first
// missing or damaged file. A file that is in order but not Fashion-MNIST's only causes a warning,
// so that people can train on their own images.
func Load(dir string) (*Dataset, error) { return fashionMNIST.load(dir) }

func (c catalog) load(dir string) (*Dataset, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	contents, status := c.read(dir)
	for _, s := range status {
		if s.Err != nil {
			return nil, s.Err
		}
	}
	set := func(images, labels *content) *Set {
		return &Set{Images: images.items, Labels: labels.items, Count: images.count, Height: imageHeight, Width: imageWidth}
	}
	return &Dataset{
		Dir: dir, Train: set(contents[0], contents[1]), Test: set(contents[2], contents[3]),
		warnings: sync.OnceValue(func() (warnings []string) {
			for _, s := range c.identify(contents, status) {
				if s.State == Differs {
					warnings = append(warnings, c.warning(s))
				}
			}
			return warnings
		}),
	}, nil
}

// read reads the files in dir, training and test set at the same time. A missing or damaged file
// has no content.
func (c catalog) read(dir string) (contents [4]*content, status [4]FileStatus) {
	half := func(images, labels int) {
		// Read the labels first: their number bounds the memory that a file of images can ask for.
		contents[labels], status[labels] = c[labels].read(dir, nil)
		contents[images], status[images] = c[images].read(dir, contents[labels])
	}
	done := make(chan struct{})
	go func() {
		half(2, 3)
		close(done)
	}()
	half(0, 1)
	<-done
	return contents, status
}
