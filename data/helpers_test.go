package data

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"crnn/rng"

	"github.com/adrg/xdg"
)

// fashionDir returns the directory of the real data set.
func fashionDir(t testing.TB) string {
	t.Helper()
	dir, err := Locate("")
	if err != nil {
		t.Fatalf("the tests need Fashion-MNIST, run make data: %v", err)
	}
	return dir
}

// setCache makes the test's own directory the user's cache.
func setCache(t testing.TB) {
	t.Helper()
	t.Cleanup(xdg.Reload) // runs after the variable has its old value again
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	xdg.Reload()
}

// idx builds an IDX file.
func idx(magic uint32, dims []uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, body...)
}

// The sizes of the images that the tests make.
const (
	imageHeight = 28
	imageWidth  = 28
	imageSize   = imageHeight * imageWidth
	numClasses  = 10
)

func idxImages(pixels []byte) []byte {
	return idx(0x803, []uint32{uint32(len(pixels) / imageSize), imageHeight, imageWidth}, pixels)
}

func idxLabels(labels ...byte) []byte { return idx(0x801, []uint32{uint32(len(labels))}, labels) }

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noise returns n bytes that compression does not shorten.
func noise(n int, seed uint64) []byte {
	s := rng.Stream{Seed: seed}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}

// testCatalog returns a data set of some 500 kB: its catalog, and its compressed files by name.
func testCatalog() (catalog, map[string][]byte) {
	c, files := makeTestCatalog()
	return c, maps.Clone(files)
}

var makeTestCatalog = sync.OnceValues(func() (catalog, map[string][]byte) {
	c := fashionMNIST
	served := map[string][]byte{}
	counts := [2]int{600, 40}
	for i := range c {
		n := counts[i/2]
		raw := idxImages(noise(n*imageSize, uint64(i)))
		if c[i].kind == labelKind {
			labels := noise(n, uint64(i))
			for j := range labels {
				labels[j] %= numClasses
			}
			raw = idxLabels(labels...)
		}
		sum := sha256.Sum256(raw)
		c[i].sum, c[i].size = hex.EncodeToString(sum[:]), int64(len(raw))
		served[c[i].name+".gz"] = zip(raw)
	}
	return c, served
})

// writeFiles writes files by name into a new directory.
func writeFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names lists a directory.
func names(t *testing.T, dir string) []string {
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

// wantError checks that err is one line that has all of parts.
func wantError(t *testing.T, err error, parts ...string) {
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
