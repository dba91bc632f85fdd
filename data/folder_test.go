package data

import (
	"bytes"
	"context"
	"crnn/tests/datatest"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"crnn/data/imageset"
	"crnn/data/picture"
	"crnn/internal/memory"
	"crnn/rng"

	"github.com/google/go-cmp/cmp"
)

// putPicture writes a PNG of noise, gray or in colours.
func putPicture(t testing.TB, path string, height, width int, seed uint64, colours bool) {
	t.Helper()
	pixels := datatest.Noise(3*height*width, seed)
	var img image.Image = &image.Gray{Pix: pixels, Stride: width, Rect: image.Rect(0, 0, width, height)}
	if colours {
		rgba := image.NewRGBA(image.Rect(0, 0, width, height))
		for i := range height * width {
			rgba.SetRGBA(i%width, i/width, color.RGBA{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
		}
		img = rgba
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	put(t, path, file.Bytes())
}

// put writes a file and the folders above it.
func put(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pictures returns a folder of gray pictures of 4x4. A path that ends in / is an empty folder, one that
// ends in .txt an empty file.
func pictures(t testing.TB, paths ...string) string {
	t.Helper()
	root := t.TempDir()
	for i, path := range paths {
		full := filepath.Join(root, path)
		switch {
		case strings.HasSuffix(path, "/"):
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
		case filepath.Ext(path) == ".png":
			putPicture(t, full, 4, 4, uint64(i), false)
		default:
			put(t, full, nil)
		}
	}
	return root
}

// some returns n paths of pictures in each folder.
func some(n int, folders ...string) (paths []string) {
	for _, folder := range folders {
		for i := range n {
			paths = append(paths, fmt.Sprintf("%s/%02d.png", folder, i))
		}
	}
	return paths
}

// halves reads a folder of which half of each class is for the test if it has none.
func halves(t testing.TB, root string) (*Dataset, error) {
	t.Helper()
	return Read(t.Context(), root, Options{TestFraction: 0.5, Seed: 1})
}

// shape says what a data set holds: counts of images per class, in the parts for training, for
// validation and for the test.
func shape(d *Dataset) string {
	counts := [3][]int{}
	for i := range counts {
		counts[i] = make([]int, len(d.Train.Classes))
	}
	for i, label := range d.Train.Labels {
		part := partTrain
		if _, found := slices.BinarySearch(d.Val, int32(i)); found {
			part = partVal
		}
		counts[part][label]++
	}
	for _, label := range d.Test.Labels {
		counts[partTest][label]++
	}
	return fmt.Sprintf("%q %v", d.Train.Classes, counts)
}

// The images are those of the pictures, part by part and class by class, in the order of the names.
func TestImagesOfAFolder(t *testing.T) {
	datatest.SetCache(t)
	root := t.TempDir()
	want := map[string][]uint8{} // images by part
	seed := uint64(0)
	for _, part := range []string{"train", "val", "test"} {
		for _, class := range []string{"a", "b"} {
			for i := range 20 {
				seed++
				putPicture(t, filepath.Join(root, part, class, fmt.Sprint(100+i, ".png")), 5, 7, seed, false)
				want[part] = append(want[part], datatest.Noise(35, seed)...)
			}
		}
	}
	d, err := Read(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Train.Images, slices.Concat(want["train"], want["val"])) || !bytes.Equal(d.Test.Images,
		want["test"]) {
		t.Error("other images")
	}
	if diff := cmp.Diff(Count(80)[40:], d.Val); diff != "" {
		t.Error(diff)
	}
	description := imageset.Description{Height: 5, Width: 7, Channels: 1, Classes: []string{"a", "b"},
		Pixels: imageset.Pixels{Resize: imageset.Stretch, Background: imageset.Contrast}}
	if diff := cmp.Diff(description, d.Train.Description); diff != "" {
		t.Error(diff)
	}
}

// What is set apart for the test depends on the seed and the names, not on the order of the file system
// or of the writing. Pictures for validation are not among it.
func TestSplitOfAFolder(t *testing.T) {
	datatest.SetCache(t)
	contents := func(seed uint64) string { return string(datatest.Noise(16, seed)) }
	type key struct {
		class string
		i     int
	}
	seeds := map[key]uint64{}
	var keys []key
	for i := range 80 {
		k := key{"a", i}
		if i >= 30 {
			k = key{"b", i}
		}
		keys = append(keys, k)
		seeds[k] = uint64(i + 1)
	}
	valid := map[string]bool{}
	write := func(order []key, val bool) string {
		root := t.TempDir()
		for _, k := range order {
			putPicture(t, filepath.Join(root, "train", k.class, fmt.Sprint(k.i, ".png")), 4, 4, seeds[k], false)
		}
		for i := range 10 {
			if val {
				putPicture(t, filepath.Join(root, "val", "a", fmt.Sprint(i, ".png")), 4, 4, uint64(1000+i), false)
				valid[contents(uint64(1000+i))] = true
			}
		}
		return root
	}
	test := func(root string, seed uint64) (images map[string]uint8) {
		d, err := Read(t.Context(), root, Options{TestFraction: 0.2, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		images = map[string]uint8{}
		for i := range d.Test.Count {
			images[string(d.Test.Image(i))] = d.Test.Labels[i]
		}
		for i := range d.Train.Count {
			_, inVal := slices.BinarySearch(d.Val, int32(i))
			if _, twice := images[string(d.Train.Image(i))]; twice || inVal != valid[string(d.Train.Image(i))] {
				t.Errorf("training image %d is in the test (%v) or in the wrong part", i, twice)
			}
		}
		for class, want := range []int{6, 10} {
			n := 0
			for _, label := range images {
				if int(label) == class {
					n++
				}
			}
			if n != want {
				t.Errorf("%d images of class %d in the test, want %d", n, class, want)
			}
		}
		return images
	}
	plain := test(write(keys, false), 1)
	order := upTo(len(keys))
	(&rng.Stream{Seed: 9}).Shuffle(order)
	var shuffled []key
	for _, i := range order {
		shuffled = append(shuffled, keys[i])
	}
	if diff := cmp.Diff(plain, test(write(shuffled, true), 1)); diff != "" {
		t.Errorf("with another order and a folder val (-want +got):\n%s", diff)
	}
	if cmp.Equal(plain, test(write(keys, false), 2)) {
		t.Error("two seeds give the same split")
	}
}

func TestUnreadablePictures(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(3, "a", "b")...)
	good, err := os.ReadFile(filepath.Join(root, "a", "00.png"))
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(good)
	copy(huge[16:], "\x00\x00\xea\x60\x00\x00\xea\x60") // 60,000 x 60,000
	faults := map[string][]byte{
		"a/empty.png": nil, "a/huge.png": huge, "a/text.png": []byte("not a picture\n"), "b/cut.png": good[:len(good)-20],
		"b/video.jpg": []byte("\x00\x00\x00\x18ftypisom"),
	}
	if runtime.GOOS == "linux" {
		faults["b/new\nline \xff.png"] = []byte("x")
	}
	var want []string
	for name, b := range faults {
		put(t, filepath.Join(root, name), b)
		want = append(want, show(filepath.Join(root, name))+": ")
	}
	if runtime.GOOS != "windows" {
		if err := os.Symlink(os.DevNull, filepath.Join(root, "b", "device.png")); err != nil {
			t.Fatal(err)
		}
		want = append(want, filepath.Join(root, "b", "device.png")+": not a regular file")
	}
	slices.Sort(want)
	for _, o := range []Options{{TestFraction: 0.5}, {TestFraction: 0.5, Height: 4, Width: 4, Gray: true}} {
		_, err = Read(t.Context(), root, o)
		datatest.WantError(t, err, fmt.Sprintf("%s: %d of %d pictures cannot be read: remove or mend them (the first: %s",
			root, len(want), 6+len(want), filepath.Join(root, "a", "empty.png")))
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) {
			t.Fatalf("error of type %T", err)
		}
		if len(unreadable.Each) != len(want) || unreadable.Total != 6+len(want) {
			t.Fatalf("%d faults of %d: %q", len(unreadable.Each), unreadable.Total, unreadable.Each)
		}
		var got []string
		for _, e := range unreadable.Each {
			got = append(got, e.Error())
		}
		slices.Sort(got)
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) || strings.Contains(got[i], "\n") {
				t.Errorf("error %q, want one line that begins with %q", got[i], want[i])
			}
		}
	}
	for name := range faults {
		if name != "b/cut.png" {
			os.Remove(filepath.Join(root, name))
		}
	}
	os.Remove(filepath.Join(root, "b", "device.png"))
	_, err = halves(t, root)
	datatest.WantError(t, err, filepath.Join(root, "b", "cut.png")+": damaged PNG picture", "; remove or mend it")
}

func TestSizesAndChannelsOfFolders(t *testing.T) {
	datatest.SetCache(t)
	same, mixed, sizes := t.TempDir(), t.TempDir(), t.TempDir()
	for i := range 4 {
		for c, class := range []string{"a", "b"} {
			name := filepath.Join(class, fmt.Sprint(i, ".png"))
			putPicture(t, filepath.Join(same, name), 6, 9, uint64(i), false)
			putPicture(t, filepath.Join(mixed, name), 6, 9, uint64(i), i == 2 && c == 1)
			putPicture(t, filepath.Join(sizes, name), 30*(i+1), 60*(i+1), uint64(i), false)
		}
	}
	network := &imageset.Description{Height: 5, Width: 4, Channels: 3,
		Pixels: imageset.Pixels{Resize: imageset.Fit, Invert: true, Background: imageset.Black}}
	for _, test := range []struct {
		root string
		o    Options
		want string
	}{
		{same, Options{}, "6x9x1"},
		{mixed, Options{}, "6x9x3"},
		{mixed, Options{Gray: true}, "6x9x1"},
		{mixed, Options{Gray: true, Height: 8, Width: 4}, "8x4x1"},
		{sizes, Options{Height: 8, Width: 4}, "8x4x1"},
		{sizes, Options{Like: network}, "5x4x3"},
		{sizes, Options{Like: network, Height: 5, Width: 4}, "5x4x3"},
		{sizes, Options{Like: network, Height: 7, Width: 4}, "7x4x3"},
		{sizes, Options{Like: network, Gray: true}, "5x4x1"},
	} {
		test.o.TestFraction = 0.5
		d, err := Read(t.Context(), test.root, test.o)
		if err != nil {
			t.Error(err)
			continue
		}
		if d.Train.Size() != test.want || d.Test.Size() != test.want || len(d.Train.Images) != d.Train.Count*d.Train.Bytes() {
			t.Errorf("%+v: %s, want %s", test.o, d.Train.Size(), test.want)
		}
		like := test.o.Like != nil
		if got := d.Train.Pixels; like && got != network.Pixels || !like && got.Resize != imageset.Stretch {
			t.Errorf("%+v: %+v", test.o, got)
		}
	}
	_, err := halves(t, sizes)
	// The median picture has the proportions 1:2; 4096 pixels of them are 45 x 91, in multiples of 4.
	datatest.WantError(t, err,
		sizes+": the pictures differ in size (height x width from 30x60 to 120x240): pass --image-size HxW, "+
			"to which all are scaled, such as --image-size 44x92")
}

func TestSuggestedSize(t *testing.T) {
	for _, test := range []struct {
		height, width int
		want          string
	}{{28, 28, "28x28"}, {5000, 5000, "64x64"}, {3000, 4000, "56x72"}, {3, 3, "8x8"}, {1, 65536, "8x4096"}} {
		if got := suggestSize([]picture.Info{{Height: test.height, Width: test.width}}); got != test.want {
			t.Errorf("%dx%d: %s, want %s", test.height, test.width, got, test.want)
		}
	}
}

// Too large for a network, or for the machine.
func TestLargePictures(t *testing.T) {
	datatest.SetCache(t)
	root := t.TempDir()
	for _, class := range []string{"a", "b"} {
		putPicture(t, filepath.Join(root, class, "1.png"), 1, 5000, 1, false)
	}
	_, err := halves(t, root)
	datatest.WantError(t, err,
		root+": pictures of 1x5000 are too large to be images of a network: pass --image-size HxW, such as --image-size 8x")
	if memory.Physical() == 0 {
		t.Skip("the machine's memory is not known")
	}
	d := imageset.Description{Height: 4096, Width: 4096, Channels: 3}
	most := int(memory.Physical()) / d.Bytes()
	f := &folder{root: "root"}
	if err := checkMemory(f.root, most, d, "", 0); err != nil {
		t.Error(err)
	}
	err = checkMemory(f.root, most+1, d, "64x64", 0)
	datatest.WantError(t, err, fmt.Sprintf("root: %d images of 4096x4096x3 take ", most+1),
		"pass a smaller --image-size, such as --image-size 64x64")
}

// Who tests a network needs no pictures to train with, and no class without any.
func TestFolderForTestingANetwork(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, append(some(2, "train/a", "train/c", "test/b", "test/c"), "train/aa/")...)
	like := &imageset.Description{Height: 4, Width: 4, Channels: 1}
	d, err := Read(t.Context(), root, Options{Like: like})
	if err != nil {
		t.Fatal(err)
	}
	if got := shape(d); got != `["a" "b" "c"] [[2 0 2] [0 0 0] [0 2 2]]` {
		t.Error(got)
	}
	want := []string{root + `: class "aa" left out, without a picture`, root + `: no picture for the test of class "a"`}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Error(diff)
	}
}

