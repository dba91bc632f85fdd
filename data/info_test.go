package data

import (
	"crnn/tests/datatest"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// setOf returns a set of small images, each of noise of its own.
func setOf(d imageset.Description, seed uint64, labels ...uint8) *Set {
	return &Set{Description: d, Images: datatest.Noise(len(labels)*d.Bytes(), seed), Labels: labels, Count: len(labels)}
}

// tinyGray and tinyColour describe small images of three classes.
var (
	tinyGray   = imageset.Description{Height: 5, Width: 7, Channels: 1, Classes: []string{"a", "b", "c"}}
	tinyColour = imageset.Description{Height: 5, Width: 7, Channels: 3, Classes: []string{"a", "b", "c"}}
)

// ordinary returns a data set that has nothing suspicious.
func ordinary(d imageset.Description) *Dataset {
	labels := make([]uint8, 120)
	for i := range labels {
		labels[i] = uint8(i % len(d.Classes))
	}
	return &Dataset{Dir: "here", Form: FormIDX, Train: setOf(d, 1, labels...), Test: setOf(d, 2, slices.Clone(labels)...)}
}

func TestDescribe(t *testing.T) {
	d := ordinary(tinyColour)
	info := d.Describe(Options{}, Count(120)[12:], Count(12))
	want := []ClassCount{{"a", 36, 4, 40}, {"b", 36, 4, 40}, {"c", 36, 4, 40}}
	if diff := cmp.Diff(want, info.Classes); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	// Programs read the first keys in this form.
	start := `{"form":"idx","height":5,"width":7,"channels":3,"classes":[{"name":"a","train":36,"val":4,"test":40},` +
		`{"name":"b","train":36,"val":4,"test":40},{"name":"c","train":36,"val":4,"test":40}],"warnings":[],"path":"here",`
	if !strings.HasPrefix(string(text), start) {
		t.Errorf("JSON %s\nwant it to begin with %s", text, start)
	}
}

// Each fault is found, and nothing else.
func TestDescribeWarns(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(d *Dataset)
		want  []string // of each warning a part
	}{
		{"nothing", func(*Dataset) {}, nil},
		{"a class without a training image", func(d *Dataset) {
			for i := range d.Train.Labels {
				d.Train.Labels[i] %= 2
			}
		}, []string{`classes without a training image: "c"`}},
		{"two classes without a test image", func(d *Dataset) { clear(d.Test.Labels) },
			[]string{`classes without a test image: "b", "c"`}},
		{"a class of 9 in 10", func(d *Dataset) {
			for i := range d.Train.Labels {
				d.Train.Labels[i] = uint8(max(0, i-117)) // 118 of 120
			}
		}, []string{`98.3 % of the training images are of class "a"`}},
		{"exactly 9 in 10", func(d *Dataset) {
			for i := range d.Train.Labels {
				d.Train.Labels[i] = uint8(max(0, min(i-107, 1)) + max(0, min(i-113, 1))) // 108 of 120
			}
		}, nil},
		{"one of 100 test images in the training set", func(d *Dataset) {
			d.Test = setOf(tinyColour, 2, d.Test.Labels[:100]...)
			copy(d.Test.Image(3), d.Train.Image(3))
		}, nil},
		{"two of 120 test images in the training set", func(d *Dataset) {
			copy(d.Test.Image(3), d.Train.Image(3))
			copy(d.Test.Image(4), d.Train.Image(4))
		}, []string{"test images that are in the training set too: 2 of 120"}},
		{"equal images of two classes", func(d *Dataset) { copy(d.Train.Image(4), d.Train.Image(3)) },
			[]string{`1 image is equal to an image of another class, such as training image 3 ("a") and training image 4`}},
		{"equal images of one class", func(d *Dataset) { copy(d.Train.Image(6), d.Train.Image(3)) }, nil},
		{"equal test images of two classes", func(d *Dataset) { copy(d.Test.Image(7), d.Test.Image(3)) },
			[]string{`such as test image 3 ("a") and test image 7 ("b")`}},
		{"an image of one colour", func(d *Dataset) {
			for i, img := 0, d.Test.Image(9); i < len(img); i++ {
				img[i] = uint8(i / 35)
			}
		}, []string{"1 image has a single colour, such as test image 9"}},
		{"few test images", func(d *Dataset) { d.Test = setOf(tinyColour, 2, slices.Repeat([]uint8{0, 1, 2}, 33)...) },
			[]string{"99 test images: each is 1.0 % of the accuracy"}},
		{"a file that is not what it seems", func(d *Dataset) {
			d.warnings = func() []string { return []string{"looks odd"} }
		}, []string{"looks odd"}},
	} {
		d := ordinary(tinyColour)
		c.spoil(d)
		got := d.Describe(Options{}, Count(120), nil).Warnings
		if len(got) != len(c.want) {
			t.Errorf("%s: warnings %q, want %q", c.name, got, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: warning %q, want it to hold %q", c.name, got[i], want)
			}
		}
	}
}

