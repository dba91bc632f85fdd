package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"crnn/data/idx"
	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/internal/atomicfile"
	"crnn/internal/osfile"
)

// CheckTarget returns an error unless the data set at path can be converted into the directory dir,
// which must be new or empty. In a folder of pictures it would be taken for a class.
func CheckTarget(path, dir string) error {
	if err := checkEmpty(dir); err != nil {
		return err
	}
	s, err := find(path)
	if err != nil {
		return err
	}
	if s.form == FormFolder && within(path, dir) {
		return fmt.Errorf("%s: lies in the folder of pictures %s, where it would be taken for a class: "+
			"expected a directory elsewhere", dir, path)
	}
	return nil
}

// checkEmpty returns an error if dir is there and holds anything.
func checkEmpty(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s: a file, expected a new or an empty directory", dir)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", dir, osfile.Cause(err))
	case len(entries) > 0:
		return fmt.Errorf("%s: holds %s, expected a new or an empty directory", dir, entries[0].Name())
	}
	return nil
}

// within reports whether dir is path or lies below it, as far as their names tell.
func within(path, dir string) bool {
	for _, p := range []*string{&path, &dir} {
		if absolute, err := filepath.Abs(*p); err == nil {
			*p = absolute
		}
	}
	below, err := filepath.Rel(path, dir)
	return err == nil && filepath.IsLocal(below)
}

// Convert writes the data set into dir as four IDX files and imageset.ClassesFile. Read finds the same images,
// labels and names in them. dir must be new or empty. The notes are lines about what IDX files cannot
// hold. After an error or the end of ctx, dir is as before.
func (d *Dataset) Convert(ctx context.Context, dir string) (notes []string, err error) {
	names, err := d.classesText()
	if err != nil {
		return nil, err
	}
	if n := max(d.Train.Count, d.Test.Count); n > idx.MaxCount {
		return nil, fmt.Errorf("%s: %d images, but crnn reads at most %d from an IDX file", d.Dir, n, idx.MaxCount)
	}
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	_, before := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, osfile.Cause(err))
	}
	var written []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range written {
			os.Remove(path)
		}
		if before != nil {
			os.Remove(dir)
		}
	}()
	// The names come first: a killed conversion leaves no four IDX files that pass for a whole data set
	// without its names.
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{imageset.ClassesFile, func(w io.Writer) error { _, err := w.Write(names); return err }},
		{known.FashionMNIST.Files[testLabels].Name, d.Test.writeLabels},
		{d.Test.imagesName(testImages), func(w io.Writer) error { return d.Test.writeImages(ctx, w) }},
		{known.FashionMNIST.Files[trainLabels].Name, d.Train.writeLabels},
		{d.Train.imagesName(trainImages), func(w io.Writer) error { return d.Train.writeImages(ctx, w) }},
	} {
		path := filepath.Join(dir, file.name)
		written = append(written, path)
		if err := atomicfile.Write(path, 0o644, file.write); ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
		}
	}
	return d.lostInIDX(), nil
}

// classesText returns the content of imageset.ClassesFile, if its reader finds the same names in it.
func (d *Dataset) classesText() ([]byte, error) {
	names := d.Train.Classes
	text := []byte(strings.Join(names, "\n") + "\n")
	read, err := parseClasses(bytes.TrimPrefix(text, []byte("\uFEFF"))) // as readText
	if err != nil {
		return nil, fmt.Errorf("%s: the names of the classes do not fit into %s: %w", d.Dir, imageset.ClassesFile, err)
	}
	for i, name := range names {
		if i >= len(read) || read[i] != name {
			return nil, fmt.Errorf("%s: the class %q does not fit into %s, which has a name per line: "+
				"expected a name without line breaks and outer spaces", d.Dir, name, imageset.ClassesFile)
		}
	}
	return text, nil
}

// lostInIDX returns a line about each thing that the data set has and IDX files do not.
func (d *Dataset) lostInIDX() (notes []string) {
	switch {
	case d.Val != nil:
		notes = append(notes, fmt.Sprintf("IDX files set no images apart for validation: the %d that %s sets apart are "+
			"training images now, and crnn train takes --val-fraction of them all at random", len(d.Val), d.Dir))
	case d.Stratified:
		notes = append(notes, "of IDX files crnn train takes other images for validation: at random of all, "+
			"not of each class")
	}
	if d.Train.Pixels.Resize == imageset.Stretch {
		notes = append(notes, "for a network trained on IDX files, crnn predict keeps the proportions of pictures; "+
			"for one trained on the folder it stretches them")
	}
	return notes
}

func (s *Set) writeLabels(w io.Writer) error {
	return writeAll(w, idx.Header(idx.Labels, s.Count), s.Labels)
}

// imagesName returns the name of a file of the set's images, whose place in a data set is given.
func (s *Set) imagesName(place int) string {
	name := known.FashionMNIST.Files[place].Name
	if s.Channels > 1 {
		name = strings.Replace(name, "idx3", "idx4", 1)
	}
	return name
}

// writeImages writes gray images as [count,height,width], and colours as [count,height,width,channels],
// as most programs have them.
func (s *Set) writeImages(ctx context.Context, w io.Writer) error {
	header := idx.Header(idx.Images, s.Count, s.Height, s.Width)
	if s.Channels > 1 {
		header = idx.Header(idx.Images, s.Count, s.Height, s.Width, s.Channels)
	}
	if err := writeAll(w, header); err != nil {
		return err
	}
	image, plane := make([]uint8, s.Bytes()), s.Height*s.Width
	for i := range s.Count {
		if err := ctx.Err(); err != nil {
			return err
		}
		for c := range s.Channels {
			for j, v := range s.Image(i)[c*plane:][:plane] {
				image[j*s.Channels+c] = v
			}
		}
		if err := writeAll(w, image); err != nil {
			return err
		}
	}
	return nil
}

func writeAll(w io.Writer, parts ...[]byte) error {
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
