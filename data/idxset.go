package data

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"crnn/data/imageset"
	"crnn/internal/osfile"
)

// The places of a data set's files in a catalog and in what follows from it.
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
	dirs := []string{path, filepath.Join(path, "raw")}
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		sets, _ := idxSets(filepath.Dir(path))
		if set := sets[filepath.Base(path)]; set != nil {
			return *set, filepath.Base(path), true, nil
		}
		return files, "", false, nil
	} else if err != nil || !info.IsDir() {
		return files, "", false, nil
	}
	below, _ := filepath.Glob(filepath.Join(path, "*", "raw"))
	if len(below) == 1 {
		dirs = append(dirs, below[0])
	}
	for i, dir := range dirs {
		sets, err := idxSets(dir)
		if err != nil && i == 0 {
			return files, "", false, err
		}
		switch prefixes := slices.Sorted(maps.Keys(sets)); len(prefixes) {
		case 0:
		case 1:
			return *sets[prefixes[0]], prefixes[0], true, nil
		default:
			if set := sets[""]; set != nil && set.missing() < 0 {
				return *set, "", true, nil
			}
			return files, "", false, fmt.Errorf("%s holds %d data sets (%s): name one of them, as in --data %s",
				dir, len(prefixes), strings.Join(prefixes, ", "), filepath.Join(dir, prefixes[len(prefixes)-1]))
		}
	}
	return files, "", false, nil
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
	name := fashionMNIST[i].name
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
	train, test := contents[trainImages].set(), contents[testImages].set()
	train.Labels, test.Labels = contents[trainLabels].items, contents[testLabels].items
	if !train.SameShape(test.Description) {
		return nil, fmt.Errorf("%s: holds images of %s, but those in %s are %s: expected one size",
			files[testImages], test.Size(), files[trainImages], train.Size())
	}
	d := &Dataset{Dir: files.dir(), Form: FormIDX, Train: train, Test: test}
	if err := d.nameClasses(files, prefix); err != nil {
		return nil, err
	}
	if strings.HasPrefix(prefix, "emnist") {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: EMNIST stores its images with rows and columns exchanged; "+
			"they are turned upright", d.Dir))
		d.Train.transpose()
		d.Test.transpose()
	}
	d.describePixels()
	d.warnings = sync.OnceValue(func() []string { return warnings(files, contents, train.Labels) })
	return d, nil
}

