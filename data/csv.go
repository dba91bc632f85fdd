package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crnn/data/idx"
	"crnn/data/imageset"
	"crnn/internal/osfile"
)

// csvSet are the CSV files of a data set, with an image per line: its label, then its pixels from 0 to 255,
// row by row. A first line of names, as Kaggle has it, may put the label elsewhere.
type csvSet struct {
	path  string // that the user named
	train string
	test  string // "": there is none
}

// findCSV returns the CSV files that path names: a directory with NAME_train.csv and NAME_test.csv, or
// train.csv and test.csv; one of the two; or any CSV file, also as the only one of a directory.
func findCSV(path string, info fs.FileInfo) (c csvSet, found bool, err error) {
	if !info.IsDir() {
		if !isCSV(path) {
			return c, false, nil
		}
		return newCSVSet(path, path), true, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return c, false, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	var all, list []string
	folders := false
	for _, e := range entries {
		name := e.Name()
		if isCSV(name) && !hidden(name) {
			all = append(all, filepath.Join(path, name))
		}
		if name == "train.csv" || strings.HasSuffix(name, "_train.csv") || strings.HasSuffix(name, "-train.csv") {
			list = append(list, filepath.Join(path, name))
		}
		folders = folders || e.IsDir() && !hidden(name)
	}
	// A table may lie beside the folders of pictures that it describes.
	tables := func(path string) bool { return !holdsImages(path) }
	if folders {
		list = slices.DeleteFunc(list, tables)
	}
	if len(list) == 0 && len(all) == 1 {
		list = slices.DeleteFunc(all, tables)
	}
	switch len(list) {
	case 0:
		return c, false, nil
	case 1:
		return newCSVSet(path, list[0]), true, nil
	}
	return c, false, fmt.Errorf("%s holds %d training sets in CSV (%s, %s …): name one of them, as in --data %s",
		path, len(list), filepath.Base(list[0]), filepath.Base(list[1]), list[0])
}

func isCSV(name string) bool { return strings.EqualFold(filepath.Ext(name), ".csv") }

// newCSVSet returns the set that a file belongs to.
func newCSVSet(path, file string) csvSet {
	dir, name := filepath.Split(file)
	if start, ok := strings.CutSuffix(name, "test.csv"); ok {
		return csvSet{path, dir + start + "train.csv", file}
	}
	c := csvSet{path: path, train: file}
	if start, ok := strings.CutSuffix(name, "train.csv"); ok {
		if test := dir + start + "test.csv"; exists(test) {
			c.test = test
		}
	}
	return c
}

// holdsImages reports whether the first line of a file has as many columns as a small image needs.
func holdsImages(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	const enough = 16
	line, _ := bufio.NewReaderSize(f, 1<<16).ReadSlice('\n')
	return strings.Count(string(line), ",") >= enough
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// missing returns an error if there is nothing to train with, or nil.
func (c csvSet) missing() error {
	if _, err := os.Stat(c.train); errors.Is(err, fs.ErrNotExist) {
		return notFoundError(fmt.Sprintf("%s is missing, expected beside %s", c.train, filepath.Base(c.test)))
	}
	return nil
}

func (c csvSet) read(ctx context.Context, o Options) (*Dataset, error) {
	if err := c.missing(); err != nil {
		return nil, err
	}
	d := &Dataset{Dir: c.path, Form: FormCSV}
	prefix := strings.TrimRight(strings.TrimSuffix(filepath.Base(c.train), "train.csv"), "-_")
	names, err := readClassNames(filepath.Dir(c.train), prefix)
	if err != nil {
		return nil, err
	}
	if d.Train, err = readCSV(ctx, c.train, 0, o); err != nil {
		return nil, err
	}
	why := "no file of a test beside it"
	if c.test != "" {
		d.Test, err = readCSV(ctx, c.test, d.Train.Bytes(), o)
		if errors.Is(err, errNoLabels) { // as Kaggle's test.csv
			err, why = nil, filepath.Base(c.test)+" has no labels"
		}
		if err != nil {
			return nil, err
		}
	}
	err = d.nameClasses(names, func(s *Set, image int) string {
		path := c.train
		if s == d.Test {
			path = c.test
		}
		return fmt.Sprintf("%s: image %d", path, image)
	})
	if err != nil {
		return nil, err
	}
	if d.Train.Height != d.Train.Width {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: lines of %d pixels are taken as images of %dx%d",
			d.Dir, d.Train.Bytes(), d.Train.Height, d.Train.Width))
	}
	if d.Test != nil {
		d.imageFiles = [2]string{c.train, c.test}
	} else if err := d.setTestApart(c.train, why, o); err != nil {
		return nil, err
	}
	d.turnEMNIST(prefix)
	return d, nil
}

// setTestApart makes a part of the training set the test set, which d does not have. from is the file of
// all images, why the reason.
func (d *Dataset) setTestApart(from, why string, o Options) error {
	all := d.Train
	train, test := SplitByClass(all.Labels, Count(all.Count), len(all.Classes), o.TestFraction, o.Seed, true)
	if len(test) == 0 {
		return fmt.Errorf("%s: %s, and too few images to set some apart for the test: "+
			"expected a larger --test-fraction, or NAME_train.csv and NAME_test.csv", from, why)
	}
	d.Notes = append(d.Notes, fmt.Sprintf("%s: %s: %d of %d images are set apart for the test",
		from, why, len(test), all.Count))
	d.Test, d.Stratified = all.pick(test), true
	d.Train = all.keep(train)
	return nil
}

