package data

import (
	"crnn/tests/datatest"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLayoutsOfFolders(t *testing.T) {
	datatest.SetCache(t)
	for _, test := range []struct {
		name  string
		paths []string
		want  string
		notes []string // ends
	}{
		{"classes", some(4, "b", "a"), `["a" "b"] [[2 2] [0 0] [2 2]]`,
			[]string{": no folder test with pictures: 4 of 8 pictures are set apart for the test"}},
		{"train and test", some(2, "train/a", "train/b", "test/a", "test/b"), `["a" "b"] [[2 2] [0 0] [2 2]]`, nil},
		{"train, valid and test", some(1, "Train/a", "Train/b", "VALID/a", "VALID/b", "Testing/a", "Testing/b"),
			`["a" "b"] [[1 1] [1 1] [1 1]]`, nil},
		{"train and val", some(4, "train/a", "train/b", "val/a", "val/b"), `["a" "b"] [[2 2] [4 4] [2 2]]`,
			[]string{": no folder test with pictures: 4 of 8 pictures are set apart for the test"}},
		{"wrapped", some(4, "data/a", "data/b"), `["a" "b"] [[2 2] [0 0] [2 2]]`,
			[]string{"4 of 8 pictures are set apart for the test"}},
		{"wrapped twice", some(1, "x/y/training/a", "x/y/training/b", "x/y/test/a", "x/y/test/b"),
			`["a" "b"] [[1 1] [0 0] [1 1]]`, nil},
		{"only train", some(4, "train/a", "train/b"), `["a" "b"] [[2 2] [0 0] [2 2]]`,
			[]string{"4 of 8 pictures are set apart for the test"}},
		{"subfolders of classes", []string{"a/x/1.png", "a/y/z/1.png", "b/1.png", "b/x/2.png"},
			`["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{"2 of 4 pictures are set apart for the test"}},
		{"classes beside test", some(2, "a", "b", "test/a", "test/b"), `["a" "b"] [[2 2] [0 0] [2 2]]`, nil},
		{"classes beside val and test", some(2, "a", "b", "val/a", "val/b", "test/b", "test/a"),
			`["a" "b"] [[2 2] [2 2] [2 2]]`, nil},
		{"classes called train and test", some(2, "bus", "train", "test"), `["bus" "test" "train"] [[1 1 1] [0 0 0] [1 1 1]]`,
			[]string{"3 of 6 pictures are set apart for the test"}},
		{"other folders", append(some(1, "train/a", "train/b", "test/a", "test/b"), "labels/1.txt", "raw/1.png"),
			`["a" "b"] [[1 1] [0 0] [1 1]]`, []string{`: the folders beside train are left out: "labels", "raw"`}},
		{"a test without classes", append(some(2, "train/a", "train/b"), "test/1.png"), `["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{"test: pictures without folders for their classes, left out",
				"2 of 4 pictures are set apart for the test"}},
		{"a class missing in test and val", some(2, "train/a", "train/b", "train/c", "test/a", "test/c", "val/c"),
			`["a" "b" "c"] [[2 2 2] [0 0 2] [2 0 2]]`,
			[]string{`: no picture for the test of class "b"`, `: no picture for the validation of 2 classes ("a", "b")`}},
		{"few pictures", append(some(4, "a"), "b/1.png"), `["a" "b"] [[2 1] [0 0] [2 0]]`,
			[]string{"2 of 5 pictures are set apart for the test", `: no picture for the test of class "b"`}},
		{"pictures beside classes", append(some(2, "a", "b"), "1.png"), `["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{": the pictures beside the folders of the classes are left out",
				"2 of 4 pictures are set apart for the test"}},
		{"files of systems", append(some(2, "a", "b"), ".DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/._00.png",
			"__MACOSX/a/1.png",
			".git/x", "@eaDir/a/1.png", "b/@eaDir/00.png"), `["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{"2 of 4 pictures are set apart for the test"}},
		{"files that are no pictures", append(some(2, "a", "b"), "a/1.txt", "a/2.heic", "b/3.HEIC", "b/notes"),
			`["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{": HEIC files (2) are not read and left out: convert them to PNG or JPEG",
				": files that are no pictures are left out: 2, such as a/1.txt", "2 of 4 pictures are set apart for the test"}},
		{"a table beside the classes", append(some(2, "a", "b"), "train.csv", "test.csv"), `["a" "b"] [[1 1] [0 0] [1 1]]`,
			[]string{"2 of 4 pictures are set apart for the test"}},
		{"odd names", some(2, " a ", "Schäfer, \"rot\"", "'b' & c", "猫"),
			`[" a " "'b' & c" "Schäfer, \"rot\"" "猫"] [[1 1 1 1] [0 0 0 0] [1 1 1 1]]`,
			[]string{"4 of 8 pictures are set apart for the test"}},
		{"letters as one character and as two", some(2, "train/\u00e9cole", "train/a", "test/e\u0301cole", "test/a"),
			"[\"a\" \"\u00e9cole\"] [[2 2] [0 0] [2 2]]", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := pictures(t, test.paths...)
			d, err := halves(t, root)
			if err != nil {
				t.Fatal(err)
			}
			if got := shape(d); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if len(d.Notes) != len(test.notes) {
				t.Fatalf("notes %q, want %q", d.Notes, test.notes)
			}
			for i, want := range test.notes {
				if !strings.HasPrefix(d.Notes[i], root) || !strings.HasSuffix(d.Notes[i], want) {
					t.Errorf("note %q, want one that ends in %q", d.Notes[i], want)
				}
			}
			if d.Form != FormFolder || !d.Stratified || !strings.HasPrefix(d.Dir, root) {
				t.Errorf("form %s, directory %s", d.Form, d.Dir)
			}
			if err := Check(root); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFoldersThatAreNone(t *testing.T) {
	datatest.SetCache(t)
	many := make([]string, 257)
	for i := range many {
		many[i] = fmt.Sprintf("class %03d/", i)
	}
	for _, test := range []struct {
		name  string
		paths []string
		want  string // behind the folder
	}{
		{"empty", nil,
			" holds no data set: expected four IDX files (train-images-idx3-ubyte …), a subfolder of pictures for each class"},
		{"pictures only", []string{"1.png", "2.png"},
			": pictures without classes: expected a subfolder of pictures for each class"},
		{"pictures in train", []string{"train/1.png", "test/1.png"},
			"/train: pictures without classes: expected a subfolder"},
		{"one class", []string{"a/1.png"}, ": a single class (a), expected a subfolder for each of at least two"},
		{"one class in train", []string{"train/a/1.png", "test/a/1.png"}, ": a single class (a), expected"},
		{"empty parts", []string{"train/", "test/"},
			": holds only empty folders, expected pictures in a subfolder for each class"},
		{"no pictures", []string{"a/1.txt", "b/"}, ": the folders of the classes hold no picture"},
		{"HEIC only", []string{"a/1.heic", "b/1.heic"},
			": the folders of the classes hold no picture (HEIC files are not read: convert them to PNG or JPEG)"},
		{"an empty class", append(some(2, "a", "b"), "c/"),
			`: no picture to train with of class "c": add some, or remove the folder`},
		{"a class of HEIC", append(some(2, "a", "b"), "c/1.heic"),
			`: no picture to train with of class "c" (HEIC files are not read: convert them to PNG or JPEG): add some`},
		{"classes in the test only", some(1, "train/a", "train/b", "test/a", "test/c", "val/d"),
			`: no picture to train with of 2 classes ("c", "d"): add some, or remove the folders`},
		{"two folders for validation", some(1, "train/a", "train/b", "val/a", "valid/a"),
			": holds both val and valid: expected one of them"},
		{"no train", some(1, "test/a", "test/b", "val/a", "val/b"),
			": holds test and val, but no pictures to train with: expected a folder train; to train with these, name "},
		{"many", many, ": 257 folders of classes (class 000, class 001 …), at most 256 are possible"},
		{"a few pictures", some(1, "a", "b"),
			": too few pictures to set some apart for the test: expected a folder test, or a larger --test-fraction"},
		{"a name with a line end", some(1, "a", "b\nc"),
			`: the folder of a class: the name "b\nc" holds the control character '\n': rename it`},
		{"a name that is not UTF-8", some(1, "a", "b\xffc"),
			`: the folder of a class: the name "b\xffc" is not UTF-8: rename it`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.HasPrefix(test.name, "a name") && runtime.GOOS != "linux" {
				t.Skip("file names of Linux")
			}
			root := pictures(t, test.paths...)
			_, err := Read(t.Context(), root, Options{TestFraction: 0.1})
			datatest.WantError(t, err, root+test.want)
		})
	}
	// 256 classes are possible.
	for i, name := range many[:256] {
		many[i] = name + "1.png"
	}
	root := pictures(t, append(many[:256], "class 000/2.png", "class 000/3.png")...)
	d, err := Read(t.Context(), root, Options{TestFraction: 0.1})
	if err != nil || len(d.Train.Classes) != 256 || d.Train.Count != 257 || d.Test.Count != 1 {
		t.Errorf("%v, error %v", d, err)
	}
}

func TestLinksInFolders(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links of Unix")
	}
	datatest.SetCache(t)
	root := pictures(t, append(some(2, "a", "b"), "a/deep/1.png")...)
	elsewhere := pictures(t, some(3, "c")...)
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(root, at)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(elsewhere, "c"), "c")             // a class
	link(filepath.Join(elsewhere, "c"), "b/more")        // a folder below a class: 3 pictures
	link(filepath.Join(elsewhere, "c/00.png"), "b/zero") // no name of a picture
	link(filepath.Join(elsewhere, "c/00.png"), "b/zero.png")
	link(root, "a/loop")    // around everything
	link("..", "a/deep/up") // a loop within the class
	link("nowhere", "d")    // a class, perhaps
	link("nowhere", "a/x.png")
	link("x.png", "b/x.png") // to itself
	d, err := halves(t, root)
	if err != nil {
		t.Fatal(err)
	}
	if got := shape(d); got != `["a" "b" "c"] [[1 3 1] [0 0 0] [2 3 2]]` {
		t.Error(got)
	}
	want := []string{
		root + "/a/deep/up: a link to a folder above it, left out",
		root + "/a/loop: a link to a folder above it, left out",
		root + ": links that lead nowhere are left out: 3, such as " + root + "/d: no such file or directory",
		root + ": files that are no pictures are left out: 1, such as b/zero",
		root + ": no folder test with pictures: 7 of 12 pictures are set apart for the test",
	}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A link from a class to the folders above the classes would make all pictures the class's.
func TestLinksAboveTheClasses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links of Unix")
	}
	datatest.SetCache(t)
	for _, to := range []string{".", "train"} {
		root := pictures(t, some(1, "train/a", "train/b", "test/a", "test/b")...)
		if err := os.Symlink(filepath.Join(root, to), filepath.Join(root, "train", "a", "link")); err != nil {
			t.Fatal(err)
		}
		d, err := halves(t, root)
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(d); got != `["a" "b"] [[1 1] [0 0] [1 1]]` || len(d.Notes) != 1 ||
			d.Notes[0] != filepath.Join(root, "train", "a", "link")+": a link to a folder above it, left out" {
			t.Errorf("a link to %s: %s, notes %q", to, got, d.Notes)
		}
	}
}

func TestUnreadableFolders(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root may read every folder")
	}
	datatest.SetCache(t)
	root := pictures(t, some(2, "a", "b")...)
	closed := filepath.Join(root, "b")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(closed, 0o755)
	_, err := halves(t, root)
	datatest.WantError(t, err, closed+": permission denied")
}