// The folders of validation and test suffice, and nothing of them is set apart.
func TestFolderOfTheTestAlone(t *testing.T) {
	datatest.SetCache(t)
	like := &imageset.Description{Height: 4, Width: 4, Channels: 1}
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{some(3, "test/a", "test/b"), `["a" "b"] [[0 0] [0 0] [3 3]]`},
		{some(2, "test/a", "test/b", "val/b"), `["a" "b"] [[0 0] [0 2] [2 2]]`},
	} {
		root := pictures(t, c.paths...)
		d, err := Read(t.Context(), root, Options{Like: like, TestFraction: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(d); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		_, err = halves(t, root)
		datatest.WantError(t, err, root+": holds test",
			"but no pictures to train with: expected a folder train; to train with "+
				"these, name "+filepath.Join(root, "test"))
		if d, err := halves(t, filepath.Join(root, "test")); err != nil || len(d.Train.Classes) != 2 {
			t.Errorf("%+v, error %v", d, err)
		}
	}
}

// A file that is written between the scan and the reading is read as it is then, or reported.
func TestFileChangesWhileItIsRead(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(3, "a", "b")...)
	tree, err := findFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	putPicture(t, filepath.Join(root, "a", "01.png"), 4, 4, 77, false)
	d, err := tree.read(t.Context(), Options{TestFraction: 0.3})
	if err != nil || !bytes.Contains(slices.Concat(d.Train.Images, d.Test.Images), datatest.Noise(16, 77)) {
		t.Errorf("error %v, or the old picture", err)
	}
	// The kept images do not pass for those of the pictures of before.
	putPicture(t, filepath.Join(root, "a", "01.png"), 4, 4, 78, false)
	d, err = Read(t.Context(), root, Options{TestFraction: 0.3})
	if err != nil || !bytes.Contains(slices.Concat(d.Train.Images, d.Test.Images), datatest.Noise(16, 78)) {
		t.Errorf("error %v, or the old picture", err)
	}
	if tree, err = findFolder(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "a", "01.png")); err != nil {
		t.Fatal(err)
	}
	putPicture(t, filepath.Join(root, "b", "01.png"), 4, 4, 79, false)
	_, err = tree.read(t.Context(), Options{TestFraction: 0.4, Height: 4, Width: 4})
	datatest.WantError(t, err, filepath.Join(root, "a", "01.png")+": no such file or directory; remove or mend it")
}

