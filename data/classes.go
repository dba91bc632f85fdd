package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/internal/osfile"
)

// classNames are the names that a file gives to the classes.
type classNames struct {
	names []string // nil: there is no such file
	first int      // the label of the first name; -1: the file does not say it, 0 or 1
	from  string   // the file
}

// readClassNames returns the names in a file in dir. Files for a set of the given prefix come before
// those for all sets in dir. more are files of another form's own.
func readClassNames(dir, prefix string, more ...string) (classNames, error) {
	bases := slices.Concat([]string{imageset.ClassesFile}, more)
	if prefix != "" {
		bases = slices.Concat([]string{prefix + "-" + imageset.ClassesFile, prefix + mappingEnd}, bases)
	}
	dirs := []string{dir}
	if filepath.Base(dir) == "raw" { // the user may have named the folder above: see findIDX
		dirs = append(dirs, filepath.Dir(dir))
	}
	for _, dir := range dirs {
		for _, base := range bases {
			c := classNames{first: -1, from: filepath.Join(dir, base)}
			text, err := readText(c.from)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
			case strings.HasSuffix(base, mappingEnd):
				c.names, c.first, err = parseMapping(text)
			default:
				c.names, err = parseClasses(text)
			}
			if err != nil {
				return classNames{}, fmt.Errorf("%s: %w", c.from, err)
			}
			return c, nil
		}
	}
	return classNames{}, nil
}

// maxText is many times the size of 256 names, in bytes.
const maxText = 1 << 20

// readText returns the text of the file at path, whose lines end in \n. Errors do not name the path.
func readText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a file, expected the names of classes, a line each")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, osfile.Cause(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, osfile.Cause(err)
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("longer than %d bytes: expected the names of classes, a line each", maxText)
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // a byte order mark, as Windows writes it
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n")), nil
}

// parseClasses reads a name per line. Empty lines at the end do not count.
func parseClasses(text []byte) ([]string, error) {
	var names []string
	seen := map[string]int{}
	for i, name := range strings.Split(strings.TrimRightFunc(string(text), unicode.IsSpace), "\n") {
		name, line := strings.TrimSpace(name), i+1
		if name == "" {
			return nil, fmt.Errorf("line %d is empty, expected the name of class %d", line, i)
		}
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("line %d: %w: expected names in UTF-8, a line each", line, err)
		}
		if before := seen[name]; before > 0 {
			return nil, fmt.Errorf("line %d names class %.40q as line %d does: expected another name", line, name, before)
		}
		seen[name] = line
		names = append(names, name)
	}
	return names, checkNumber(len(names))
}

// checkName returns an error unless weights can store the name of a class, and tables show it.
func checkName(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %.40q is not UTF-8", name)
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Errorf("the name %.40q holds the control character %q", name, r)
	}
	return nil
}

func checkNumber(names int) error {
	if names < imageset.MinClasses || names > imageset.MaxClasses {
		return fmt.Errorf("number of names: %d, expected from %d to %d", names, imageset.MinClasses, imageset.MaxClasses)
	}
	return nil
}

// mappingEnd ends the name of EMNIST's files of names.
const mappingEnd = "-mapping.txt"

// parseMapping reads EMNIST's mapping: lines of a label and the codes of the characters that it stands
// for, such as "1 65 97" for A and a. The first of them names the class. first is the least label.
func parseMapping(text []byte) (names []string, first int, err error) {
	byLabel, labels := map[int]string{}, map[string]int{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		label, code, err := parseMappingLine(line)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d is %.40q, expected a label from 0 to %d and the code of a character",
				i+1, line, imageset.MaxClasses-1)
		}
		name := string(code)
		if byLabel[label] != "" {
			return nil, 0, fmt.Errorf("line %d: label %d again, expected each once", i+1, label)
		}
		if other, again := labels[name]; again {
			return nil, 0, fmt.Errorf("line %d names label %d %q as label %d: expected another name", i+1, label, name, other)
		}
		byLabel[label], labels[name] = name, label
	}
	first, last := imageset.MaxClasses, 0
	for label := range byLabel {
		first, last = min(first, label), max(last, label)
	}
	for label := first; label <= last; label++ {
		if byLabel[label] == "" {
			return nil, 0, fmt.Errorf("label %d is missing, expected all from %d to %d", label, first, last)
		}
		names = append(names, byLabel[label])
	}
	return names, first, checkNumber(len(names))
}

