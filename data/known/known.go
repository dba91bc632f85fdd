// Package known is a table of the data sets that crnn knows by name: where they are, how large they are, and
// the checksums of their files.
package known

import (
	"bytes"
	"path/filepath"
	"strings"

	"crnn/data/idx"
	"crnn/data/imageset"

	"github.com/adrg/xdg"
)

// Set is a data set that crnn knows by name.
type Set struct {
	Name    string   // of `crnn data fetch`
	Title   string   // as people write it
	Classes []string // names, in the order of the labels
	// First are the labels at the start of the training set. They tell the set, or the front part of it,
	// from others: as many random labels of ten classes would agree once in 10^32 sets.
	First []uint8

	Mirrors []string // folders on the net, in the order in which they are asked
	Files   []File   // of sets in IDX files: images and labels for training, images and labels for test
	Archive *Archive // holds the files; nil: the mirrors have them one by one, as NAME.gz
	Names   string   // file with the names of the classes; "": reading the set needs none
}

// File is one of the files of a data set.
type File struct {
	Name   string    // in a directory as Name.gz or Name
	Kind   *idx.Kind // nil: a binary file of CIFAR-10, which is not compressed
	Sum    string    // SHA-256 of the original's decompressed bytes, in hexadecimal; "": not published
	Size   int64     // of the original, decompressed, in bytes
	Packed string    // SHA-256 or MD5 of the original Name.gz; "": not needed
}

// Served is the name of f on mirrors and in archives.
func (f File) Served() string {
	if f.Kind == nil {
		return f.Name
	}
	return f.Name + ".gz"
}

// Count returns the number of images or labels of the original.
func (f File) Count() int {
	switch f.Kind {
	case idx.Images:
		return int(f.Size-imageBytes(0)) / 28 / 28
	case idx.Labels:
		return int(f.Size - labelBytes(0))
	}
	return int(f.Size / CIFARRecord)
}

// Archive is one file that holds the files of a data set.
type Archive struct {
	Name   string // a ZIP, whose members are compressed, or a .tar.gz
	Folder string // of the members
	Size   int64
	Sum    string // SHA-256
}

// IsZIP reports whether the archive is a ZIP.
func (a *Archive) IsZIP() bool { return strings.HasSuffix(a.Name, ".zip") }

// Member returns the name of a file in the archive.
func (a *Archive) Member(file File) string { return a.Folder + file.Served() }

// FashionMNIST is the data set of the recipe.
var FashionMNIST = &Set{
	Name: "fashion-mnist", Title: "Fashion-MNIST", Classes: []string{
		"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
		"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
	},
	First: []uint8{9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4, 3, 1, 4, 8, 4, 3, 0, 2, 4, 4, 5, 3},
	Mirrors: []string{ // the set's repository, its bucket, and the copy that Keras uses
		"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
		"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
		"https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
	},
	Files: fourFiles("", 60000, 10000, sumsOfPlain, [4]string{
		"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
		"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
		"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
		"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
	}),
}

// DebianDir is where Debian's package of Fashion-MNIST puts its files.
const DebianDir = "/usr/share/datasets/fashion-mnist"

