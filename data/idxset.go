package data

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"crnn/data/idx"
	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/internal/memory"
	"crnn/internal/osfile"
)

// The places of a data set's files among its four.
const (
	trainImages = iota
	trainLabels
	testImages
	testLabels
)

// idxName matches the names of IDX files as MNIST, its relatives and other programs write them:
// train-images-idx3-ubyte, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte.gz.
var idxName = regexp.MustCompile(`^(?:(.+)-)?(train|t10k|test)-(images|labels)[-.]idx([134])-ubyte(\.gz)?$`)

// idxFiles are the paths of a data set's four IDX files; the empty path is a missing file.
type idxFiles [4]string

// idxSets returns the sets of IDX files in a directory by what their names begin with: "" for
// train-images-idx3-ubyte, "emnist-letters" for emnist-letters-train-images-idx3-ubyte. Of a file and
// its compressed form it takes the compressed one.
func idxSets(dir string) (map[string]*idxFiles, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, osfile.Cause(err))
	}
	sets := map[string]*idxFiles{}
	for _, e := range entries {
		m := idxName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		set := sets[m[1]]
		if set == nil {
			set = &idxFiles{}
			sets[m[1]] = set
		}
		place := trainImages
		if m[2] != "train" {
			place = testImages
		}
		if m[3] == "labels" {
			place++
		}
		if set[place] == "" || m[5] != "" {
			set[place] = filepath.Join(dir, e.Name())
		}
	}
	return sets, nil
}

// findIDX returns the IDX files that path names: a directory of them, one with a raw/ below, as
// torchvision makes it, or a directory followed by the start of the files' names, such as
// emnist/emnist-letters. prefix is that start. Without any such file, found is false.
func findIDX(path string) (files idxFiles, prefix string, found bool, err error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		dir, base := filepath.Dir(path), filepath.Base(path)
		sets, _ := idxSets(dir)
		if set := sets[base]; set != nil {
			return *set, base, true, nil
		}
		if prefixes := prefixesOf(sets); len(prefixes) > 1 {
			return files, "", false, notFoundError(fmt.Sprintf("%s: there is no such data set, but %s",
				path, choices(dir, prefixes)))
		}
		return files, "", false, nil
	case err != nil:
		return files, "", false, nil
	case !info.IsDir():
		if idxName.MatchString(filepath.Base(path)) {
			return files, "", false, fmt.Errorf("%s: one file of a data set, expected the directory that holds all four: %s",
				path, filepath.Dir(path))
		}
		return files, "", false, nil
	}
	for _, dir := range idxDirs(path) {
		sets, err := idxSets(dir)
		if err != nil && dir == path {
			return files, "", false, err
		}
		// Files of a set that is not complete may be left from something else.
		complete := map[string]*idxFiles{}
		for prefix, set := range sets {
			if set.missing() < 0 {
				complete[prefix] = set
			}
		}
		if len(complete) > 0 {
			sets = complete
		}
		prefixes := prefixesOf(sets)
		switch set := sets[""]; {
		case len(prefixes) == 1:
			return *sets[prefixes[0]], prefixes[0], true, nil
		case set != nil:
			return *set, "", true, nil
		case len(prefixes) > 1:
			return files, "", false, errors.New(choices(dir, prefixes))
		}
	}
	return files, "", false, nil
}

// idxDirs returns the folders in which IDX files for path may lie: path, raw in it, and raw in a folder
// in path if there is a single one.
func idxDirs(path string) []string {
	dirs := []string{path, filepath.Join(path, "raw")}
	entries, _ := os.ReadDir(path) // idxSets reports an error
	below := ""
	for _, e := range entries {
		if e.Type().IsRegular() {
			continue
		}
		dir := filepath.Join(path, e.Name(), "raw")
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if below != "" {
			return dirs
		}
		below = dir
	}
	if below != "" {
		dirs = append(dirs, below)
	}
	return dirs
}

func prefixesOf(sets map[string]*idxFiles) []string { return slices.Sorted(maps.Keys(sets)) }

// choices says which data sets a directory holds, and how to name one.
func choices(dir string, prefixes []string) string {
	return fmt.Sprintf("%s holds %d data sets (%s): name one of them, as in --data %s",
		dir, len(prefixes), strings.Join(prefixes, ", "), filepath.Join(dir, prefixes[len(prefixes)-1]))
}

// missing returns the first place without a file, or -1.
func (f *idxFiles) missing() int { return slices.Index(f[:], "") }

// dir returns the directory of the files that are there.
func (f *idxFiles) dir() string {
	for _, path := range f {
		if path != "" {
			return filepath.Dir(path)
		}
	}
	return ""
}

// check returns an error if a file is missing. advice ends it.
func (f *idxFiles) check(prefix, advice string) error {
	i := f.missing()
	if i < 0 {
		return nil
	}
	name := known.FashionMNIST.Files[i].Name
	if prefix != "" {
		name = prefix + "-" + strings.Replace(name, "t10k", "test", 1)
	}
	return notFoundError(fmt.Sprintf("%s holds neither %s.gz nor %[2]s%s", f.dir(), name, advice))
}