// However many classes are bad, a warning stays a line that can be read.
func TestDescribeOfManyBadClasses(t *testing.T) {
	many := tinyGray
	many.Classes = imageset.Numbered(imageset.MaxClasses)
	d := &Dataset{Train: setOf(many, 1, make([]uint8, 200)...), Test: setOf(many, 2, make([]uint8, 200)...)}
	warnings := d.Describe(Options{}, Count(200), nil).Warnings
	if len(warnings) != 3 {
		t.Errorf("warnings %q, want 3", warnings)
	}
	for _, w := range warnings {
		if len(w) > 200 {
			t.Errorf("a warning of %d bytes: %q", len(w), w)
		}
	}
}

// The numbers of duplicates, and their example.
func TestDuplicates(t *testing.T) {
	d := ordinary(tinyGray)
	copy(d.Test.Image(30), d.Train.Image(60))
	copy(d.Test.Image(33), d.Train.Image(60))
	copy(d.Test.Image(36), d.Test.Image(39)) // within the test set does not count
	got := d.Describe(Options{}, Count(120), nil).Duplicates
	if diff := cmp.Diff(&Duplicates{2, "test image 30", "training image 60"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatistics(t *testing.T) {
	s := &Set{Description: imageset.Description{Height: 1, Width: 2, Channels: 3}, Count: 2, Images: []uint8{
		0, 255, 51, 51, 0, 0,
		0, 255, 51, 51, 0, 255,
	}}
	means, stds := s.statistics()
	for c, want := range []struct{ mean, std float64 }{
		{0.5, 0.5}, {0.2, 0}, {0.25, math.Sqrt(3) / 4}, // a quarter of ones: p(1-p) = 3/16
	} {
		if math.Abs(means[c]-want.mean) > 1e-15 || math.Abs(stds[c]-want.std) > 1e-15 { // a few roundings
			t.Errorf("channel %d: mean %v, standard deviation %v, want %v", c, means[c], stds[c], want)
		}
	}
}

// The mean and the standard deviation by which everybody normalises Fashion-MNIST.
func TestDescribeFashionMNIST(t *testing.T) {
	d, err := Load(fashionDir(t))
	if err != nil {
		t.Fatal(err)
	}
	info := d.Describe(Options{}, Count(60000), nil)
	if got := fmt.Sprintf("%.4f %.4f", info.Mean, info.Std); got != "[0.2860] [0.3530]" {
		t.Errorf("mean and standard deviation %s, want [0.2860] [0.3530]", got)
	}
	for _, c := range info.Classes {
		if c.Train != 6000 || c.Test != 1000 {
			t.Errorf("%+v, want 6000 and 1000", c)
		}
	}
}

// grayFile writes a picture of noise, and returns its path.
func grayFile(t *testing.T, path string, height, width int, seed uint64) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img := &image.Gray{Pix: datatest.Noise(height*width, seed), Stride: width, Rect: image.Rect(0, 0, width, height)}
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return path
}

// Pictures are named by their files, also where crnn chose those of the test.
func TestDescribeNamesFiles(t *testing.T) {
	datatest.SetCache(t)
	root := t.TempDir()
	seed := uint64(0)
	for _, class := range []string{"a", "b"} {
		for i := range 20 {
			seed++
			grayFile(t, filepath.Join(root, class, fmt.Sprintf("%02d.png", i)), 6, 6, seed)
		}
	}
	o := Options{TestFraction: 0.5, Seed: 3}
	d, err := Read(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	train, test := d.files(o)
	if len(train) != 20 || len(test) != 20 {
		t.Fatalf("%d and %d files, want 20 and 20", len(train), len(test))
	}
	// The seeds of the files tell what is in them.
	for _, part := range []struct {
		set   *Set
		paths []string
	}{{d.Train, train}, {d.Test, test}} {
		for i, path := range part.paths {
			if diff := cmp.Diff(datatest.Noise(36, seedOf(t, path, root)), part.set.Image(i)); diff != "" {
				t.Fatalf("image %d is not %s:\n%s", i, path, diff)
			}
		}
	}

	// A copy of a training picture among the test pictures is found under its name.
	grayFile(t, test[0], 6, 6, seedOf(t, train[0], root))
	if d, err = Read(t.Context(), root, o); err != nil {
		t.Fatal(err)
	}
	want := &Duplicates{1, test[0], train[0]}
	if diff := cmp.Diff(want, d.Describe(o, Count(20), nil).Duplicates); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// With other options the images have other files, and no name is better than a wrong one.
	if train, test := d.files(Options{TestFraction: 0.25, Seed: 3}); train != nil || test != nil {
		t.Error("files of another division")
	}
}

// seedOf returns the seed of a file of TestDescribeNamesFiles.
func seedOf(t *testing.T, path, root string) uint64 {
	t.Helper()
	below, err := filepath.Rel(root, path)
	if err != nil {
		t.Fatal(err)
	}
	var number uint64
	if _, err := fmt.Sscanf(filepath.Base(below), "%02d.png", &number); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(below, "b") {
		number += 20
	}
	return 1 + number
}

// Of pictures of different sizes all is told but what needs their pixels.
func TestReadHeaders(t *testing.T) {
	datatest.SetCache(t)
	root := t.TempDir()
	for part, n := range map[string]int{"train": 6, "val": 2, "test": 3} {
		for i := range n {
			grayFile(t, filepath.Join(root, part, "a", fmt.Sprint(i)+".png"), 20+i, 40-i, 1)
			grayFile(t, filepath.Join(root, part, "b", fmt.Sprint(i)+".png"), 20, 40, 1)
		}
	}
	_, err := Read(t.Context(), root, Options{})
	datatest.WantError(t, err, "differ in size")
	d, sizes, err := ReadHeaders(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// 20 by 40 are 800 pixels, and multiples of 4.
	if diff := cmp.Diff(&Sizes{[2]int{20, 25}, [2]int{35, 40}, "20x40"}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	info := d.Describe(Options{}, Count(12), d.Val)
	want := &Info{
		Form: FormFolder, Channels: 1, Path: root, Classes: []ClassCount{{"a", 6, 2, 3}, {"b", 6, 2, 3}},
		Warnings: []string{"6 test images: each is 16.7 % of the accuracy"},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if err := os.RemoveAll(filepath.Join(root, "train", "a")); err != nil {
		t.Fatal(err)
	}
	_, _, err = ReadHeaders(t.Context(), root, Options{})
	datatest.WantError(t, err, root, `"a"`)
	_, _, err = ReadHeaders(t.Context(), datatest.Write(t, datatest.OwnSet()), Options{})
	datatest.WantError(t, err, "idx data, expected a folder of pictures")
}

// Pictures of one size need no other.
func TestReadHeadersSuggests(t *testing.T) {
	for _, c := range []struct {
		height, width int // of one picture; the others have 9x8
		want          *Sizes
	}{
		{9, 8, &Sizes{[2]int{9, 9}, [2]int{8, 8}, ""}},
		{7, 8, &Sizes{[2]int{7, 9}, [2]int{8, 8}, "8x8"}},
		{9, 10, &Sizes{[2]int{9, 9}, [2]int{8, 10}, "8x8"}},
	} {
		root := t.TempDir()
		for i := range 4 {
			grayFile(t, filepath.Join(root, "a", fmt.Sprint(i)+".png"), 9, 8, 1)
			grayFile(t, filepath.Join(root, "b", fmt.Sprint(i)+".png"), 9, 8, 1)
		}
		grayFile(t, filepath.Join(root, "b", "2.png"), c.height, c.width, 1)
		_, sizes, err := ReadHeaders(t.Context(), root, Options{TestFraction: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, sizes); diff != "" {
			t.Errorf("%dx%d (-want +got):\n%s", c.height, c.width, diff)
		}
	}
}
