package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"crnn/data/picture"
	"crnn/internal/osfile"
)

// stdinName stands for a picture on standard input, stdoutName for a table on standard output.
const (
	stdinName  = "-"
	stdoutName = "-"
)

// listPictures returns the pictures that the paths name: files, the pictures in folders and their
// subfolders, and patterns that no shell has expanded. empty says which paths name none.
func listPictures(paths []string) (files []string, empty []error, err error) {
	stdin := false
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case path == stdinName && stdin:
			return nil, nil, usagef("- is given twice: standard input holds one picture")
		case path == stdinName:
			stdin = true
			files = append(files, path)
		case err == nil && info.IsDir():
			before := len(files)
			if files, err = appendPictures(files, path, nil); err != nil {
				empty = append(empty, err)
			} else if len(files) == before {
				empty = append(empty,
					fmt.Errorf("%s: a folder without pictures (.png, .jpg, .gif, .bmp, .webp, .tif)", shown(path)))
			}
		case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?["):
			matches, err := filepath.Glob(path)
			if err != nil || len(matches) == 0 {
				empty = append(empty, fmt.Errorf("%s: no file matches it", shown(path)))
			}
			files = append(files, matches...)
		default: // reading says what is wrong with it
			files = append(files, path)
		}
	}
	return files, empty, nil
}

// appendPictures appends the pictures in a folder and its subfolders, by name, those of kinds that are not
// read included: reading them says so. Links are followed, but not into a folder of above.
func appendPictures(files []string, dir string, above []fs.FileInfo) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return files, fmt.Errorf("%s: %w", shown(dir), osfile.Cause(err))
	}
	if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
		return files, nil
	}
	above = append(slices.Clip(above), info)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files, fmt.Errorf("%s: %w", shown(dir), osfile.Cause(err))
	}
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		if strings.HasPrefix(name, ".") {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := os.Stat(path)
			isDir = err == nil && target.IsDir()
		}
		switch {
		case isDir:
			if files, err = appendPictures(files, path, above); err != nil {
				return files, err
			}
		case picture.IsName(name) || picture.UnreadName(name) != "":
			files = append(files, path)
		}
	}
	return files, nil
}

// loadedPicture is a picture prepared for a network, or the reason why it could not be read.
type loadedPicture struct {
	file   string
	pixels []uint8
	notes  picture.Notes
	err    error
}

// load reads pictures on all processors.
func (p *predictor) load(files []string) []loadedPicture {
	loaded := make([]loadedPicture, len(files))
	var all sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, file := range files {
		turns <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			l := loadedPicture{file: file}
			var img *picture.Picture
			if img, l.err = readPicture(file); l.err == nil {
				l.pixels, l.notes = img.Image(p.state.Images, p.invert)
			}
			loaded[i] = l
			<-turns
		}()
	}
	all.Wait()
	return loaded
}

// readPicture reads a file, or standard input.
func readPicture(file string) (*picture.Picture, error) {
	if file != stdinName {
		return picture.Read(file)
	}
	content, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	img, err := picture.Decode(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return img, nil
}

// shown returns a name as it can be printed: quoted if a character would break the line or change
// the terminal.
func shown(name string) string {
	for _, r := range name {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(name)
		}
	}
	return name
}
