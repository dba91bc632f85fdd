package data

import (
	"context"
	"crnn/tests/datatest"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crnn/data/imageset"

	"github.com/google/go-cmp/cmp"
)

// sameImages compares what training sees of two data sets.
func sameImages(t *testing.T, want, got *Dataset) {
	t.Helper()
	for _, part := range []struct {
		name      string
		want, got *Set
	}{{"training", want.Train, got.Train}, {"test", want.Test, got.Test}} {
		w, g := part.want, part.got
		if !w.SameShape(g.Description) || w.Count != g.Count {
			t.Errorf("%s set: %d images of %s, want %d of %s", part.name, g.Count, g.Size(), w.Count, w.Size())
			continue
		}
		if !slices.Equal(w.Images, g.Images) {
			t.Errorf("%s set: other images", part.name)
		}
		if diff := cmp.Diff(w.Labels, g.Labels); diff != "" {
			t.Errorf("%s set: labels (-want +got):\n%s", part.name, diff)
		}
		if diff := cmp.Diff(w.Classes, g.Classes); diff != "" {
			t.Errorf("%s set: classes (-want +got):\n%s", part.name, diff)
		}
	}
}

// Sides of 1 and 3 could be taken for channels.
func TestConvertAndRead(t *testing.T) {
	for _, size := range [][2]int{{5, 7}, {1, 1}, {3, 3}, {3, 5}, {1, 3}, {5, 3}, {3, 1}} {
		for _, channels := range []int{1, 3} {
			d := imageset.Description{Height: size[0], Width: size[1], Channels: channels, Classes: []string{"Ü b", "1", "猫"}}
			t.Run(d.Size(), func(t *testing.T) {
				want := ordinary(d)
				dir := filepath.Join(t.TempDir(), "new", "set")
				notes, err := want.Convert(t.Context(), dir)
				if err != nil || len(notes) > 0 {
					t.Fatalf("notes %q, error %v", notes, err)
				}
				images := "idx3"
				if channels == 3 {
					images = "idx4"
				}
				files := []string{imageset.ClassesFile, "t10k-images-" + images + "-ubyte", "t10k-labels-idx1-ubyte",
					"train-images-" + images + "-ubyte", "train-labels-idx1-ubyte"}
				if diff := cmp.Diff(files, datatest.List(t, dir)); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
				got, err := Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				sameImages(t, want, got)
			})
		}
	}
}

