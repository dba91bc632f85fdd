package data

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"crnn/data/imageset"
	"crnn/data/picture"
)

// Info says what a data set holds.
type Info struct {
	Form     Form         `json:"form"`
	Height   int          `json:"height"` // of the images; 0: the pictures have no common size
	Width    int          `json:"width"`
	Channels int          `json:"channels"`
	Classes  []ClassCount `json:"classes"`
	Warnings []string     `json:"warnings"` // lines; never nil

	Path string `json:"path"`
	// Mean and Std are the mean and the standard deviation of the pixels of all training images, those
	// for validation included, per channel. 0 is black and 1 is white.
	Mean       []float64   `json:"mean,omitempty"`
	Std        []float64   `json:"std,omitempty"`
	Duplicates *Duplicates `json:"duplicates,omitempty"`
	Sizes      *Sizes      `json:"sizes,omitempty"` // of pictures without a common size
}

// ClassCount holds the numbers of a class's images.
type ClassCount struct {
	Name  string `json:"name"`
	Train int    `json:"train"`
	Val   int    `json:"val"`
	Test  int    `json:"test"`
}

// Duplicates are test images that have the same bytes as a training image. Test and Train name the
// first such pair.
type Duplicates struct {
	Count int    `json:"count"`
	Test  string `json:"test,omitempty"`
	Train string `json:"train,omitempty"`
}

// Sizes say how large the pictures of a folder are, in pixels.
type Sizes struct {
	Heights [2]int `json:"heights"` // the least and the largest
	Widths  [2]int `json:"widths"`
	// Suggested is a value for --image-size. It is empty if all pictures have one size, not too large.
	Suggested string `json:"image_size"`
}

// The limits from which on a data set is suspicious.
const (
	largeClass     = 90  // percent of the training images
	manyDuplicates = 1   // percent of the test images
	fewTest        = 100 // test images; of fewer, each is more than 1 % of the accuracy
)

// Describe looks at all images of a data set that was read with the options o. A run uses the images
// train and val of the training set for training and for validation. Sets without images, as
// ReadHeaders returns them, are only counted.
func (d *Dataset) Describe(o Options, train, val []int32) *Info {
	s := d.Train.Description
	info := &Info{
		Form: d.Form, Height: s.Height, Width: s.Width, Channels: s.Channels, Path: d.Dir,
		Classes: make([]ClassCount, len(s.Classes)), Warnings: append([]string{}, d.Warnings()...),
	}
	for i, name := range s.Classes {
		info.Classes[i].Name = name
	}
	for _, i := range train {
		info.Classes[d.Train.Labels[i]].Train++
	}
	for _, i := range val {
		info.Classes[d.Train.Labels[i]].Val++
	}
	for _, label := range d.Test.Labels {
		info.Classes[label].Test++
	}
	info.judgeClasses(len(train), d.Test.Count)
	if s.Bytes() > 0 {
		info.Mean, info.Std = d.Train.statistics()
		l := looker{info: info, d: d, files: sync.OnceValues(func() (train, test []string) { return d.files(o) })}
		l.compare()
		l.findFlat()
	}
	return info
}

func (info *Info) warn(format string, args ...any) {
	info.Warnings = append(info.Warnings, fmt.Sprintf(format, args...))
}

// judgeClasses warns of classes that are too small or too large.
func (info *Info) judgeClasses(train, test int) {
	var noTrain, noTest []string
	for _, c := range info.Classes {
		if c.Train == 0 {
			noTrain = append(noTrain, c.Name)
		}
		if c.Test == 0 {
			noTest = append(noTest, c.Name)
		}
		if 100*c.Train > largeClass*train {
			info.warn("%.1f %% of the training images are of class %q: a network that always answers it is right as often",
				100*float64(c.Train)/float64(train), c.Name)
		}
	}
	if len(noTrain) > 0 {
		info.warn("classes without a training image: %s", enumerate(noTrain))
	}
	if len(noTest) > 0 {
		info.warn("classes without a test image: %s", enumerate(noTest))
	}
	if test < fewTest {
		info.warn("%s: each is %.1f %% of the accuracy", countOf(test, "test image", "test images"), 100/float64(test))
	}
}

