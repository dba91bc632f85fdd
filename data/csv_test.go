package data

import (
	"bytes"
	"crnn/tests/datatest"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// readCSVText reads CSV from text.
func readCSVText(t *testing.T, text string, o Options) (*Set, error) {
	t.Helper()
	return decodeCSV(t.Context(), strings.NewReader(text), int64(len(text)), 0, o)
}

func TestCSV(t *testing.T) {
	images := []uint8{1, 2, 3, 4, 50, 60, 70, 255}
	labels := []uint8{7, 0}
	for name, text := range map[string]string{
		"plain":             "7,1,2,3,4\n0,50,60,70,255\n",
		"no line end":       "7,1,2,3,4\n0,50,60,70,255",
		"CRLF":              "7,1,2,3,4\r\n0,50,60,70,255\r\n",
		"header":            "label,pixel0,pixel1,pixel2,pixel3\n7,1,2,3,4\n0,50,60,70,255\n",
		"BOM":               "\uFEFF7,1,2,3,4\n0,50,60,70,255\n",
		"BOM, header":       "\uFEFFlabel,a,b,c,d\n7,1,2,3,4\n0,50,60,70,255\n",
		"BOM, quotes":       "\uFEFF\"label\",\"a\",\"b\",\"c\",\"d\"\n\"7\",\"1\",2,3,4\n0,50,60,70,255\n",
		"spaces":            " 7, 1, 2 ,3,4\n0,\t50,60,70,255 \n",
		"empty lines":       "\n7,1,2,3,4\n\n0,50,60,70,255\n\n",
		"integral floats":   "7.0,1.0,2,3,4e0\n0,50,60.00,70,255\n",
		"leading zeros":     "007,001,2,3,4\n0,0050,60,70,255\n",
		"pandas' columns":   "0,1,2,3,4\n7,1,2,3,4\n0,50,60,70,255\n",
		"labels at the end": "a,b,c,d,Class\n1,2,3,4,7\n50,60,70,255,0\n",
		"labels within":     "a,b, label ,c,d\n1,2,7,3,4\n50,60,0,70,255\n",
	} {
		s, err := readCSVText(t, text, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Count != 2 || s.Size() != "2x2x1" || !cmp.Equal(s.Images, images) || !cmp.Equal(s.Labels, labels) {
			t.Errorf("%s: %s %v, labels %v", name, s.Size(), s.Images, s.Labels)
		}
	}
}

func TestCSVErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                "holds no image, expected lines of a label and its pixels",
		"label,a,b,c,d\n": "holds no image",
		"7\n":             "a single column, expected a label and then the pixels, separated by commas",
		"7;1;2;3;4\n":     "a single column",
		"7,1,2,3\n": "3 columns beside the label are no square image: expected height times width " +
			"pixels; pass --image-size HxW",
		"7,1,2,3,4\n0,1,2,3\n":           "line 2: 4 columns, expected 5 as in the lines before",
		"l,a,b,c,d\n7,1,2,3,4\n0,1,2\n":  "line 3: 3 columns, expected 5",
		"7,1,2,3,256\n":                  `line 1, column 5 is "256", expected a pixel from 0 to 255`,
		"7,1,2,3,-1\n":                   `line 1, column 5 is "-1", expected a pixel`,
		"7,1,2,0.5,1\n":                  `line 1, column 4 is "0.5", expected a pixel`,
		"7,1,2,NaN,1\n":                  `line 1, column 4 is "NaN", expected a pixel`,
		"7,1,2,,1\n":                     `line 1, column 4 is "", expected a pixel`,
		"\n\n7,1,2,x,1\n":                `line 3, column 4 is "x", expected a pixel`,
		"l,a,b,c,d\nA,1,2,3,1\n":         `line 2, column 1 is "A", expected a label from 0 to 255`,
		"a,b,c,d,y\n1,2,3,4,300\n":       `line 2, column 5 is "300", expected a label`,
		"a,y,c,d,label\n1,2,3,4,300\n":   `line 1: columns 2 and 5 are both called as a label ("y", "label"), expected one`,
		"7,1,\"2,3,4\n":                  `line 1: extraneous or missing " in quoted-field`,
		"7,1,2,3,\x00\n":                 `line 1, column 5 is "\x00", expected a pixel`,
		",1,2,3,4\n":                     `line 1, column 1 is "", expected a label`,
		"7,1,2,3,18446744073709551617\n": `line 1, column 5 is "18446744073709551617", expected a pixel`,
	} {
		_, err := readCSVText(t, text, Options{})
		datatest.WantError(t, err, want)
		if err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %q, want it to begin with %q", text, err, want)
		}
	}
}

