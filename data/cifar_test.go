package data

import (
	"bytes"
	"crnn/tests/datatest"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// cifarFile makes a file of CIFAR: each item is the labels of an image. Its pixels count up from the
// fine label.
func cifarFile(items ...[]uint8) []byte {
	var b []byte
	for _, labels := range items {
		b = append(b, labels...)
		for i := range 3072 {
			b = append(b, labels[len(labels)-1]+uint8(i)+uint8(i/1024))
		}
	}
	return b
}

func cifar10Files() map[string][]byte {
	files := map[string][]byte{"test_batch.bin": cifarFile([]uint8{9}, []uint8{0}, []uint8{3})}
	for i := range 5 {
		files[fmt.Sprintf("data_batch_%d.bin", i+1)] = cifarFile([]uint8{uint8(i)}, []uint8{uint8(i + 1)})
	}
	return files
}

const cifar10Names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n" // as in the archive

func TestCIFAR10(t *testing.T) {
	for _, below := range []string{".", "cifar-10-batches-bin"} {
		for _, named := range []bool{false, true} {
			root := t.TempDir()
			files := cifar10Files()
			want := imageset.Numbered(10)
			if named {
				files["batches.meta.txt"] = []byte(cifar10Names)
				want = strings.Fields(cifar10Names)
			}
			dir := filepath.Join(root, below)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, b := range files {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			d, err := Load(root)
			if err != nil {
				t.Fatal(err)
			}
			if d.Form != FormCIFAR || d.Train.Size() != "32x32x3" || d.Train.Count != 10 || d.Test.Count != 3 {
				t.Errorf("%s: %s, %d and %d images", d.Form, d.Train.Size(), d.Train.Count, d.Test.Count)
			}
			if !cmp.Equal(d.Train.Labels, []uint8{0, 1, 1, 2, 2, 3, 3, 4, 4, 5}) || !cmp.Equal(d.Test.Labels, []uint8{9, 0,
				3}) ||
				!cmp.Equal(d.Train.Classes, want) {
				t.Errorf("labels %v and %v, classes %q", d.Train.Labels, d.Test.Labels, d.Train.Classes)
			}
			for _, s := range []*Set{d.Train, d.Test} {
				for i, label := range s.Labels {
					if !bytes.Equal(s.Image(i), cifarFile([]uint8{label})[1:]) {
						t.Errorf("image %d is another", i)
					}
				}
			}
			if err := Check(root); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCIFAR100(t *testing.T) {
	dir := datatest.Write(t, map[string][]byte{
		"train.bin": cifarFile([]uint8{19, 99}, []uint8{3, 0}), "test.bin": cifarFile([]uint8{1, 50}),
		"fine_label_names.txt": []byte(strings.Join(imageset.Numbered(101)[1:], " fish\n")),
	})
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(d.Train.Labels, []uint8{99, 0}) || !cmp.Equal(d.Test.Labels, []uint8{50}) ||
		d.Train.Classes[0] != "1 fish" ||
		!bytes.Equal(d.Test.Images, cifarFile([]uint8{1, 50})[2:]) {
		t.Errorf("labels %v and %v, class %q", d.Train.Labels, d.Test.Labels, d.Train.Classes[0])
	}
}

func TestCIFARErrors(t *testing.T) {
	named := cifar10Files()
	named["batches.meta.txt"] = []byte(cifar10Names)
	replaced := func(name string, b []byte) map[string][]byte {
		files := maps.Clone(named)
		files[name] = b
		if b == nil {
			delete(files, name)
		}
		return files
	}
	unnamed := replaced("batches.meta.txt", nil)
	unnamed["data_batch_2.bin"] = cifarFile([]uint8{77})
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  string // behind the directory
	}{
		{"missing", replaced("data_batch_3.bin", nil),
			"/data_batch_3.bin is missing, expected with the other files of CIFAR-10"},
		{"missing test", replaced("test_batch.bin", nil), "/test_batch.bin is missing"},
		{"missing train", map[string][]byte{"test.bin": cifarFile([]uint8{1, 50})},
			"/train.bin is missing, expected with the other files of CIFAR-100"},
		{"cut", replaced("data_batch_3.bin", named["data_batch_3.bin"][:5000]),
			"/data_batch_3.bin: 5000 bytes, expected a multiple of 3073, the bytes per image of CIFAR-10: cut, or another " +
				"format; get it again"},
		{"empty", replaced("test_batch.bin", []byte{}), "/test_batch.bin: 0 bytes, expected a multiple of 3073"},
		{"label", replaced("data_batch_2.bin", cifarFile([]uint8{3}, []uint8{4}, []uint8{200})),
			"/data_batch_2.bin: byte 6146: image 2: label 200, but "},
		{"label without names", unnamed,
			"/data_batch_2.bin: byte 0: image 0: label 77, but CIFAR-10 names 10 classes: expected labels from 0 to 9"},
		{"names", replaced("batches.meta.txt", []byte("cat\ncat\n")),
			"/batches.meta.txt: line 2 names class \"cat\" as line 1 does"},
		{"Python", map[string][]byte{"data_batch_1": nil, "batches.meta": nil},
			": the form of CIFAR-10 for Python, which is not read: expected the binary one, the contents of " +
				"cifar-10-binary.tar.gz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := datatest.Write(t, test.files)
			_, err := Load(dir)
			datatest.WantError(t, err, filepath.ToSlash(dir)+test.want)
		})
	}
}

// The files of a folder of pictures do not make it one of CIFAR.
func TestFolderOfPicturesIsNotCIFAR(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"meta", "test.bin"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if c, found, err := findCIFAR(dir); found || err != nil {
		t.Errorf("%+v, error %v", c, err)
	}
}