// readIDXSet reads the data set of four IDX files.
func readIDXSet(files idxFiles, prefix string) (*Dataset, error) {
	advice := adviceFor(files.dir())
	if err := files.check(prefix, advice); err != nil {
		return nil, err
	}
	contents, errs := files.read(advice)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	train, test := images(contents[trainImages]), images(contents[testImages])
	train.Labels, test.Labels = contents[trainLabels].Items, contents[testLabels].Items
	d := &Dataset{Dir: files.dir(), Form: FormIDX, Train: train, Test: test}
	d.imageFiles = [2]string{files[trainImages], files[testImages]}
	names, err := readClassNames(d.Dir, prefix)
	if err != nil {
		return nil, err
	}
	err = d.nameClasses(names, func(s *Set, image int) string {
		place := trainLabels
		if s == test {
			place = testLabels
		}
		return fmt.Sprintf("%s: %v", files[place],
			&idx.FormatError{Offset: int64(8 + image), Compressed: contents[place].Compressed,
				Problem: fmt.Sprintf("image %d", image)})
	})
	if err != nil {
		return nil, err
	}
	d.turnEMNIST(prefix)
	d.warnings = sync.OnceValue(func() []string { return warnings(files, contents, train.Labels) })
	return d, nil
}

// read reads the files, training and test set at the same time. A damaged file has no content but an
// error, whose end is advice.
func (f *idxFiles) read(advice string) (contents [4]*idx.Content, errs [4]error) {
	half := func(images, labels int) {
		// Read the labels first: their number bounds the memory that a file of images can ask for.
		contents[labels], errs[labels] = readIDX(f[labels], idx.Labels, nil, advice)
		contents[images], errs[images] = readIDX(f[images], idx.Images, contents[labels], advice)
	}
	done := make(chan struct{})
	go func() {
		half(testImages, testLabels)
		close(done)
	}()
	half(trainImages, trainLabels)
	<-done
	return contents, errs
}

// readIDX reads the file at path as idx.ReadFile does; advice ends an error about its content.
func readIDX(path string, k *idx.Kind, labels *idx.Content, advice string) (*idx.Content, error) {
	c, err := idx.ReadFile(path, k, labels)
	if damaged := (*idx.FormatError)(nil); errors.As(err, &damaged) {
		err = fmt.Errorf("%w%s", err, advice)
	}
	return c, err
}

// images returns the images of a file as a set without labels and classes.
func images(c *idx.Content) *Set {
	return &Set{
		Description: imageset.Description{Height: c.Shape.Height, Width: c.Shape.Width, Channels: c.Shape.Channels},
		Images:      c.Items, Count: c.Count,
	}
}

// adviceFor returns the end of an error about the files of a directory: only in the directory of
// Fetch another copy of Fashion-MNIST would help.
func adviceFor(dir string) string {
	if dir == known.FashionMNIST.CacheDir() {
		return "; crnn data fetch gets Fashion-MNIST"
	}
	return ""
}

// turnEMNIST turns the images of a set of that prefix upright if it is one of EMNIST's, which all are
// stored with rows and columns exchanged.
func (d *Dataset) turnEMNIST(prefix string) {
	if !strings.HasPrefix(prefix, "emnist") {
		return
	}
	d.Notes = append(d.Notes, fmt.Sprintf("%s: EMNIST stores its images with rows and columns exchanged; "+
		"they are turned upright", d.Dir))
	d.Train.transpose()
	d.Test.transpose()
}

// transpose exchanges rows and columns of all images.
func (s *Set) transpose() {
	to := memory.Zeros(len(s.Images)) // the file's bytes may still be hashed
	pixels := s.Height * s.Width
	for at := 0; at < len(to); at += pixels { // a channel of an image
		for i := range s.Height {
			for j := range s.Width {
				to[at+j*s.Height+i] = s.Images[at+i*s.Width+j]
			}
		}
	}
	s.Images, s.Height, s.Width = to, s.Width, s.Height
}

// warnings returns a line per file that looks like Fashion-MNIST's but is not. It waits for checksums.
func warnings(files idxFiles, contents [4]*idx.Content, labels []uint8) (warnings []string) {
	original := known.Recognise(labels) == known.FashionMNIST
	for i, c := range contents {
		sum := c.Sum()
		text := hex.EncodeToString(sum[:])
		f := known.FashionMNIST.Files[i]
		switch j := slices.IndexFunc(known.FashionMNIST.Files, func(f known.File) bool { return f.Sum == text }); {
		case j == i:
		case j >= 0:
			warnings = append(warnings, fmt.Sprintf("%s: holds the %s of Fashion-MNIST; used as it is",
				files[i], known.FashionMNIST.Files[j].Name))
		case original && c.Bytes == f.Size:
			warnings = append(warnings, fmt.Sprintf(
				"%s: looks like the file of Fashion-MNIST, but differs from it (SHA-256 %s); used as it is", files[i], text))
		}
	}
	return warnings
}