func TestSizeOfCSV(t *testing.T) {
	line := "1," + strings.TrimSuffix(strings.Repeat("2,", 6), ",") + "\n"
	s, err := readCSVText(t, line, Options{Height: 2, Width: 3})
	if err != nil || s.Size() != "2x3x1" {
		t.Errorf("%+v, error %v", s, err)
	}
	// 16 pixels are 4x4, unless another size with as many is asked for.
	line = "1," + strings.TrimSuffix(strings.Repeat("2,", 16), ",") + "\n"
	for _, test := range []struct {
		o    Options
		want string
	}{{Options{}, "4x4x1"}, {Options{Height: 2, Width: 8}, "2x8x1"}, {Options{Height: 8, Width: 8}, "4x4x1"}} {
		if s, err := readCSVText(t, line, test.o); err != nil || s.Size() != test.want {
			t.Errorf("%+v: %+v, error %v, want %s", test.o, s, err, test.want)
		}
	}
}

// A file that is a single line, such as a binary one, must not fill the memory.
func TestLongLineOfCSV(t *testing.T) {
	read := 0
	file := io.MultiReader(strings.NewReader("1,2\n1,2\n"), readerFunc(func(p []byte) (int, error) {
		read += len(p)
		for i := range p {
			p[i] = '1'
		}
		return len(p), nil
	}))
	_, err := decodeCSV(t.Context(), file, 0, 0, Options{})
	datatest.WantError(t, err,
		fmt.Sprintf("a line of more than %d bytes, expected at most 16777216 pixels in a line", maxLine))
	if read > maxLine+1<<20 {
		t.Errorf("%d bytes were read", read)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCSVFiles(t *testing.T) {
	const train, test = "label,a,b,c,d\n1,2,3,4,5\n0,2,3,4,5\n", "2,9,8,7,6\n"
	for _, files := range [][2]string{
		{"fashion-mnist_train.csv", "fashion-mnist_test.csv"}, {"train.csv", "test.csv"}, {"x-train.csv", "x-test.csv"},
		{"[_train.csv", "[_test.csv"},
	} {
		dir := datatest.Write(t, map[string][]byte{files[0]: []byte(train), files[1]: []byte(test), "notes.txt": nil})
		for _, path := range []string{dir, filepath.Join(dir, files[0]), filepath.Join(dir, files[1])} {
			d, err := Load(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if d.Form != FormCSV || d.Train.Count != 2 || d.Test.Count != 1 || d.Test.Labels[0] != 2 ||
				!cmp.Equal(d.Train.Classes, imageset.Numbered(3)) || len(d.Notes) > 0 {
				t.Errorf("%s: %+v", path, d)
			}
			if err := Check(path); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(filepath.Join(dir, files[0])); err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(dir, files[0]) + " is missing, expected beside " + files[1]
		path := filepath.Join(dir, files[1])
		_, err := Load(path)
		datatest.WantError(t, err, want)
		datatest.WantError(t, Check(path), want)
	}
	dir := datatest.Write(t, map[string][]byte{
		"a_train.csv": []byte(train), "a_test.csv": []byte(test), "b_train.csv": []byte(train), "b_test.csv": []byte(test),
		"single.CSV": []byte(train),
	})
	_, err := Load(dir)
	datatest.WantError(t, err,
		dir+" holds 2 training sets in CSV (a_train.csv, b_train.csv …): name one of them, as in --data "+
			filepath.Join(dir, "a_train.csv"))
	if _, err := Load(filepath.Join(dir, "b_test.csv")); err != nil {
		t.Error(err)
	}
	_, err = Load(filepath.Join(dir, "single.CSV"))
	datatest.WantError(t, err, "single.CSV: no file of a test beside it, and too few images to set some apart")
}

// Without a test that has labels, a part of each class becomes the test: of any CSV file, and of the pair
// that Kaggle's competitions give.
func TestCSVWithoutATest(t *testing.T) {
	const side = 4 // holdsImages wants 16 pixels
	train := "label" + strings.Repeat(",pixel", side*side) + "\n"
	for i := range 40 {
		train += fmt.Sprintf("%d%s\n", i%4, strings.Repeat(fmt.Sprintf(",%d", i), side*side))
	}
	unlabelled := strings.Repeat(strings.TrimPrefix(strings.Repeat(",7", side*side), ",")+"\n", 3)
	for _, c := range []struct {
		files map[string]string
		path  string
		note  string
	}{
		{map[string]string{"digits.csv": train}, "", "digits.csv: no file of a test beside it: "},
		{map[string]string{"digits.csv": train, "other.csv": train}, "digits.csv",
			"digits.csv: no file of a test beside it: "},
		{map[string]string{"a_train.csv": train}, "", "a_train.csv: no file of a test beside it: "},
		{map[string]string{"train.csv": train, "test.csv": unlabelled, "sample_submission.csv": "ImageId,Label\n1,0\n"}, "",
			"train.csv: test.csv has no labels: "},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			put(t, filepath.Join(dir, name), []byte(text))
		}
		d, err := Load(filepath.Join(dir, c.path))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff([]string{filepath.Join(dir, c.note) + "4 of 40 images are set apart for the test"},
			d.Notes); diff != "" {
			t.Error(diff)
		}
		// Each image has its own value, from 0 to 39, whose class is the value modulo 4.
		var seen [40]int
		for _, s := range []*Set{d.Train, d.Test} {
			for i := range s.Count {
				value := s.Image(i)[0]
				seen[value]++
				if s.Labels[i] != value%4 || s.Image(i)[side*side-1] != value {
					t.Errorf("image %d has label %d", value, s.Labels[i])
				}
			}
		}
		if n := slices.Max(seen[:]); n != 1 || slices.Min(seen[:]) != 1 || d.Train.Count != 36 || !d.Stratified {
			t.Errorf("%d images to train with; images by value: %v", d.Train.Count, seen)
		}
		labels := slices.Sorted(slices.Values(d.Test.Labels))
		if diff := cmp.Diff([]uint8{0, 1, 2, 3}, labels); diff != "" {
			t.Errorf("labels of the test: %s", diff)
		}
	}
}

func TestCSVSet(t *testing.T) {
	dir := datatest.Write(t, map[string][]byte{
		"emnist-x-train.csv": []byte("1,1,2,3,4\n2,5,6,7,8\n"), "emnist-x-test.csv": []byte("2,9,8,7,6\n"),
		"emnist-x-mapping.txt": []byte("1 65 97\n2 66 98\n"),
	})
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(d.Train.Classes, []string{"A", "B"}) || !cmp.Equal(d.Train.Labels, []uint8{0, 1}) ||
		!cmp.Equal(d.Train.Images, []uint8{1, 3, 2, 4, 5, 7, 6, 8}) || len(d.Notes) != 2 {
		t.Errorf("classes %q, labels %v, images %v, notes %q", d.Train.Classes, d.Train.Labels, d.Train.Images, d.Notes)
	}

	for _, test := range []struct {
		name, train, test, classes, want string
	}{
		{"a test without labels, too few images", "0,1,2,3,4\n1,1,2,3,4\n0,1,2,3,4\n", "1,2,3,4\n", "",
			"train.csv: test.csv has no labels, and too few images to set some apart for the test: " +
				"expected a larger --test-fraction"},
		{"another size", "1,1,2,3,4\n0,1,2,3,4\n", "1,2\n", "",
			"test.csv: images of 1x1x1, but those in "},
		{"a label without a name", "1,1,2,3,4\n0,1,2,3,4\n", "1,1,2,3,4\n5,1,2,3,4\n", "cat\ndog\n",
			"test.csv: image 1: label 5, but "},
		{"a single class", "3,1,2,3,4\n", "3,1,2,3,4\n", "", ": all labels are 3: expected at least two classes"},
		{"a fault in the test", "1,1,2,3,4\n0,1,2,3,4\n", "1,1,2,3,4\n1,1,2,3,4,5\n", "",
			"test.csv: line 2: 6 columns, expected 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string][]byte{"train.csv": []byte(test.train), "test.csv": []byte(test.test)}
			if test.classes != "" {
				files[imageset.ClassesFile] = []byte(test.classes)
			}
			dir := datatest.Write(t, files)
			_, err := Load(dir)
			datatest.WantError(t, err, dir, test.want)
		})
	}
	dir = datatest.Write(t, map[string][]byte{"train.csv": []byte("1,1,2\n0,1,2\n"), "test.csv": []byte("1,1,2\n")})
	if d, err = Read(t.Context(), dir, Options{Height: 2, Width: 1}); err != nil || d.Train.Size() != "2x1x1" {
		t.Fatal(d, err)
	}
	if diff := cmp.Diff([]string{dir + ": lines of 2 pixels are taken as images of 2x1"}, d.Notes); diff != "" {
		t.Error(diff)
	}
}

// Fashion-MNIST as CSV is Fashion-MNIST.
func TestFashionMNISTAsCSV(t *testing.T) {
	whole, err := Load(fashionDir(t))
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	dir := datatest.Write(t, map[string][]byte{
		"fashion-mnist_train.csv": csvOf(whole.Train, n), "fashion-mnist_test.csv": csvOf(whole.Test, n),
	})
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Train.Images, whole.Train.Images[:n*datatest.ImageBytes]) || !bytes.Equal(d.Test.Labels,
		whole.Test.Labels[:n]) {
		t.Error("other images or labels")
	}
	if diff := cmp.Diff(FashionMNIST(), d.Test.Description); diff != "" {
		t.Error(diff)
	}
}

// csvOf writes the first n images of s.
func csvOf(s *Set, n int) []byte {
	b := []byte("label")
	for i := range s.Bytes() {
		b = fmt.Appendf(b, ",pixel%d", i+1)
	}
	for i := range n {
		b = fmt.Appendf(b, "\n%d", s.Labels[i])
		for _, v := range s.Image(i) {
			b = fmt.Appendf(b, ",%d", v)
		}
	}
	return append(b, '\n')
}

// BenchmarkCSV reads the lines of Fashion-MNIST's test set.
func BenchmarkCSV(b *testing.B) {
	whole, err := Load(fashionDir(b))
	if err != nil {
		b.Fatal(err)
	}
	file := csvOf(whole.Test, whole.Test.Count)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := decodeCSV(b.Context(), bytes.NewReader(file), int64(len(file)), 0, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"", "7,1,2,3,4\n", "label,a\n1,2\n", "\uFEFF\"label\",\"a\"\r\n\"1\",\"2\"\r\n", "1,2,3,4,5\n1,2\n",
		"1,\"2\n3\",3,4,5\n",
		"0,1,2,3,4\n1,1.0,2e0,0x1p-2,4\n", "a,b,y\n", "1,300\n", "y,y\n1,2", "1,2,3\n", ",\n",
	} {
		f.Add([]byte(text), 0, 0, 0)
		f.Add([]byte(text), 2, 1, 5)
	}
	f.Fuzz(func(t *testing.T, file []byte, height, width, pixels int) {
		o := Options{Height: height & 0xfff, Width: width & 0xfff}
		s, err := decodeCSV(t.Context(), bytes.NewReader(file), int64(len(file)), pixels, o)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of two lines: %q", err)
			}
			return
		}
		if s.Count < 1 || s.Height < 1 || s.Width < 1 || len(s.Labels) != s.Count || len(s.Images) != s.Count*s.Bytes() {
			t.Errorf("%d images of %s: %d labels, %d bytes", s.Count, s.Size(), len(s.Labels), len(s.Images))
		}
	})
}
