package data

import (
	"crnn/tests/datatest"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"crnn/data/imageset"
	"crnn/data/known"

	"github.com/google/go-cmp/cmp"
)

func TestFashionMNIST(t *testing.T) {
	dir := fashionDir(t)
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d.Dir != dir || len(d.Warnings()) != 0 {
		t.Errorf("directory %s, warnings %q", d.Dir, d.Warnings())
	}
	for _, s := range []struct {
		*Set
		count int
	}{{d.Train, 60000}, {d.Test, 10000}} {
		if s.Count != s.count || s.Height != 28 || s.Width != 28 || len(s.Images) != 28*28*s.count ||
			len(s.Labels) != s.count {
			t.Errorf("%d images of %dx%d, %d pixels and %d labels; want %d images of 28x28",
				s.Count, s.Height, s.Width, len(s.Images), len(s.Labels), s.count)
		}
		var perClass [datatest.Classes]int
		for _, label := range s.Labels {
			perClass[label]++
		}
		for class, n := range perClass {
			if n != s.count/10 {
				t.Errorf("class %d has %d images, want %d", class, n, s.count/10)
			}
		}
	}

	status, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range status {
		f := known.FashionMNIST.Files[i]
		if s.State != known.Match || s.Err != nil || s.Name != f.Name || s.SHA256 != f.Sum || s.Bytes != f.Size ||
			s.Count != []int{60000, 60000, 10000, 10000}[i] || !strings.HasPrefix(s.Path, dir) {
			t.Errorf("status %+v", s)
		}
	}

	var order []string
	for _, i := range FirstOfEachClass(d.Test, 1) {
		order = append(order, d.Test.Classes[d.Test.Labels[i]])
	}
	want := []string{"Pullover", "Trouser", "Shirt", "Coat", "Sandal", "Sneaker", "Dress", "Bag",
		"T-shirt/top", "Ankle boot"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("first of each class in the test set from index 1 (-want +got):\n%s", diff)
	}
}

func TestFirstOfEachClass(t *testing.T) {
	set := &Set{Labels: []uint8{3, 3, 1, 3, 9, 1}, Count: 6}
	for _, test := range []struct {
		from int
		want []int
	}{{0, []int{0, 2, 4}}, {1, []int{1, 2, 4}}, {4, []int{4, 5}}, {6, nil}, {100, nil}} {
		if diff := cmp.Diff(test.want, FirstOfEachClass(set, test.from)); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", test.from, diff)
		}
	}
}

func TestImage(t *testing.T) {
	set := &Set{Images: datatest.Noise(3*datatest.ImageBytes, 1), Count: 3, Description: FashionMNIST()}
	if diff := cmp.Diff(set.Images[datatest.ImageBytes:2*datatest.ImageBytes], set.Image(1)); diff != "" {
		t.Error(diff)
	}
}

// The user's own data is as good as any: nothing is said of it.
func TestOwnData(t *testing.T) {
	files := datatest.OwnSet()
	files["train-images-idx3-ubyte"] = datatest.Gzip(files["train-images-idx3-ubyte"]) // the name does not matter
	dir := datatest.Write(t, files)
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(datatest.Noise(5*datatest.ImageBytes, 1), d.Train.Images); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint8{5, 6}, d.Test.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(imageset.Numbered(7), d.Train.Classes); diff != "" {
		t.Error(diff)
	}
	if len(d.Warnings()) != 0 || len(d.Notes) != 0 {
		t.Errorf("warnings %q, notes %q, want none", d.Warnings(), d.Notes)
	}
	status, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range status {
		if s.State != known.Differs || s.Err != nil || s.Compressed != (i == 0) {
			t.Errorf("status %+v", s)
		}
	}
}

// Swapped halves fit together; only the checksums show it.
func TestExchangedHalvesAreToldByName(t *testing.T) {
	dir := t.TempDir()
	files, _, _, err := findIDX(fashionDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range known.FashionMNIST.Files {
		path := files[i]
		name := known.FashionMNIST.Files[(i+2)%4].Name + strings.TrimPrefix(filepath.Base(path), f.Name)
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Skip("no links: ", err)
		}
	}
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range d.Warnings() {
		if !strings.Contains(w, "holds the "+known.FashionMNIST.Files[(i+2)%4].Name+" of") {
			t.Errorf("warning %q", w)
		}
	}
	if len(d.Warnings()) != 4 {
		t.Errorf("%d warnings, want 4", len(d.Warnings()))
	}
}

