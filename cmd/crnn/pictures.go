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
	"strconv"
	"strings"
	"sync"
	"unicode"

	"crnn/data/picture"
	"crnn/internal/osfile"
)

// stdinName stands for a picture on standard input.
const stdinName = "-"

// listPictures returns the pictures that the paths name: files, the pictures in folders and their
// subfolders, and patterns that no shell has expanded.
func listPictures(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case path == stdinName:
			files = append(files, path)
		case err == nil && info.IsDir():
			below, err := picturesBelow(path)
			if err != nil {
				return nil, err
			}
			if len(below) == 0 {
				return nil, fmt.Errorf("%s: a folder without pictures (.png, .jpg, .gif, .bmp, .webp, .tif)", path)
			}
			files = append(files, below...)
		case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?["):
			matches, err := filepath.Glob(path)
			if err != nil || len(matches) == 0 {
				return nil, fmt.Errorf("%s: no file matches it", path)
			}
			files = append(files, matches...)
		default: // reading says what is wrong with it
			files = append(files, path)
		}
	}
	return files, nil
}

// picturesBelow returns the pictures in a folder and its subfolders, by name.
func picturesBelow(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, osfile.Cause(err))
		}
		if path != dir && strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !e.IsDir() && picture.IsName(e.Name()) {
			files = append(files, path)
		}
		return nil
	})
	return files, err
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