// readCSV reads the file at path. pixels, if not 0, is the number of pixels per training image.
func readCSV(ctx context.Context, path string, pixels int, o Options) (*Set, error) {
	f, info, err := osfile.Open(path, "a CSV file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := decodeCSV(ctx, f, info.Size(), pixels, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return s, nil
}

// decodeCSV reads a file of size bytes, 0 if unknown.
func decodeCSV(ctx context.Context, r io.Reader, size int64, pixels int, o Options) (*Set, error) {
	buffered := bufio.NewReaderSize(&shortLines{r: r}, 1<<16)
	if mark, _ := buffered.Peek(3); string(mark) == "\uFEFF" {
		buffered.Discard(len(mark))
	}
	lines := csv.NewReader(buffered)
	lines.ReuseRecord = true
	s := &Set{}
	labelAt := 0 // column
	for first := true; ; first = false {
		fields, err := lines.Read()
		var syntax *csv.ParseError
		switch {
		case err == io.EOF && s.Count == 0:
			return nil, errors.New("holds no image, expected lines of a label and its pixels")
		case err == io.EOF:
			return s, nil
		case errors.As(err, &syntax) && errors.Is(err, csv.ErrFieldCount):
			return nil, fmt.Errorf("line %d: %d columns, expected %d as in the lines before",
				syntax.Line, len(fields), lines.FieldsPerRecord)
		case errors.As(err, &syntax):
			return nil, fmt.Errorf("line %d: %w", syntax.Line, syntax.Err)
		case err != nil:
			return nil, err
		}
		if s.Count%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.Count == idx.MaxCount {
			return nil, fmt.Errorf("more than %d images, at most that many are read", idx.MaxCount)
		}
		if first {
			if s.Description, err = csvSize(len(fields)-1, pixels, o); err != nil {
				return nil, err
			}
			s.Images = make([]uint8, 0, min(size/2, 1<<30)) // a pixel and its comma take at least two bytes
			if isHeader(fields) {
				if labelAt, err = labelColumn(fields); err != nil {
					return nil, err
				}
				continue
			}
		}
		for column, text := range fields {
			v, ok := parseByte(text)
			if !ok {
				line, _ := lines.FieldPos(column)
				what := "a pixel"
				if column == labelAt {
					what = "a label"
				}
				return nil, fmt.Errorf("line %d, column %d is %.20q, expected %s from 0 to 255", line, column+1, text, what)
			}
			if column == labelAt {
				s.Labels = append(s.Labels, v)
			} else {
				s.Images = append(s.Images, v)
			}
		}
		s.Count++
	}
}

// isHeader reports whether fields are the names of columns: words, or numbers that count them.
func isHeader(fields []string) bool {
	if _, err := strconv.ParseFloat(strings.TrimSpace(fields[0]), 64); err != nil && fields[0] != "" {
		return true
	}
	for i, text := range fields {
		if text != strconv.Itoa(i) {
			return false
		}
	}
	return len(fields) > 2
}

// labelNames are the names of the column with the labels, in lower case.
var labelNames = []string{"label", "labels", "class", "target", "y"}

// labelColumn returns the column that is called label or the like, else the first.
func labelColumn(names []string) (int, error) {
	column := -1
	for i, name := range names {
		switch {
		case !slices.Contains(labelNames, strings.ToLower(strings.TrimSpace(name))):
		case column >= 0:
			return 0, fmt.Errorf("line 1: columns %d and %d are both called as a label (%.20q, %.20q), expected one",
				column+1, i+1, names[column], name)
		default:
			column = i
		}
	}
	return max(column, 0), nil
}

// parseByte reads a number from 0 to 255. Some programs write it as 12.0.
func parseByte(text string) (uint8, bool) {
	v := 0
	for i := 0; i < len(text) && i < 3 && '0' <= text[i] && text[i] <= '9'; i++ {
		v = 10*v + int(text[i]-'0')
		if i+1 == len(text) {
			return uint8(v), v <= math.MaxUint8
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(f >= 0 && f <= math.MaxUint8) || f != math.Trunc(f) {
		return 0, false
	}
	return uint8(f), true
}

// errNoLabels is the error of a test set with a column less than the training set.
var errNoLabels = errors.New("no labels")

// csvSize returns the size of gray images of n pixels: a square, or the size that the options give.
// pixels, if not 0, is the number of pixels per training image.
func csvSize(n, pixels int, o Options) (imageset.Description, error) {
	side := int(math.Round(math.Sqrt(float64(n))))
	switch {
	case n+1 == pixels:
		return imageset.Description{}, errNoLabels
	case n < 1:
		return imageset.Description{}, errors.New("a single column, expected a label and then the pixels, " +
			"separated by commas")
	case o.Height > 0 && o.Height*o.Width == n:
		return imageset.Description{Height: o.Height, Width: o.Width, Channels: 1}, nil
	case side*side == n && side <= imageset.MaxSide:
		return imageset.Description{Height: side, Width: side, Channels: 1}, nil
	}
	return imageset.Description{}, fmt.Errorf("%d columns beside the label are no square image: "+
		"expected height times width pixels; pass --image-size HxW if they are of another size", n)
}

// maxLine is the length in bytes of a line of the largest image, of maxPixels.
const (
	maxPixels = imageset.MaxSide * imageset.MaxSide
	maxLine   = 4 * (maxPixels + 1)
)

// shortLines reads from r until a line is too long. A file that is no CSV may be a single line, which
// would have to fit into memory.
type shortLines struct {
	r    io.Reader
	line int // bytes since the last line's end
}

func (s *shortLines) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if end := bytes.LastIndexByte(p[:n], '\n'); end >= 0 {
		s.line = n - end - 1
	} else {
		s.line += n
	}
	if s.line > maxLine {
		return 0, fmt.Errorf("a line of more than %d bytes, expected at most %d pixels in a line", maxLine, maxPixels)
	}
	return n, err
}