// countOf returns a number and the word for as many.
func countOf(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// statistics returns mean and standard deviation of each channel, sqrt(sum((x-mean)^2)/n), with x
// from 0 to 1.
func (s *Set) statistics() (means, stds []float64) {
	plane := s.Height * s.Width
	for c := range s.Channels {
		var counts [256]int
		for i := range s.Count {
			for _, v := range s.Image(i)[c*plane:][:plane] {
				counts[v]++
			}
		}
		n, mean, variance := float64(s.Count*plane), 0.0, 0.0
		for v, count := range counts {
			mean += float64(count) * float64(v) / 255 / n
		}
		for v, count := range counts {
			difference := float64(v)/255 - mean
			variance += float64(count) * difference * difference / n
		}
		means, stds = append(means, mean), append(stds, math.Sqrt(variance))
	}
	return means, stds
}

// looker looks for suspicious images.
type looker struct {
	info  *Info
	d     *Dataset
	files func() (train, test []string)
}

// name tells the user which image index is: first those of the training set, then those of the test
// set.
func (l *looker) name(index int) string {
	train, test := l.files()
	n := l.d.Train.Count
	switch {
	case index < n && train != nil:
		return show(train[index])
	case index < n:
		return fmt.Sprintf("training image %d", index)
	case test != nil:
		return show(test[index-n])
	}
	return fmt.Sprintf("test image %d", index-n)
}

// compare finds images with the same bytes: a test image that is in the training set too, and equal
// images of different classes.
func (l *looker) compare() {
	type hash [16]byte // half a SHA-256; that two images share it by chance is out of the question
	type first struct {
		index int32
		label uint8
	}
	seen := make(map[hash]first, l.d.Train.Count+l.d.Test.Count)
	same := &Duplicates{}
	conflicts, example := 0, ""
	at := 0
	for _, s := range []*Set{l.d.Train, l.d.Test} {
		for i := range s.Count {
			sum := sha256.Sum256(s.Image(i))
			key := hash(sum[:])
			before, found := seen[key]
			switch {
			case !found:
				seen[key] = first{int32(at), s.Labels[i]}
			case before.label != s.Labels[i]:
				if conflicts++; conflicts == 1 {
					example = fmt.Sprintf("%s (%q) and %s (%q)", l.name(int(before.index)), s.Classes[before.label],
						l.name(at), s.Classes[s.Labels[i]])
				}
			}
			if found && s == l.d.Test && int(before.index) < l.d.Train.Count {
				if same.Count++; same.Count == 1 {
					same.Train, same.Test = l.name(int(before.index)), l.name(at)
				}
			}
			at++
		}
	}
	l.info.Duplicates = same
	if 100*same.Count > manyDuplicates*l.d.Test.Count {
		l.info.warn("test images that are in the training set too: %d of %d; the accuracy comes out too high",
			same.Count, l.d.Test.Count)
	}
	if conflicts > 0 {
		l.info.warn("%s equal to an image of another class, such as %s",
			countOf(conflicts, "image is", "images are"), example)
	}
}

// findFlat finds images without content.
func (l *looker) findFlat() {
	count, example, at := 0, 0, 0
	for _, s := range []*Set{l.d.Train, l.d.Test} {
		for i := range s.Count {
			if s.isFlat(i) {
				if count++; count == 1 {
					example = at
				}
			}
			at++
		}
	}
	if count > 0 {
		l.info.warn("%s a single colour, such as %s", countOf(count, "image has", "images have"), l.name(example))
	}
}

// isFlat reports whether all pixels of image i are the same.
func (s *Set) isFlat(i int) bool {
	plane, img := s.Height*s.Width, s.Image(i)
	if plane == 1 {
		return false // every image would be
	}
	for c := range s.Channels {
		channel := img[c*plane:][:plane]
		if slices.ContainsFunc(channel, func(v uint8) bool { return v != channel[0] }) {
			return false
		}
	}
	return true
}

// files returns the paths of the pictures of a folder that was read with the options o, in the order of
// the images. Both are nil if the data has another form, or the folder has changed since.
func (d *Dataset) files(o Options) (train, test []string) {
	if d.Form != FormFolder {
		return nil, nil
	}
	t, err := findFolder(d.Dir)
	if err != nil {
		return nil, nil
	}
	numbered, files, err := t.number(o)
	if err != nil || !slices.Equal(numbered.Train.Labels, d.Train.Labels) ||
		!slices.Equal(numbered.Test.Labels, d.Test.Labels) {
		return nil, nil
	}
	paths := func(s *Set) []string {
		list := make([]string, s.Count)
		for i := range list {
			list[i] = filepath.Join(t.root, files[binary.LittleEndian.Uint32(s.Image(i))].path)
		}
		return list
	}
	return paths(numbered.Train), paths(numbered.Test)
}

// number divides a folder as read does, but reads no picture: an image is the number of its file, in 4
// bytes.
func (t *folder) number(o Options) (*Dataset, []pictureFile, error) {
	if err := t.checkPictures(o.Like == nil); err != nil {
		return nil, nil, err
	}
	files := slices.Concat(t.parts[:]...)
	all := &Set{Description: imageset.Description{Height: 1, Width: 4, Channels: 1}, Count: len(files)}
	for i, f := range files {
		all.Images = binary.LittleEndian.AppendUint32(all.Images, uint32(i))
		all.Labels = append(all.Labels, uint8(f.class))
	}
	d, err := t.divide(all, o)
	return d, files, err
}

// ReadHeaders is Read for a folder of pictures that have no common size yet. It reads the headers of
// the pictures only. So the sets have labels, but no height and width and no images.
func ReadHeaders(ctx context.Context, path string, o Options) (*Dataset, *Sizes, error) {
	s, err := find(path)
	if err != nil {
		return nil, nil, err
	}
	if s.form != FormFolder {
		return nil, nil, fmt.Errorf("%s: %s data, expected a folder of pictures", path, s.form)
	}
	t, err := findFolder(path)
	if err != nil {
		return nil, nil, err
	}
	d, files, err := t.number(o)
	if err != nil {
		return nil, nil, err
	}
	infos := make([]picture.Info, len(files))
	if err := t.each(ctx, files, o.Progress, func(i int, path string) (err error) {
		infos[i], err = picture.Inspect(path)
		return err
	}); err != nil {
		return nil, nil, err
	}
	channels := 3
	if o.Gray || !slices.ContainsFunc(infos, func(i picture.Info) bool { return !i.Gray }) {
		channels = 1
	}
	for _, s := range []*Set{d.Train, d.Test} {
		s.Description, s.Images = imageset.Description{Channels: channels, Classes: s.Classes}, nil
	}
	return d, sizesOf(infos), nil
}

func sizesOf(infos []picture.Info) *Sizes {
	span := func(side func(picture.Info) int) [2]int {
		by := func(a, b picture.Info) int { return cmp.Compare(side(a), side(b)) }
		return [2]int{side(slices.MinFunc(infos, by)), side(slices.MaxFunc(infos, by))}
	}
	s := &Sizes{
		Heights: span(func(i picture.Info) int { return i.Height }),
		Widths:  span(func(i picture.Info) int { return i.Width }),
	}
	if s.Heights[0] != s.Heights[1] || s.Widths[0] != s.Widths[1] || max(s.Heights[1], s.Widths[1]) > imageset.MaxSide {
		s.Suggested = suggestSize(infos)
	}
	return s
}