// read reads the files, training and test set at the same time. A damaged file has no content but an
// error, whose end is advice.
func (f *idxFiles) read(advice string) (contents [4]*content, errs [4]error) {
	half := func(images, labels int) {
		// Read the labels first: their number bounds the memory that a file of images can ask for.
		contents[labels], errs[labels] = readIDXFile(f[labels], labelKind, nil, advice)
		contents[images], errs[images] = readIDXFile(f[images], imageKind, contents[labels], advice)
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

// readIDXFile reads the file at path. If labels are given, there must be as many images.
func readIDXFile(path string, k *kind, labels *content, advice string) (*content, error) {
	file, info, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	count := -1
	if labels != nil {
		count = labels.count
	}
	c, err := readIDX(file, info.Size(), k, count)
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", path, osfile.Cause(err), advice)
	}
	return c, nil
}

// adviceFor returns the end of an error about the files of a directory: only in the directory of
// Fetch another copy of Fashion-MNIST would help.
func adviceFor(dir string) string {
	if dir == CacheDir() {
		return "; crnn data fetch gets Fashion-MNIST"
	}
	return ""
}

// nameClasses gives the sets their class names: those of classes.txt or of EMNIST's mapping, else
// those of the known data set whose labels these are, else the labels themselves. Where all labels
// are counted from 1, it counts them from 0.
func (d *Dataset) nameClasses(files idxFiles, prefix string) error {
	labels := [2][]uint8{d.Train.Labels, d.Test.Labels}
	least, most := slices.Min(labels[0]), slices.Max(labels[0])
	least, most = min(least, slices.Min(labels[1])), max(most, slices.Max(labels[1]))

	names, from, err := classNames(files, prefix)
	if err != nil {
		return err
	}
	fromOne := least == 1 && (names == nil || len(names) == int(most))
	if k := recognise(d.Train.Labels); k != nil && names == nil {
		names, fromOne = k.Classes, false
	}
	if fromOne {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: labels run from 1 to %d; class 1 is counted as the first", d.Dir, most))
		for _, set := range []*Set{d.Train, d.Test} {
			set.Labels = slices.Clone(set.Labels) // the files' bytes may still be hashed
			for i := range set.Labels {
				set.Labels[i]--
			}
		}
		most--
	}
	if names == nil {
		names = imageset.Numbered(int(most) + 1)
		if fromOne {
			names = imageset.Numbered(int(most) + 2)[1:]
		}
	}
	if int(most) >= len(names) {
		for i, part := range labels {
			for j, label := range part {
				if int(label) >= len(names) {
					return fmt.Errorf("%s: byte %d: image %d has label %d, but %s names %d classes: expected 0 to %d",
						files[trainLabels+2*i], 8+j, j, label, from, len(names), len(names)-1)
				}
			}
		}
	}
	if len(names) < imageset.MinClasses {
		return fmt.Errorf("%s: all labels are %d: expected at least two classes", files[trainLabels], least)
	}
	d.setClasses(names)
	return nil
}

// ClassesFile is the file with the names of the classes, a line each, beside IDX files.
const ClassesFile = "classes.txt"

// classNames returns the names in a file beside the IDX files, and that file. Without one, names is nil.
func classNames(files idxFiles, prefix string) (names []string, from string, err error) {
	dir := files.dir()
	for _, base := range []string{ClassesFile, prefix + "-" + ClassesFile, prefix + "-mapping.txt"} {
		path := filepath.Join(dir, base)
		text, err := readText(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if strings.HasSuffix(base, "-mapping.txt") {
			names, err = parseMapping(text)
		} else {
			names, err = parseClasses(text)
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		return names, path, nil
	}
	return nil, "", nil
}

// maxText is many times the size of 256 names, in bytes.
const maxText = 1 << 20

func readText(path string) ([]byte, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	f, _, err := osfile.Open(path, "a text file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("longer than %d bytes: expected the names of classes, a line each", maxText)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return bytes.TrimPrefix(text, []byte("\uFEFF")), nil // a byte order mark, as Windows writes it
}

// parseClasses reads a name per line. Empty lines at the end do not count.
func parseClasses(text []byte) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimRight(text, " \t\r\n")))
	lines.Buffer(nil, maxText)
	seen := map[string]int{}
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		line := len(names) + 1
		if name == "" {
			return nil, fmt.Errorf("line %d is empty, expected the name of class %d", line, line-1)
		}
		if before := seen[name]; before > 0 {
			return nil, fmt.Errorf("line %d names class %q as line %d does: expected another name", line, name, before)
		}
		seen[name] = line
		names = append(names, name)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(names) < imageset.MinClasses || len(names) > imageset.MaxClasses {
		return nil, fmt.Errorf("%d names of classes, expected from %d to %d",
			len(names), imageset.MinClasses, imageset.MaxClasses)
	}
	return names, nil
}

// parseMapping reads EMNIST's mapping: lines of a label and the codes of the characters that it stands
// for, such as "1 65 97" for A and a.
func parseMapping(text []byte) ([]string, error) {
	byLabel := map[int]string{}
	least, most := imageset.MaxClasses, -1
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		fields := strings.Fields(line)
		numbers := make([]int, len(fields))
		for j, f := range fields {
			n, err := strconv.Atoi(f)
			if err != nil || n < 0 || j == 0 && n >= imageset.MaxClasses || j > 0 && n > 0x10ffff {
				return nil, fmt.Errorf("line %d is %.40q, expected a label and the code of a character", i+1, line)
			}
			numbers[j] = n
		}
		if len(numbers) < 2 {
			return nil, fmt.Errorf("line %d is %.40q, expected a label and the code of a character", i+1, line)
		}
		least, most = min(least, numbers[0]), max(most, numbers[0])
		byLabel[numbers[0]] = string(rune(numbers[1]))
	}
	var names []string
	for label := least; label <= most; label++ {
		if byLabel[label] == "" {
			return nil, fmt.Errorf("label %d is missing, expected all from %d to %d", label, least, most)
		}
		names = append(names, byLabel[label])
	}
	return names, nil
}

// transpose exchanges rows and columns of all images.
func (s *Set) transpose() {
	to := newArray(len(s.Images)) // the file's bytes may still be hashed
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
func warnings(files idxFiles, contents [4]*content, labels []uint8) (warnings []string) {
	original := recognise(labels) == known[0]
	for i, c := range contents {
		sum := c.sum()
		text := hex.EncodeToString(sum[:])
		f := fashionMNIST[i]
		switch j := slices.IndexFunc(fashionMNIST[:], func(f dataFile) bool { return f.sum == text }); {
		case j == i:
		case j >= 0:
			warnings = append(warnings, fmt.Sprintf("%s: holds the %s of Fashion-MNIST; used as it is",
				files[i], fashionMNIST[j].name))
		case original && c.bytes == f.size:
			warnings = append(warnings, fmt.Sprintf(
				"%s: looks like the file of Fashion-MNIST, but differs from it (SHA-256 %s); used as it is", files[i], text))
		}
	}
	return warnings
}
