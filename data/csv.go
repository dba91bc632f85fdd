package data

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crnn/data/imageset"
	"crnn/internal/osfile"
)

// findCSV returns the CSV files that path names: a directory with NAME_train.csv and NAME_test.csv, or
// train.csv and test.csv; or one of the two.
func findCSV(path string, info fs.FileInfo) (train, test string, found bool, err error) {
	if !info.IsDir() {
		base := filepath.Base(path)
		for _, word := range [][2]string{{"train.csv", "test.csv"}, {"test.csv", "train.csv"}} {
			if start, ok := strings.CutSuffix(base, word[0]); ok {
				other := filepath.Join(filepath.Dir(path), start+word[1])
				if word[0] == "train.csv" {
					return path, other, true, nil
				}
				return other, path, true, nil
			}
		}
		if strings.EqualFold(filepath.Ext(path), ".csv") {
			return "", "", false, fmt.Errorf("%s: expected a pair of files, NAME_train.csv and NAME_test.csv", path)
		}
		return "", "", false, nil
	}
	for _, pattern := range []string{"*_train.csv", "*-train.csv", "train.csv"} {
		list, _ := filepath.Glob(filepath.Join(path, pattern))
		if len(list) > 1 {
			return "", "", false, fmt.Errorf("%s holds %d training sets in CSV (%s, %s …): name one of them, as in --data %s",
				path, len(list), filepath.Base(list[0]), filepath.Base(list[1]), list[0])
		}
		if len(list) == 1 {
			return list[0], strings.TrimSuffix(list[0], "train.csv") + "test.csv", true, nil
		}
	}
	return "", "", false, nil
}

// readCSVSet reads two CSV files with an image per line: its label, then its pixels from 0 to 255,
// row by row. A first line of names, as Kaggle has it, is left out.
func readCSVSet(ctx context.Context, path, train, test string, o Options) (*Dataset, error) {
	d := &Dataset{Dir: path, Form: FormCSV}
	most := uint8(0)
	for _, part := range []struct {
		to   **Set
		path string
	}{{&d.Train, train}, {&d.Test, test}} {
		s, err := readCSV(ctx, part.path, o)
		if err != nil {
			return nil, err
		}
		most = max(most, slices.Max(s.Labels))
		*part.to = s
	}
	if !d.Train.SameShape(d.Test.Description) {
		return nil, fmt.Errorf("%s: images of %s, but those in %s are %s: expected one size",
			test, d.Test.Size(), train, d.Train.Size())
	}
	names, from, err := classNames(idxFiles{train}, "")
	if err != nil {
		return nil, err
	}
	k := recognise(d.Train.Labels)
	switch {
	case names == nil && k != nil:
		names = k.Classes
	case names == nil:
		names = imageset.Numbered(max(int(most)+1, imageset.MinClasses))
	case int(most) >= len(names):
		return nil, fmt.Errorf("%s: names %d classes, but the labels go up to %d", from, len(names), most)
	}
	d.setClasses(names)
	d.describePixels()
	return d, nil
}

func readCSV(ctx context.Context, path string, o Options) (*Set, error) {
	f, info, err := osfile.Open(path, "a CSV file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := decodeCSV(ctx, f, info.Size(), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return s, nil
}

func decodeCSV(ctx context.Context, r io.Reader, size int64, o Options) (*Set, error) {
	lines := csv.NewReader(r)
	lines.ReuseRecord = true
	s := &Set{}
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
		if first {
			if s.Description, err = csvSize(len(fields)-1, o); err != nil {
				return nil, err
			}
			s.Images = make([]uint8, 0, min(size/2, 1<<30)) // a pixel and its comma take at least two bytes
			if _, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(fields[0]), "\uFEFF")); err != nil {
				continue // names of the columns
			}
			fields[0] = strings.TrimPrefix(fields[0], "\uFEFF")
		}
		for column, text := range fields {
			v, err := strconv.ParseUint(strings.TrimSpace(text), 10, 8)
			if err != nil {
				line, _ := lines.FieldPos(column)
				what := "a pixel"
				if column == 0 {
					what = "a label"
				}
				return nil, fmt.Errorf("line %d, column %d is %.20q, expected %s from 0 to 255", line, column+1, text, what)
			}
			if column == 0 {
				s.Labels = append(s.Labels, uint8(v))
			} else {
				s.Images = append(s.Images, uint8(v))
			}
		}
		s.Count++
	}
}

// csvSize returns the size of gray images of n pixels: a square, or the size that the options give.
func csvSize(n int, o Options) (imageset.Description, error) {
	side := int(math.Round(math.Sqrt(float64(n))))
	switch {
	case n < 1:
		return imageset.Description{}, errors.New("a single column, expected a label and then the pixels, separated by commas")
	case o.Height > 0 && o.Height*o.Width == n:
		return imageset.Description{Height: o.Height, Width: o.Width, Channels: 1}, nil
	case side*side == n && side <= imageset.MaxSide:
		return imageset.Description{Height: side, Width: side, Channels: 1}, nil
	}
	return imageset.Description{}, fmt.Errorf("%d columns behind the label are no square image: "+
		"expected height times width pixels, and --image-size HxW", n)
}