func TestInterruptedReading(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(200, "a", "b")...)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := Read(ctx, root, Options{TestFraction: 0.5, Progress: func(int, int) {
		if calls++; calls == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || calls > 10 {
		t.Errorf("error %v after %d calls", err, calls)
	}
	if _, err := os.Stat(newCache(&folder{root: root}, nil, Options{}).path); err == nil {
		t.Error("half of the pictures were kept")
	}
}

// Progress counts up to all, one call at a time.
func TestProgress(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(30, "a", "b")...)
	last := 0
	_, err := Read(t.Context(), root, Options{TestFraction: 0.5, Progress: func(done, total int) {
		if done <= last || total != 60 {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}})
	if err != nil || last != 60 {
		t.Errorf("%d pictures, error %v", last, err)
	}
}

// The names of classes can be stored as JSON.
func TestNamesOfFoldersInJSON(t *testing.T) {
	datatest.SetCache(t)
	d, err := halves(t, pictures(t, some(2, "Schäfer", "e\u0301cole", "\"'<>&\u2028", "🦊")...))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d.Train.Classes)
	if err != nil {
		t.Fatal(err)
	}
	var back []string
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(back, d.Train.Classes) {
		t.Errorf("%q, want %q", back, d.Train.Classes)
	}
}

// What became of transparent parts is said, and the options decide.
func TestTransparentPartsInFolders(t *testing.T) {
	datatest.SetCache(t)
	root := pictures(t, some(3, "a", "b")...)
	for name, subject := range map[string]uint8{"dark": 20, "light": 230} {
		img := image.NewNRGBA(image.Rect(0, 0, 4, 4))
		img.SetNRGBA(1, 1, color.NRGBA{subject, subject, subject, 255})
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "a", name+".png"), file.Bytes())
	}
	for background, want := range map[imageset.Background]string{
		"":             "2; these parts became white in 1 and black in 1",
		imageset.Black: "2; these parts became white in 0 and black in 2",
		imageset.White: "2; these parts became white in 2 and black in 0",
	} {
		d, err := Read(t.Context(), root, Options{TestFraction: 0.5, Background: background})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(d.Notes, func(n string) bool {
			return strings.Contains(n, "pictures with transparent parts: "+want)
		}) {
			t.Errorf("%q: notes %q", background, d.Notes)
		}
	}
}