// The table. The first labels were read from the sets themselves. Package fetch installs nothing whose
// checksum is not here, so plain HTTP does no harm. A checksum is here only if it was computed from
// the files, or if two sources have it that do not depend on each other:
//   - MNIST, decompressed: computed from the files in the Go module that package fetch falls back on.
//     Compressed, they have the SHA-256 of TensorFlow Datasets 4.9.10 (url_checksums/mnist.txt) and the MD5
//     of torchvision 0.29.
//   - KMNIST, compressed: TensorFlow Datasets (url_checksums/kmnist.txt), torchvision-ruby (kmnist.rb).
//   - EMNIST, the archive: TensorFlow Datasets (url_checksums/emnist.txt), the Ruby library CooCoo. Its
//     members, MD5: Deeplearning4j (EmnistFetcher.java), the Python package mnists 0.4.1.
//   - CIFAR-10, the archive: TensorFlow Datasets (url_checksums/cifar10.txt); others publish the same SHA-256
//     beside the MD5 of the set's own page.
var sets = []*Set{
	FashionMNIST,
	{
		Name: "mnist", Title: "MNIST", Classes: imageset.Numbered(10),
		First: []uint8{5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9, 4, 0, 9, 1, 1, 2, 4, 3, 2, 7, 3, 8},
		Mirrors: []string{
			"https://ossci-datasets.s3.amazonaws.com/mnist/",
			"https://storage.googleapis.com/cvdf-datasets/mnist/",
		},
		Files: fourFiles("", 60000, 10000, sumsOfPlain, [4]string{
			"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
			"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
			"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
			"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
		}),
	},
	{
		Name: "kmnist", Title: "KMNIST", Classes: []string{"お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"},
		Mirrors: []string{"http://codh.rois.ac.jp/kmnist/dataset/kmnist/"},
		Files: fourFiles("", 60000, 10000, sumsOfPacked, [4]string{
			"51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
			"e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
			"edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
			"20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
		}),
		Names: imageset.ClassesFile,
	},
	{
		Name: "emnist-letters", Title: "EMNIST Letters", Classes: strings.Split(upperCase, ""),
		Mirrors: emnistMirrors, Archive: emnistArchive, Names: imageset.ClassesFile,
		Files: fourFiles("emnist-letters-", 124800, 20800, sumsOfPacked, [4]string{
			"8795078f199c478165fe18db82625747",
			"c16de4f1848ddcdddd39ab65d2a7be52",
			"382093a19703f68edac6d01b8dfdfcad",
			"d4108920cd86601ec7689a97f2de7f59",
		}),
	},
	{
		// Of letters that look alike, the upper case stands for both.
		Name: "emnist-balanced", Title: "EMNIST Balanced", Classes: strings.Split(digits+upperCase+"abdefghnqrt", ""),
		Mirrors: emnistMirrors, Archive: emnistArchive, Names: imageset.ClassesFile,
		Files: fourFiles("emnist-balanced-", 112800, 18800, sumsOfPacked, [4]string{
			"4041b0d6f15785d3fa35263901b5496b",
			"7a35cc7b2b7ee7671eddf028570fbd20",
			"6818d20fe2ce1880476f747bbc80b22b",
			"acd3694070dcbf620e36670519d4b32f",
		}),
	},
	{
		Name: "emnist-byclass", Title: "EMNIST ByClass",
		Classes: strings.Split(digits+upperCase+strings.ToLower(upperCase), ""),
		Mirrors: emnistMirrors, Archive: emnistArchive, Names: imageset.ClassesFile,
		Files: fourFiles("emnist-byclass-", 697932, 116323, sumsOfPacked, [4]string{
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
		Mirrors: []string{"https://www.cs.toronto.edu/~kriz/"},
		Archive: &Archive{"cifar-10-binary.tar.gz", "cifar-10-batches-bin/", 170052171,
			"c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
		Names: "batches.meta.txt",
		Files: []File{
			{Name: "data_batch_1.bin", Size: cifarBytes},
			{Name: "data_batch_2.bin", Size: cifarBytes},
			{Name: "data_batch_3.bin", Size: cifarBytes},
			{Name: "data_batch_4.bin", Size: cifarBytes},
			{Name: "data_batch_5.bin", Size: cifarBytes},
			{Name: "test_batch.bin", Size: cifarBytes},
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
	emnistArchive = &Archive{"gzip.zip", "gzip/", 561753746,
		"fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"}
)

// What the checksums of fourFiles are of.
const (
	sumsOfPlain  = false // decompressed files
	sumsOfPacked = true
)

// fourFiles returns the files of MNIST or a relative, which has so many images of 28x28 for training and for
// test. sums are the checksums of images and labels for training, then of those for test.
func fourFiles(prefix string, train, test int64, packed bool, sums [4]string) []File {
	testPart := "test"
	if prefix == "" {
		testPart = "t10k"
	}
	files := []File{
		{Name: prefix + "train-images-idx3-ubyte", Kind: idx.Images, Size: imageBytes(train)},
		{Name: prefix + "train-labels-idx1-ubyte", Kind: idx.Labels, Size: labelBytes(train)},
		{Name: prefix + testPart + "-images-idx3-ubyte", Kind: idx.Images, Size: imageBytes(test)},
		{Name: prefix + testPart + "-labels-idx1-ubyte", Kind: idx.Labels, Size: labelBytes(test)},
	}
	for i := range files {
		if packed {
			files[i].Packed = sums[i]
		} else {
			files[i].Sum = sums[i]
		}
	}
	return files
}

// imageBytes and labelBytes return the bytes of an IDX file of n images of 28x28, or of n labels.
func imageBytes(n int64) int64 { return 16 + n*28*28 }
func labelBytes(n int64) int64 { return 8 + n }

const (
	// CIFARRecord is the number of bytes per image of CIFAR-10, with its label.
	CIFARRecord = 1 + 3*32*32
	cifarBytes  = 10000 * CIFARRecord // of each file
)

// Names returns the names that Find finds.
func Names() []string {
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
	}
	return names
}

// Find returns the data set of that name, or nil.
func Find(name string) *Set {
	for _, s := range sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// CacheDir returns the usual directory of a fetched set, in the user's cache directory ($XDG_CACHE_HOME, or the
// system's equivalent).
func (s *Set) CacheDir() string { return filepath.Join(xdg.CacheHome, "crnn", s.Name) }

// Room returns how many bytes of the disk suffice for a fetch: a multiple of 100 MB.
func (s *Set) Room() int64 {
	need, unit := int64(0), int64(100e6)
	for _, f := range s.Files {
		need += f.Size + f.Size/2 // and compressed
	}
	if s.Archive != nil {
		need += s.Archive.Size
	}
	return (need + unit - 1) / unit * unit
}

// fewest is the smallest number of labels by which a set is recognised.
const fewest = 8

// Recognise returns the known data set whose training labels begin like these, or nil.
func Recognise(labels []uint8) *Set {
	for _, k := range sets {
		n := min(len(labels), len(k.First))
		if n >= fewest && bytes.Equal(labels[:n], k.First[:n]) {
			return k
		}
	}
	return nil
}
