package data

import (
	"bytes"
	"crnn/tests/datatest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// setFiles are the four files of a set of images of 2 x 3 pixels, by names whose train, t10k, images and
// idx3 are replaced by what comes in pairs.
func setFiles(train, test []uint8, replace ...string) map[string][]byte {
	files := map[string][]byte{}
	for i, labels := range [][]uint8{train, test} {
		part := []string{"train", "t10k"}[i]
		pixels := datatest.Noise(6*len(labels), uint64(i))
		files[part+"-images-idx3-ubyte"] = datatest.IDX(0x803, []uint32{uint32(len(labels)), 2, 3}, pixels)
		files[part+"-labels-idx1-ubyte"] = datatest.Labels(labels...)
	}
	named := map[string][]byte{}
	for name, b := range files {
		name = strings.NewReplacer(replace...).Replace(name)
		if strings.HasSuffix(name, ".gz") {
			b = datatest.Gzip(b)
		}
		named[name] = b
	}
	return named
}

func TestNamesOfIDXFiles(t *testing.T) {
	for _, replace := range [][]string{
		{},
		{"-idx3", ".idx3", "-idx1", ".idx1"},
		{"t10k", "test"},
		{"train", "own-set-train", "t10k", "own-set-test", "ubyte", "ubyte.gz"},
		{"train", "emnist-x-train", "t10k", "emnist-x-t10k"},
	} {
		files := setFiles([]uint8{0, 1, 2}, []uint8{2, 0}, replace...)
		files["notes.txt"] = nil
		dir := datatest.Write(t, files)
		d, err := Load(dir)
		if err != nil {
			t.Errorf("%v: %v", datatest.List(t, dir), err)
			continue
		}
		if !cmp.Equal(d.Train.Labels, []uint8{0, 1, 2}) || !cmp.Equal(d.Test.Labels, []uint8{2, 0}) || d.Dir != dir {
			t.Errorf("%v: labels %v and %v in %s", datatest.List(t, dir), d.Train.Labels, d.Test.Labels, d.Dir)
		}
		if err := Check(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestIDXFilesBelowRaw(t *testing.T) {
	for _, below := range []string{"raw", filepath.Join("MNIST", "raw"), filepath.Join("a[b", "raw")} {
		root := t.TempDir()
		dir := filepath.Join(root, below)
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(datatest.Write(t, setFiles([]uint8{0, 1}, []uint8{1})), dir); err != nil {
			t.Fatal(err)
		}
		if d, err := Load(root); err != nil || d.Dir != dir {
			t.Errorf("%s: %v, error %v", below, d, err)
		}
		// The form is found, and what is missing, too.
		if err := os.Remove(filepath.Join(dir, "t10k-labels-idx1-ubyte")); err != nil {
			t.Fatal(err)
		}
		_, err := Load(root)
		datatest.WantError(t, err, dir+" holds neither t10k-labels-idx1-ubyte.gz nor t10k-labels-idx1-ubyte")
		datatest.WantError(t, Check(root), dir+" holds neither")
	}
}

func TestSeveralSetsInOneFolder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "raw")
	if err := os.Rename(datatest.Write(t, setFiles([]uint8{0, 1}, []uint8{1}, "train", "emnist-letters-train", "t10k",
		"emnist-letters-test")), dir); err != nil {
		t.Fatal(err)
	}
	add := func(files map[string][]byte) {
		t.Helper()
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(path string, classes int) {
		t.Helper()
		if d, err := Load(path); err != nil || len(d.Train.Classes) != classes {
			t.Errorf("%s: %+v, error %v; want %d classes", path, d, err, classes)
		}
	}
	// A part of another set does not count.
	add(map[string][]byte{"digits-train-labels-idx1-ubyte": datatest.Labels(1, 2)})
	want(root, 2)
	add(setFiles([]uint8{0, 3}, []uint8{1}, "train", "digits-train", "t10k", "digits-test"))
	_, err := Load(root)
	datatest.WantError(t, err, dir+" holds 2 data sets (digits, emnist-letters): name one of them, as in --data "+
		filepath.Join(dir, "emnist-letters"))
	want(filepath.Join(dir, "digits"), 4)
	want(filepath.Join(dir, "emnist-letters"), 2)
	_, err = Load(filepath.Join(dir, "digit"))
	datatest.WantError(t, err, filepath.Join(dir,
		"digit")+": there is no such data set, but "+dir+" holds 2 data sets (digits, ")
	if err := Check(filepath.Join(dir, "digits")); err != nil {
		t.Error(err)
	}
	// What the wrong file of the chosen set is called, the error says.
	if err := os.Remove(filepath.Join(dir, "digits-test-images-idx3-ubyte")); err != nil {
		t.Fatal(err)
	}
	_, err = Load(filepath.Join(dir, "digits"))
	datatest.WantError(t, err, dir+" holds neither digits-test-images-idx3-ubyte.gz nor digits-test-images-idx3-ubyte")
	// Without a prefix there is one more, which is meant.
	add(setFiles([]uint8{0, 5}, []uint8{1}))
	want(root, 6)
}

func TestOneFileOfASet(t *testing.T) {
	dir := datatest.Write(t, setFiles([]uint8{0, 1}, []uint8{1}, "ubyte", "ubyte.gz"))
	_, err := Load(filepath.Join(dir, "t10k-images-idx3-ubyte.gz"))
	datatest.WantError(t, err,
		"t10k-images-idx3-ubyte.gz: one file of a data set, expected the directory that holds all four: "+dir)
	archive := filepath.Join(dir, "mnist.zip")
	if err := os.WriteFile(archive, []byte("PK\x03\x04..."), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Load(archive)
	datatest.WantError(t, err,
		archive+": not a directory, expected the one that holds the data set; it is an archive: unpack it first")
}

func TestEMNISTIsTurned(t *testing.T) {
	pixels := []uint8{1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16} // two images of 2 x 3
	files := setFiles([]uint8{2, 1}, []uint8{26}, "train", "emnist-letters-train", "t10k", "emnist-letters-test")
	files["emnist-letters-train-images-idx3-ubyte"] = datatest.IDX(0x803, []uint32{2, 2, 3}, pixels)
	mapping := ""
	var letters []string
	for c := range 26 {
		letters = append(letters, string(rune('A'+c)))
		mapping += strings.Join([]string{imageset.Numbered(27)[1+c], imageset.Numbered(100)[65+c],
			imageset.Numbered(200)[97+c]}, " ") + "\n"
	}
	files["emnist-letters-mapping.txt"] = []byte(mapping)
	dir := datatest.Write(t, files)
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint8{1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16}, d.Train.Images); diff != "" ||
		d.Train.Size() != "3x2x1" ||
		d.Test.Size() != "3x2x1" {
		t.Errorf("%s (-want +got):\n%s", d.Train.Size(), diff)
	}
	if !cmp.Equal(d.Train.Classes, letters) || !cmp.Equal(d.Train.Labels, []uint8{1, 0}) || d.Test.Labels[0] != 25 {
		t.Errorf("classes %q, labels %v and %v", d.Train.Classes, d.Train.Labels, d.Test.Labels)
	}
	want := []string{
		dir + ": labels are counted from 1; 1 is the first class",
		dir + ": EMNIST stores its images with rows and columns exchanged; they are turned upright",
	}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Error(diff)
	}
}

func TestIDXLabelWithoutAName(t *testing.T) {
	for suffix, place := range map[string]string{"": "byte 10: image 2", ".gz": "byte 10 (decompressed): image 2"} {
		files := setFiles([]uint8{0, 1}, []uint8{1, 0, 3}, "ubyte", "ubyte"+suffix)
		files[imageset.ClassesFile] = []byte("cat\ndog\n")
		dir := datatest.Write(t, files)
		_, err := Load(dir)
		datatest.WantError(t, err, filepath.Join(dir, "t10k-labels-idx1-ubyte"+suffix)+": "+place+": label 3, but "+
			filepath.Join(dir, imageset.ClassesFile)+" names 2 classes: expected labels from 0 to 1")
	}
	files := setFiles([]uint8{0, 1}, []uint8{1})
	files[imageset.ClassesFile] = []byte("cat\n\ndog\n")
	dir := datatest.Write(t, files)
	_, err := Load(dir)
	datatest.WantError(t, err, filepath.Join(dir, imageset.ClassesFile)+": line 2 is empty")
}

// One damaged label must not make many classes without a word.
func TestGapsInLabels(t *testing.T) {
	for _, c := range []struct {
		train, test []uint8
		want        string
	}{
		{[]uint8{0, 1, 2, 200, 3}, []uint8{1},
			"train-labels-idx1-ubyte: byte 11: image 3: label 200, but no image has a label " +
				"from 4 to 199: if it is wrong, mend it; a file classes.txt beside the data says how many classes there are"},
		{[]uint8{0, 1, 2}, []uint8{9},
			"t10k-labels-idx1-ubyte: byte 8: image 0: label 9, but no image has a label from 3 to 8"},
		{[]uint8{0, 1, 2, 6}, []uint8{1}, ""}, // three classes may have no image
		{[]uint8{1, 2, 3}, []uint8{1}, ""},
	} {
		d, err := Load(datatest.Write(t, setFiles(c.train, c.test)))
		if err != nil {
			t.Fatal(err)
		}
		switch w := d.Warnings(); {
		case c.want == "" && len(w) > 0:
			t.Errorf("labels %v: %q", c.train, w)
		case c.want != "" && (len(w) != 1 || !strings.Contains(w[0], c.want)):
			t.Errorf("labels %v: %q, want %q", c.train, w, c.want)
		}
	}
	files := setFiles([]uint8{0, 1, 200}, []uint8{1})
	files[imageset.ClassesFile] = []byte(strings.Join(imageset.Numbered(201), "\n"))
	if d, err := Load(datatest.Write(t, files)); err != nil || len(d.Warnings()) > 0 {
		t.Errorf("%q, error %v", d.Warnings(), err)
	}
}

func TestColouredIDX(t *testing.T) {
	files := setFiles([]uint8{0, 1}, []uint8{1})
	rgb := []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	files["train-images-idx3-ubyte"] = datatest.IDX(0x804, []uint32{2, 1, 2, 3}, rgb) // channels last
	files["t10k-images-idx3-ubyte"] = datatest.IDX(0x804, []uint32{1, 3, 1, 2}, []uint8{1, 2, 3, 4, 5, 6})
	d, err := Load(datatest.Write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Size() != "1x2x3" || !cmp.Equal(d.Train.Images, []uint8{1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12}) ||
		!cmp.Equal(d.Test.Images, []uint8{1, 2, 3, 4, 5, 6}) {
		t.Errorf("%s: %v and %v", d.Train.Size(), d.Train.Images, d.Test.Images)
	}
	if d.Train.Pixels.Invert {
		t.Error("pictures in colours are inverted")
	}
}

// Parts of different sizes become one size where the user gives it.
func TestPartsOfDifferentSizes(t *testing.T) {
	files := setFiles([]uint8{0, 1}, []uint8{1})
	files["t10k-images-idx3-ubyte"] = datatest.IDX(0x803, []uint32{1, 3, 2}, datatest.Noise(6, 5))
	dir := datatest.Write(t, files)
	path := func(name string) string { return filepath.Join(dir, name) }
	_, err := Load(dir)
	datatest.WantError(t, err,
		path("t10k-images-idx3-ubyte")+": images of 3x2x1, but those in "+path("train-images-idx3-ubyte")+
			" are 2x3x1: expected one size; pass --image-size HxW, to which all are scaled")
	d, err := Read(t.Context(), dir, Options{Height: 4, Width: 4})
	if err != nil || d.Train.Size() != "4x4x1" || d.Test.Size() != "4x4x1" {
		t.Errorf("%+v, error %v", d, err)
	}
	want := []string{dir + ": images of 2x3 are scaled to 4x4", dir + ": images of 3x2 are scaled to 4x4"}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Error(diff)
	}

	files["t10k-images-idx3-ubyte"] = datatest.IDX(0x804, []uint32{1, 2, 3, 3}, datatest.Noise(18, 5))
	dir = datatest.Write(t, files)
	_, err = Load(dir)
	datatest.WantError(t, err, path("t10k-images-idx3-ubyte")+": images of 2x3x3, but those in "+
		path("train-images-idx3-ubyte")+" are 2x3x1: expected one size; pass --grayscale")
	if d, err := Read(t.Context(), dir, Options{Gray: true}); err != nil || d.Test.Size() != "2x3x1" {
		t.Errorf("%+v, error %v", d, err)
	}
}

// The first images of Fashion-MNIST, which people use for trying, have its classes.
func TestFrontOfFashionMNIST(t *testing.T) {
	whole, err := Load(fashionDir(t))
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	dir := datatest.Write(t, map[string][]byte{
		"train-images-idx3-ubyte": datatest.Images(whole.Train.Images[:n*datatest.ImageBytes]),
		"train-labels-idx1-ubyte": datatest.Labels(whole.Train.Labels[:n]...),
		"t10k-images-idx3-ubyte":  datatest.Images(whole.Test.Images[:n*datatest.ImageBytes]),
		"t10k-labels-idx1-ubyte":  datatest.Labels(whole.Test.Labels[:n]...),
	})
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(FashionMNIST(), d.Train.Description); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(d.Warnings()) > 0 || len(d.Notes) > 0 {
		t.Errorf("warnings %q, notes %q", d.Warnings(), d.Notes)
	}
}

// Images that lie class by class are judged by all classes.
func TestOnBlack(t *testing.T) {
	const n = 5000
	s := &Set{Description: imageset.Description{Height: 3, Width: 3, Channels: 1}, Count: n, Images: make([]uint8, 9*n)}
	if !s.onBlack() {
		t.Error("black images are not on black")
	}
	copy(s.Images[9*(n-100):], bytes.Repeat([]byte{255}, 9*100)) // the last 2 %
	if s.onBlack() {
		t.Error("2 % white images are on black")
	}
	copy(s.Images[9*(n-100):], make([]byte, 9*60)) // leaves 0.8 %
	if !s.onBlack() {
		t.Error("0.8 % white images make the rest not on black")
	}
	if !slices.Contains(s.Images, 255) {
		t.Error("no white image is left")
	}
}