// A class without images keeps its number and its name, also the first and the last one.
func TestConvertKeepsEmptyClasses(t *testing.T) {
	d := tinyGray
	want := &Dataset{Train: setOf(d, 1, 1, 1, 1), Test: setOf(d, 2, 1)}
	dir := t.TempDir()
	if _, err := want.Convert(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	sameImages(t, want, got)
}

// A folder's validation images become training images, and the user hears of it.
func TestConvertFolder(t *testing.T) {
	datatest.SetCache(t)
	root, seed := t.TempDir(), uint64(0)
	for _, part := range []string{"train", "val", "test"} {
		for _, class := range []string{"a", "b"} {
			for i := range 3 {
				seed++
				grayFile(t, filepath.Join(root, part, class, fmt.Sprint(i)+".png"), 6, 4, seed)
			}
		}
	}
	want, err := Read(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "set")
	notes, err := want.Convert(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "the 6 that "+root+" sets apart are training images now") ||
		!strings.Contains(notes[1], "proportions") {
		t.Errorf("notes %q", notes)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Val != nil || got.Train.Count != 12 {
		t.Errorf("%d training images, validation with %v; want 12 and none", got.Train.Count, got.Val)
	}
	sameImages(t, want, got)
}

// The converted data is what Python reads by the files' headers.
func TestConvertInPython(t *testing.T) {
	python := os.Getenv("CRNN_PYTHON")
	if python == "" {
		venv := filepath.Join("..", ".tools", "venv")
		if _, err := os.Stat(filepath.Join(venv, "installed.txt")); err != nil {
			t.Skip("scripts/python-env has not installed PyTorch")
		}
		python = filepath.Join(venv, "bin", "python")
	}
	// Prints of each file its shape, and the SHA-256 of its bytes, of colours with the channels first.
	const script = `
import hashlib, pathlib, sys
import numpy as np
for path in sorted(pathlib.Path(sys.argv[1]).glob("*-ubyte")):
    raw = path.read_bytes()
    zero, kind, dims = raw[:2], raw[2], raw[3]
    assert zero == b"\0\0" and kind == 8
    shape = np.frombuffer(raw, ">i4", dims, 4)
    a = np.frombuffer(raw, "u1", -1, 4 + 4 * dims).reshape(shape)
    if dims == 4:
        a = a.transpose(0, 3, 1, 2)
    print(path.name, list(map(int, shape)), hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest())
print((pathlib.Path(sys.argv[1]) / "classes.txt").read_text(encoding="utf-8").split("\n"))
`
	for _, d := range []imageset.Description{tinyGray, tinyColour} {
		set, dir := ordinary(d), t.TempDir()
		if _, err := set.Convert(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", script, dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		kind, shape := "idx3", "[120, 5, 7]"
		if d.Channels == 3 {
			kind, shape = "idx4", "[120, 5, 7, 3]"
		}
		want := fmt.Sprintf("t10k-images-%[1]s-ubyte %[2]s %[3]x\nt10k-labels-idx1-ubyte [120] %[4]x\n"+
			"train-images-%[1]s-ubyte %[2]s %[5]x\ntrain-labels-idx1-ubyte [120] %[6]x\n['a', 'b', 'c', '']\n",
			kind, shape, sha256.Sum256(set.Test.Images), sha256.Sum256(set.Test.Labels),
			sha256.Sum256(set.Train.Images), sha256.Sum256(set.Train.Labels))
		if diff := cmp.Diff(want, string(out)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", d.Size(), diff)
		}
	}
}

// Names that imageset.ClassesFile cannot hold are refused before anything is written.
func TestConvertRefusesNames(t *testing.T) {
	for _, c := range []struct {
		name string // of the first class
		want string
	}{
		{"two\nlines", `the class "two\nlines" does not fit into classes.txt`},
		{" before", `the class " before"`},
		{"behind\t", `the class "behind\t"`},
		{"return\r", `the class "return\r"`},
		{"\uFEFFmark", `the class "\ufeffmark"`},
		{"", "line 1 is empty"},
		{"b", `names class "b" as line 1 does`},
	} {
		d := tinyGray
		d.Classes = []string{c.name, "b", "c"}
		dir := filepath.Join(t.TempDir(), "set")
		_, err := ordinary(d).Convert(t.Context(), dir)
		datatest.WantError(t, err, "here: ", c.want)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: wrote %q", c.name, datatest.List(t, dir))
		}
	}
}

func TestCheckTarget(t *testing.T) {
	work := t.TempDir()
	folder, idx := filepath.Join(work, "pictures"), datatest.Write(t, datatest.OwnSet())
	for _, class := range []string{"a", "b"} {
		grayFile(t, filepath.Join(folder, class, "0.png"), 4, 4, 1)
	}
	file, full, empty := filepath.Join(work, "file"), filepath.Join(work, "full"), filepath.Join(work, "empty")
	for _, dir := range []string{full, empty} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{file, filepath.Join(full, "mine.txt")} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, dir, want string }{
		{folder, empty, ""},
		{folder, filepath.Join(work, "new"), ""},
		{folder, folder + "-idx", ""},
		{folder, file, file + ": a file, expected a new or an empty directory"},
		{folder, full, full + ": holds mine.txt, expected a new or an empty directory"},
		{folder, filepath.Join(file, "x"), file},
		{folder, filepath.Join(folder, "idx"), "lies in the folder of pictures " + folder},
		{folder + "/../pictures", filepath.Join(folder, "x", "..", "idx"), "lies in the folder of pictures"},
		{idx, filepath.Join(idx, "idx"), ""}, // harmless
		{filepath.Join(work, "nowhere"), empty, "nowhere"},
	} {
		switch err := CheckTarget(c.path, c.dir); {
		case c.want != "":
			datatest.WantError(t, err, c.want)
		case err != nil:
			t.Errorf("%s into %s: %v", c.path, c.dir, err)
		}
	}
	_, err := ordinary(tinyGray).Convert(t.Context(), full)
	datatest.WantError(t, err, "holds mine.txt")
	if diff := cmp.Diff([]string{"mine.txt"}, datatest.List(t, full)); diff != "" {
		t.Errorf("the user's directory (-want +got):\n%s", diff)
	}
}

// interrupting ends after some looks at it, and calls look at each.
type interrupting struct {
	context.Context
	looks int
	look  func()
}

func (c *interrupting) Err() error {
	c.look()
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Nothing that looks like a data set lacks its names, and after an interruption nothing is left.
func TestConvertInterrupted(t *testing.T) {
	set := ordinary(tinyColour)
	for _, looks := range []int{0, 1, 60, 122, 180, 244} {
		for _, existing := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "set")
			if existing {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			ctx := &interrupting{t.Context(), looks, func() {
				if list := datatest.List(t, dir); Check(dir) == nil && !slices.Contains(list, imageset.ClassesFile) {
					t.Errorf("%q looks like a data set", list)
				}
			}}
			if _, err := set.Convert(ctx, dir); err != context.Canceled {
				t.Errorf("error %v, want that it was interrupted", err)
			}
			_, err := os.Stat(dir)
			if existing && (err != nil || len(datatest.List(t, dir)) > 0) || !existing && err == nil {
				t.Errorf("after %d looks, existing %v: %v, the directory is not as before", looks, existing, err)
			}
		}
	}
}