func parseMappingLine(line string) (label int, code rune, err error) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0, 0, errors.New("too short")
	}
	var numbers []int
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, 0, err
		}
		numbers = append(numbers, n)
	}
	label, code = numbers[0], rune(numbers[1])
	if label < 0 || label >= imageset.MaxClasses || numbers[1] != int(code) || !utf8.ValidRune(code) ||
		unicode.IsControl(code) {
		return 0, 0, errors.New("out of range")
	}
	return label, code, nil
}

// warnOfGap warns of labels that are far above the others: nothing says how many classes there are, and one
// damaged label would make many.
func (d *Dataset) warnOfGap(sets []*Set, least, most int, where func(s *Set, image int) string) {
	var used [imageset.MaxClasses]bool
	for _, s := range sets {
		for _, label := range s.Labels {
			used[label] = true
		}
	}
	count, gap, below := 0, 0, least // the largest gap, and the label below it
	for label, last := least, least; label <= most; label++ {
		if used[label] {
			if label-last > gap {
				gap, below = label-last, last
			}
			count, last = count+1, label
		}
	}
	if gap <= count { // some classes may have no image
		return
	}
	for _, s := range sets {
		if i := slices.IndexFunc(s.Labels, func(label uint8) bool { return int(label) > below }); i >= 0 {
			d.labelWarnings = append(d.labelWarnings, fmt.Sprintf("%s: label %d, but no image has a label from %d to %d: "+
				"if it is wrong, mend it; a file %s beside the data says how many classes there are",
				where(s, i), s.Labels[i], below+1, below+gap-1, imageset.ClassesFile))
			return
		}
	}
}

// nameClasses gives the sets the names of their classes: the given ones, else the names of the known data
// set whose labels these are, else the labels themselves. Where all labels are counted from 1, it counts
// them from 0. where says in which file and where in it the label of an image of a set is.
func (d *Dataset) nameClasses(given classNames, where func(s *Set, image int) string) error {
	sets, all := []*Set{d.Train}, d.Train.Labels
	if d.Test != nil {
		sets, all = append(sets, d.Test), slices.Concat(all, d.Test.Labels)
	}
	least, most := int(slices.Min(all)), int(slices.Max(all))
	names, first := given.names, given.first
	k, remedy := known.Recognise(d.Train.Labels), ""
	switch {
	case names == nil && least == most:
		return fmt.Errorf("%s: all labels are %d: expected at least two classes", d.Dir, least)
	case names == nil && k != nil:
		names, first, given.from = k.Classes, 0, k.Title
		// Rather a damaged label than an extended set, which would be trained without a word.
		remedy = "; if this is a set with more classes, name them in a file " + imageset.ClassesFile + " beside it"
	case names == nil && least == 1:
		names, first = imageset.Numbered(most + 1)[1:], 1
	case names == nil:
		names, first = imageset.Numbered(most+1), 0
	case first < 0 && least > 0 && most == len(names):
		first = 1
	case first < 0:
		first = 0
	}
	if given.names == nil && k == nil {
		d.warnOfGap(sets, least, most, where)
	}
	for _, s := range sets {
		i := slices.IndexFunc(s.Labels, func(label uint8) bool {
			return int(label) < first || int(label) >= first+len(names)
		})
		if i >= 0 {
			return fmt.Errorf("%s: label %d, but %s names %d classes: expected labels from %d to %d%s",
				where(s, i), s.Labels[i], given.from, len(names), first, first+len(names)-1, remedy)
		}
	}
	if first > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: labels are counted from %d; %[2]d is the first class", d.Dir, first))
		for _, s := range sets {
			s.Labels = slices.Clone(s.Labels) // the files' bytes may still be hashed
			for i := range s.Labels {
				s.Labels[i] -= uint8(first)
			}
		}
	}
	d.setClasses(names)
	return nil
}
