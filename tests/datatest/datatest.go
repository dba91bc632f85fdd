// Package datatest makes files of data sets for tests.
package datatest

import (
	"bytes"
	"compress/gzip"
	"crnn/rng"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adrg/xdg"
)

// SetCache makes a directory of the test's own the user's cache.
func SetCache(t testing.TB) {
	t.Helper()
	t.Cleanup(xdg.Reload) // runs after the variable has its old value again
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	xdg.Reload()
}

// IDX builds an IDX file.
func IDX(magic uint32, dims []uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, body...)
}

// The sizes of the images that the tests make.
const (
	Height     = 28
	Width      = 28
	ImageBytes = Height * Width
	Classes    = 10
)

// Images makes an IDX file of images.
func Images(pixels []byte) []byte {
	return IDX(0x803, []uint32{uint32(len(pixels) / ImageBytes), Height, Width}, pixels)
}

// Labels makes an IDX file of labels.
func Labels(labels ...byte) []byte { return IDX(0x801, []uint32{uint32(len(labels))}, labels) }

// Gzip compresses b.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// Gunzip undoes Gzip.
func Gunzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(r)
	}
	if err != nil {
		panic(err)
	}
	return b
}

// Noise returns n bytes that compression does not shorten.
func Noise(n int, seed uint64) []byte {
	s := rng.Stream{Seed: seed}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}

// Write writes files by name into a new directory.
func Write(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// List lists a directory.
func List(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// WantError checks that err is one line that has all of parts.
func WantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want it to contain %q", err, part)
		}
	}
}

// OwnSet is a user's own small data set, not compressed.
func OwnSet() map[string][]byte {
	return map[string][]byte{
		"train-images-idx3-ubyte": Images(Noise(5*ImageBytes, 1)),
		"train-labels-idx1-ubyte": Labels(0, 1, 2, 3, 4),
		"t10k-images-idx3-ubyte":  Images(Noise(2*ImageBytes, 2)),
		"t10k-labels-idx1-ubyte":  Labels(5, 6),
	}
}
