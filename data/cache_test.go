package data

import (
	"bytes"
	"crnn/tests/datatest"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// cachedFolder is a folder whose pictures have been read and kept.
type cachedFolder struct {
	t    *testing.T
	root string
	o    Options
	want *Dataset
}

func newCachedFolder(t *testing.T) *cachedFolder {
	datatest.SetCache(t)
	f := &cachedFolder{t: t, root: pictures(t, some(4, "train/a", "train/b", "test/a", "test/b")...)}
	d, decoded := f.read(f.o)
	if !decoded {
		t.Fatal("the first time the pictures are not read")
	}
	f.want = d
	return f
}

// read reads the folder, and reports whether it decoded pictures.
func (f *cachedFolder) read(o Options) (d *Dataset, decoded bool) {
	f.t.Helper()
	o.Progress = func(int, int) { decoded = true }
	d, err := Read(f.t.Context(), f.root, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return d, decoded
}

// wantKept checks that the images come from the cache, and are what they were.
func (f *cachedFolder) wantKept() {
	f.t.Helper()
	d, decoded := f.read(f.o)
	if decoded {
		f.t.Error("pictures are decoded again")
	}
	for i, s := range []*Set{d.Train, d.Test} {
		want := []*Set{f.want.Train, f.want.Test}[i]
		if diff := cmp.Diff(want, s); diff != "" {
			f.t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// wantDecoded checks that the pictures are read anew, and kept again.
func (f *cachedFolder) wantDecoded(what string) {
	f.t.Helper()
	d, decoded := f.read(f.o)
	if !decoded {
		f.t.Errorf("%s: pictures are taken from the cache", what)
	}
	f.want = d
	f.wantKept()
}

// files returns the files of the cache.
func cacheFiles(t *testing.T) []string {
	t.Helper()
	dir := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "crnn", "pictures")
	var paths []string
	for _, name := range datatest.List(t, dir) {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

func TestCacheIsUsed(t *testing.T) {
	f := newCachedFolder(t)
	f.wantKept()
	// Pictures of the same size and time are not even opened.
	path := filepath.Join(f.root, "train", "a", "01.png")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, make([]byte, info.Size()))
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	f.wantKept()
	if files := cacheFiles(t); len(files) != 1 {
		t.Errorf("files %q, want one", files)
	}
	// The seed and the part for the test choose among the same images.
	d, decoded := f.read(Options{Seed: 5, TestFraction: 0.2})
	if decoded || d.Train.Count != 8 {
		t.Errorf("decoded: %v, %d images", decoded, d.Train.Count)
	}
	if info, err = os.Stat(cacheFiles(t)[0]); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, error %v: the pictures may be private", info.Mode(), err)
	}
}

func TestCacheIsNotUsedForOtherPictures(t *testing.T) {
	f := newCachedFolder(t)
	path := func(name string) string { return filepath.Join(f.root, "train", "a", name) }
	for _, step := range []struct {
		what   string
		change func() error
	}{
		{"another size", func() error {
			info, err := os.Stat(path("00.png"))
			if err != nil {
				return err
			}
			putPicture(t, path("00.png"), 4, 4, 90, true)
			return os.Chtimes(path("00.png"), time.Time{}, info.ModTime())
		}},
		{"another time", func() error { return os.Chtimes(path("00.png"), time.Time{}, time.Now().Add(time.Second)) }},
		{"another name", func() error { return os.Rename(path("00.png"), path("000.png")) }},
		{"another class", func() error { return os.Rename(path("000.png"), filepath.Join(f.root, "train", "b", "000.png")) }},
		{"another part", func() error {
			return os.Rename(filepath.Join(f.root, "train", "b", "000.png"), filepath.Join(f.root, "test", "b", "000.png"))
		}},
		{"a picture less", func() error { return os.Remove(path("01.png")) }},
		{"a picture more", func() error { putPicture(t, path("01.png"), 4, 4, 91, false); return nil }},
		{"other names of classes", func() error {
			for _, part := range []string{"train", "test"} {
				if err := os.Rename(filepath.Join(f.root, part, "a"), filepath.Join(f.root, part, "c")); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		f.wantDecoded(step.what)
	}
	if files := cacheFiles(t); len(files) != 1 {
		t.Errorf("files %q, want one", files)
	}
}

func TestCacheIsNotUsedForOtherOptions(t *testing.T) {
	f := newCachedFolder(t)
	like := func(d imageset.Description) *imageset.Description { return &d }
	fit := imageset.Description{Height: 4, Width: 4, Channels: 1, Pixels: imageset.Pixels{Resize: imageset.Fit}}
	inverted, larger := fit, fit
	inverted.Pixels.Invert, larger.Height = true, 5
	all := []Options{
		{}, {Height: 4, Width: 5}, {Height: 4, Width: 6}, {Height: 5, Width: 5}, {Gray: true}, {Background: imageset.White},
		{Background: imageset.Black},
		{Like: like(fit)}, {Like: like(inverted)}, {Like: like(larger)}, {Like: like(fit), Height: 6, Width: 6},
	}
	for i, o := range all {
		if _, decoded := f.read(o); decoded != (i > 0) {
			t.Errorf("%+v: decoded: %v", o, decoded)
		}
	}
	for _, o := range all {
		if _, decoded := f.read(o); decoded {
			t.Errorf("%+v: decoded again", o)
		}
	}
	if files := cacheFiles(t); len(files) != len(all) {
		t.Errorf("%d files for %d ways", len(files), len(all))
	}
	// What is the same way has the same file.
	if _, decoded := f.read(Options{Background: imageset.Contrast}); decoded {
		t.Error("the usual background, by its name, is another way")
	}
}

func TestDamagedCacheIsNotUsed(t *testing.T) {
	f := newCachedFolder(t)
	path := cacheFiles(t)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.IndexByte(good, '\n') + 1
	damaged := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	for what, b := range map[string][]byte{
		"empty": nil, "without images": good[:start], "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0),
		"another label": damaged(start), "another pixel": damaged(len(good) - 1), "no line end": good[:start-1],
		"another height": bytes.Replace(bytes.Replace(good, []byte(`"Height":4`), []byte(`"Height":2`), 1),
			[]byte(`"Width":4`), []byte(`"Width":8`), 1),
		"another way": bytes.Replace(good, []byte(`"stretch"`), []byte(`"fit"`), 1),
		"no JSON":     append([]byte("x"), good...),
	} {
		if bytes.Equal(b, good) {
			t.Fatalf("%s: the same file", what)
		}
		put(t, path, b)
		f.wantDecoded(what)
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s: the cache was not made again, error %v", what, err)
		}
	}
	// Another program has another version, and so another key.
	put(t, path, bytes.Replace(good, []byte(`"key":"`), []byte(`"key":"0`), 1))
	f.wantDecoded("another key")
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(4, "train/a", "train/b", "test/a", "test/b")...)
	dir := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "crnn")
	put(t, dir, nil) // a file: root may write in every folder
	d, err := Read(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "pictures") + ": the pictures could not be kept for the next run: not a directory"}
	if runtime.GOOS == "windows" {
		want = d.Notes
	}
	if diff := cmp.Diff(want, d.Notes); diff != "" || d.Train.Count != 8 || len(d.Notes) != 1 {
		t.Errorf("%d images, notes (-want +got):\n%s", d.Train.Count, diff)
	}
}

func TestCacheOfRunsAtTheSameTime(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(50, "train/a", "train/b", "test/a", "test/b")...)
	sets := make([]*Dataset, 8)
	var runs sync.WaitGroup
	for i := range sets {
		runs.Add(1)
		go func() {
			defer runs.Done()
			var err error
			if sets[i], err = Read(t.Context(), root, Options{}); err != nil {
				t.Error(err)
			}
		}()
	}
	runs.Wait()
	if t.Failed() {
		return
	}
	for i, d := range sets {
		if !cmp.Equal(d.Train, sets[0].Train) || !cmp.Equal(d.Test, sets[0].Test) || len(d.Notes) > 0 {
			t.Errorf("run %d has other images, or notes %q", i, d.Notes)
		}
	}
	if files := cacheFiles(t); len(files) != 1 {
		t.Errorf("files %q, want one", files)
	}
}

// Caches that nobody will use are removed when another is written.
func TestOldCachesAreRemoved(t *testing.T) {
	f := newCachedFolder(t)
	lasting := cacheFiles(t)[0]
	dir := filepath.Dir(lasting)
	gone := pictures(t, some(4, "a", "b")...)
	if _, err := halves(t, gone); err != nil {
		t.Fatal(err)
	}
	ofGone := slices.DeleteFunc(cacheFiles(t), func(path string) bool { return path == lasting })
	if len(ofGone) != 1 {
		t.Fatalf("files %q", cacheFiles(t))
	}
	copyOf, err := os.ReadFile(lasting)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte, age time.Duration) string {
		path := filepath.Join(dir, name)
		put(t, path, b)
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const day = 24 * time.Hour
	hex := func(c string) string { return strings.Repeat(c, 24) }
	removed := []string{
		file(hex("1"), copyOf, 91*day),
		file(hex("2"), []byte("{}\n"), 0), // of crnn before the root was kept
		file("."+hex("3")+".tmp-00000000", nil, 2*day),
	}
	kept := []string{
		file(hex("4"), copyOf, 89*day),
		file("."+hex("5")+".tmp-00000000", nil, 0),
		file("notes.txt", nil, 1000*day),
		file(hex("6")+"0", nil, 1000*day),
	}
	// A use makes an old cache young.
	if err := os.Chtimes(lasting, time.Time{}, time.Now().Add(-100*day)); err != nil {
		t.Fatal(err)
	}
	f.wantKept()
	f.read(Options{Height: 9, Width: 9})
	for _, path := range slices.Concat(kept, ofGone, []string{lasting}) {
		if _, err := os.Stat(path); err != nil {
			t.Error("removed too early: ", err)
		}
	}
	for _, path := range removed {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s stays", path)
		}
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	f.read(Options{Height: 10, Width: 10})
	if _, err := os.Stat(ofGone[0]); err == nil {
		t.Error("the cache of a folder that is no more stays")
	}
	f.wantKept()
}

func FuzzCache(f *testing.F) {
	classes := []string{"a", "b"}
	s := &Set{Description: imageset.Description{Height: 2, Width: 3, Channels: 1, Classes: classes}, Count: 3,
		Labels: []uint8{0, 1, 1}, Images: datatest.Noise(18, 1)}
	c := cache{path: filepath.Join(f.TempDir(), strings.Repeat("0", 24)), root: "root", key: "k", count: 3,
		classes: classes}
	if err := c.save(s); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(c.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	for _, pair := range [][2]string{
		{`"Height":2`, `"Height":-2`}, {`"Width":3`, `"Width":4611686018427387904`}, {`"count":3`, `"count":0`},
		{`"Channels":1`, `"Channels":2`},
		{`"root":"root",`, ``}, {`["a","b"]`, `[]`}, {`"key":"k"`, `"key":"x"`},
	} {
		f.Add(bytes.Replace(file, []byte(pair[0]), []byte(pair[1]), 1))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := c.decode(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		// The checksum leaves nothing else, if the header's other spellings are not counted.
		if diff := cmp.Diff(s, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// BenchmarkFolder reads a folder of 100,000 pictures of 28x28, whose files are 1000 in hard links: the
// scan, the first reading and the second one, which finds the images in the cache.
func BenchmarkFolder(b *testing.B) {
	const n, distinct = 100_000, 1000
	datatest.SetCache(b)
	root := b.TempDir()
	for i := range n {
		path := filepath.Join(root, fmt.Sprintf("class %d", i%10), fmt.Sprintf("%06d.png", i))
		if i < distinct {
			putPicture(b, path, 28, 28, uint64(i), false)
			continue
		}
		if err := os.Link(filepath.Join(root, fmt.Sprintf("class %d", i%10), fmt.Sprintf("%06d.png", i%distinct)),
			path); err != nil {
			b.Fatal(err)
		}
	}
	read := func(b *testing.B) {
		if _, err := Read(b.Context(), root, Options{TestFraction: 0.1}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			if _, err := findFolder(root); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := os.RemoveAll(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "crnn")); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			read(b)
		}
	})
	b.Run("second", func(b *testing.B) {
		read(b)
		for b.Loop() {
			read(b)
		}
	})
}