func TestCompressedFileComesFirst(t *testing.T) {
	files := datatest.OwnSet()
	files["train-labels-idx1-ubyte.gz"] = datatest.Gzip(datatest.Labels(9, 9, 9, 9, 9))
	d, err := Load(datatest.Write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Labels[0] != 9 {
		t.Errorf("labels %v, want those of the compressed file", d.Train.Labels)
	}
}

func TestLoadErrors(t *testing.T) {
	own := datatest.OwnSet()
	replaced := func(name string, b []byte) map[string][]byte {
		files := maps.Clone(own)
		files[name] = b
		return files
	}
	swapped := maps.Clone(own)
	swapped["train-images-idx3-ubyte"] = own["train-labels-idx1-ubyte"]
	swapped["train-labels-idx1-ubyte"] = own["train-images-idx3-ubyte"]
	for _, test := range []struct {
		name  string
		files map[string][]byte
		file  int // index in the catalog
		want  string
	}{
		{"swapped", swapped, 0, "byte 0: a file of labels, expected one of images: are the two swapped?"},
		{"more images than labels", replaced("t10k-images-idx3-ubyte", own["train-images-idx3-ubyte"]), 2,
			"byte 4: holds 5 images, but there are 2 labels"},
		{"fewer images than labels", replaced("t10k-labels-idx1-ubyte", own["train-labels-idx1-ubyte"]), 2,
			"byte 4: holds 2 images, but there are 5 labels"},
		{"truncated", replaced("t10k-images-idx3-ubyte", own["t10k-images-idx3-ubyte"][:900]), 2, "byte 900: the file ends"},
		{"empty", replaced("train-labels-idx1-ubyte", nil), 1, "byte 0: the file is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := datatest.Write(t, test.files)
			_, err := Load(dir)
			datatest.WantError(t, err, filepath.Join(dir, known.FashionMNIST.Files[test.file].Name)+": "+test.want)
			if strings.Contains(err.Error(), "Fashion-MNIST") {
				t.Errorf("the user's own data is to be replaced: %v", err)
			}
			status, err := Verify(dir)
			if err != nil {
				t.Fatal(err)
			}
			if s := status[test.file]; s.State != known.Damaged || s.Err == nil {
				t.Errorf("status %+v, want damaged", s)
			}
		})
	}
}

func TestFilesThatAreNone(t *testing.T) {
	const name = "t10k-labels-idx1-ubyte"
	for _, test := range []struct {
		name  string
		make  func(path string) error
		state known.State
		want  string
	}{
		{"missing", func(string) error { return nil }, known.Missing,
			"holds neither t10k-labels-idx1-ubyte.gz nor t10k-labels-idx1-ubyte"},
		{"directory", func(path string) error { return os.Mkdir(path, 0o755) }, known.Damaged,
			name + ": a directory, expected a file"},
		{"link to itself", func(path string) error { return os.Symlink(name, path) }, known.Damaged,
			name + ": too many levels of symbolic links"},
		{"device", func(path string) error { return os.Symlink(os.DevNull, path) }, known.Damaged, name +
			": not a regular file"},
		{"unreadable", func(path string) error { return os.WriteFile(path, datatest.Labels(1, 2), 0) }, known.Damaged,
			name + ": permission denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && test.name != "missing" && test.name != "directory" {
				t.Skip("links and permissions of Unix")
			}
			if test.name == "unreadable" && os.Geteuid() == 0 {
				t.Skip("root may read every file")
			}
			files := datatest.OwnSet()
			delete(files, name)
			dir := datatest.Write(t, files)
			if err := test.make(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir)
			datatest.WantError(t, err, dir, test.want)
			status, err := Verify(dir)
			if err != nil {
				t.Fatal(err)
			}
			if s := status[3]; s.State != test.state || s.Err == nil {
				t.Errorf("status %+v, want %v", s, test.state)
			}
		})
	}
}

func TestDirectoriesThatAreNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		file:             file + ": not a directory",
		file + "-absent": "there is no directory " + file + "-absent",
	} {
		_, err := Load(dir)
		datatest.WantError(t, err, want)
		_, err = Verify(dir)
		datatest.WantError(t, err, want)
	}
}
