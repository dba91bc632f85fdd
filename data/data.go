// Package data finds, downloads, checks and reads Fashion-MNIST, or another data set
// in its format: four IDX files with 28x28 images and their labels, compressed with
// gzip or not. It also splits and orders the images for training, and reads pictures.
package data

// What every data set that this package reads has in common.
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

// FirstOfEachClass returns the indices of the images, from index from on, that are the
// first of their class, in ascending order: one a class, fewer if set lacks a class.
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
	Warnings    []string // one line for each file that is in order but not Fashion-MNIST's
}

// Load reads and checks the four files of dir, as NAME.gz or NAME. The error is that of
// the first file that is missing or damaged. A file that is in order but not
// Fashion-MNIST's only earns a warning, so that people can train on their own images.
func Load(dir string) (*Dataset, error) { return fashionMNIST.load(dir) }

func (c catalog) load(dir string) (*Dataset, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	train, test := c.read(dir)
	d := &Dataset{Dir: dir, Train: train.set, Test: test.set}
	for _, s := range append(train.status[:], test.status[:]...) {
		if s.Err != nil {
			return nil, s.Err
		}
		if s.State == Differs {
			d.Warnings = append(d.Warnings, c.warning(s))
		}
	}
	return d, nil
}

// half is a training or a test set with the state of its files of images and of labels.
type half struct {
	set    *Set // nil if a file is missing or damaged
	status [2]FileStatus
}

// read reads both halves of the data set in dir, at the same time: decompression takes a
// good part of a second, and has to happen whenever the program starts.
func (c catalog) read(dir string) (train, test half) {
	done := make(chan half, 1)
	go func() { done <- readHalf(dir, c[2], c[3]) }()
	train = readHalf(dir, c[0], c[1])
	return train, <-done
}

func readHalf(dir string, images, labels dataFile) half {
	// Labels first: their number then bounds the memory that a file of images can ask for.
	y, labelStatus := labels.read(dir, nil)
	x, imageStatus := images.read(dir, y)
	h := half{status: [2]FileStatus{imageStatus, labelStatus}}
	if x != nil && y != nil {
		h.set = &Set{Images: x.items, Labels: y.items, Count: x.count, Height: imageHeight, Width: imageWidth}
	}
	return h
}
