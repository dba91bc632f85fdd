package fetch

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crnn/data/idx"
	"crnn/data/known"
	"crnn/internal/atomicfile"
	"crnn/internal/osfile"
)

// look finds out whether a file is in dir. recorded is the SHA-256 that an earlier Fetch wrote down, or "". A
// match is sure if its bytes have a checksum of the original.
func look(file known.File, dir, recorded string) (s known.FileStatus, sure bool) {
	read := readIDX
	if file.Kind == nil {
		read = readBatch
	}
	s = read(file, dir)
	if file.Sum != "" || s.State != known.Differs {
		return s, true
	}
	// The original's checksum is not known, or is known for its compressed form only.
	switch {
	case s.SHA256 == recorded, s.Compressed && file.Packed != "" && checkSum(s.Path, file.Packed) == nil:
		s.State = known.Match
		return s, true
	case recorded == "" && s.Bytes == file.Size && s.Count == file.Count():
		s.State = known.Match
		return s, false
	}
	return s, true
}

// find returns the path of an IDX file in dir; "": dir does not have it.
func find(file known.File, dir string) (string, error) {
	for _, name := range []string{file.Name + ".gz", file.Name} {
		path := filepath.Join(dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%s: %w", path, osfile.Cause(err))
		}
	}
	return "", nil
}

// readIDX reads an IDX file in dir, and compares it with the original.
func readIDX(file known.File, dir string) known.FileStatus {
	path, err := find(file, dir)
	if err != nil {
		return known.FileStatus{Name: file.Name, State: known.Damaged, Err: err}
	}
	if path == "" {
		return known.FileStatus{Name: file.Name, State: known.Missing}
	}
	c, err := idx.ReadFile(path, file.Kind, nil)
	return file.Status(path, c, err)
}

// readBatch reads a binary file of CIFAR-10 in dir.
func readBatch(original known.File, dir string) known.FileStatus {
	s := known.FileStatus{Name: original.Name, Path: filepath.Join(dir, original.Name)}
	fail := func(err error) known.FileStatus {
		s.State, s.Err = known.Damaged, fmt.Errorf("%s: %w", s.Path, osfile.Cause(err))
		return s
	}
	file, info, err := osfile.Open(s.Path, "a file")
	if errors.Is(err, fs.ErrNotExist) {
		s.State, s.Err = known.Missing, err
		return s
	}
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	if info.Size() == 0 || info.Size()%known.CIFARRecord != 0 {
		return fail(fmt.Errorf("%d bytes, expected a multiple of %d", info.Size(), known.CIFARRecord))
	}
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(file, sum), 1<<18)
	for image := make([]byte, known.CIFARRecord); ; s.Count++ {
		if _, err := io.ReadFull(r, image); err == io.EOF {
			break
		} else if err != nil {
			return fail(err)
		}
		if image[0] > 9 {
			return fail(fmt.Errorf("image %d: label %d, expected from 0 to 9", s.Count, image[0]))
		}
	}
	s.Bytes, s.SHA256 = info.Size(), hex.EncodeToString(sum.Sum(nil))
	s.State = known.Differs // there is no checksum of the original to match
	return s
}

// doubt is a line about files that fetch took for the set's by their form alone.
func (f *fetcher) doubt() string {
	var list []string
	for _, s := range f.unsure {
		list = append(list, s.Name+" has SHA-256 "+s.SHA256)
	}
	return fmt.Sprintf("warning: %s: taken for files of %s by their form and size; crnn does not know the checksums "+
		"that they should have: %s", f.dir, f.Set.Title, strings.Join(list, ", "))
}

// hasNames reports whether the set needs no file of names, or has it.
func (f *fetcher) hasNames() bool {
	if f.Set.Names == "" {
		return true
	}
	_, err := os.Lstat(filepath.Join(f.dir, f.Set.Names))
	return err == nil
}

// writeNames writes the names of the classes for package data to read, a line each. Names that are there
// stay: they may be the user's.
func (f *fetcher) writeNames() error {
	if f.hasNames() {
		return nil
	}
	return f.write(f.Set.Names, strings.Join(f.Set.Classes, "\n")+"\n")
}

// sumsFile holds the SHA-256 of files that Fetch decompressed, in the form of sha256sum.
const sumsFile = ".sha256sums"

// readSums returns the contents of sumsFile by name. Without it, files only count as unsure.
func (f *fetcher) readSums() map[string]string {
	sums := map[string]string{}
	text, _ := os.ReadFile(filepath.Join(f.dir, sumsFile))
	for line := range strings.Lines(string(text)) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			sums[name] = sum
		}
	}
	return sums
}

func (f *fetcher) writeSum(name, sum string) error {
	sums := f.readSums()
	sums[name] = sum
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&text, "%s  %s\n", sums[name], name)
	}
	return f.write(sumsFile, text.String())
}

// write replaces a small file in the directory.
func (f *fetcher) write(name, text string) error {
	path := filepath.Join(f.dir, name)
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		return writeError(path, err)
	}
	return nil
}
