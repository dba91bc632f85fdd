//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/data"
)

// pictureFolder writes count square pictures for each class, of sides from side on, each larger than the
// one before by step.
func pictureFolder(t *testing.T, side, step, count int, classes ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, class := range classes {
		if err := os.Mkdir(filepath.Join(root, class), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			write(t, filepath.Join(root, class, fmt.Sprintf("%03d.png", i)), pngOf(t, side+i*step))
		}
	}
	return root
}

func TestDataInfo(t *testing.T) {
	dir := smallData(t)
	set, err := data.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	perClass := map[string][2]int{} // training with validation, test
	for i, s := range []*data.Set{set.Train, set.Test} {
		for _, label := range s.Labels {
			n := perClass[s.Classes[label]]
			n[i]++
			perClass[s.Classes[label]] = n
		}
	}
	text := crnn(t, "data", "info", dir, "--json", "--val-fraction", "0.25")
	// The keys, and their order, are what other programs were promised.
	promised := `^\{"form":"idx","height":28,"width":28,"channels":1,` +
		`"classes":\[(\{"name":"[^"]+","train":\d+,"val":\d+,"test":\d+\},?){10}\],"warnings":\[\],"path":`
	if !regexp.MustCompile(promised).MatchString(text) {
		t.Errorf("%s", text)
	}
	var info data.Info
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		t.Fatal(err)
	}
	val := 0
	for _, c := range info.Classes {
		if n := perClass[c.Name]; c.Train+c.Val != n[0] || c.Test != n[1] {
			t.Errorf("%+v, want %d training and %d test images", c, n[0], n[1])
		}
		val += c.Val
	}
	if val != smallTrain/4 {
		t.Errorf("%d images for validation, want %d", val, smallTrain/4)
	}

	// The text says the same. A flag, the environment and the argument name the data alike.
	want := crnn(t, "data", "info", "--data", dir)
	r := process{args: []string{"data", "info"}, env: []string{"CRNN_DATA=" + dir}}.run(t)
	if r.stdout != want || r.stdout != crnn(t, "data", "info", dir) {
		t.Errorf("%q\nwant %q", r.stdout, want)
	}
	for _, line := range []string{"data set +" + regexp.QuoteMeta(dir), "form +idx: four IDX files", "size +28x28x1",
		"classes +10", `mean +0\.\d{4}`, `std +0\.\d{4}`, "duplicates .*: 0 of 200", " +train +val +test  class",
		` +\d+ +\d+ +\d+  Ankle boot`, ` +540 +60 +200  \(all\)`} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(want) {
			t.Errorf("no line %q in\n%s", line, want)
		}
	}
}

// What is suspicious ends the text; the exit code is 0.
func TestDataInfoWarns(t *testing.T) {
	dir := smallData(t)
	set, err := smallSet()
	if err != nil {
		t.Fatal(err)
	}
	writeIDX(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), set.Train.Images[:30*28*28], 30, 28, 28)
	writeIDX(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), set.Train.Labels[:30], 30)
	text := crnn(t, "data", "info", dir)
	for _, want := range []string{
		"duplicates  test images equal to a training image: 30 of 30, such as test image 0 = training image 0\n",
		"\nwarning: 30 test images: each is 3.3 % of the accuracy\n",
		"\nwarning: test images that are in the training set too: 30 of 30; the accuracy comes out too high\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Pictures of different sizes are counted, and the user learns which size to pass.
func TestDataInfoOfDifferentSizes(t *testing.T) {
	root := pictureFolder(t, 20, 4, 20, "a", "b")
	var info data.Info
	jsonOf(t, &info, "data", "info", root, "--json")
	if info.Height != 0 || info.Width != 0 || info.Sizes == nil || info.Sizes.Heights != [2]int{20, 96} ||
		info.Sizes.Widths != [2]int{20, 96} || len(info.Classes) != 2 {
		t.Errorf("%+v", info)
	}
	if i := slices.IndexFunc(info.Warnings, func(w string) bool { return strings.Contains(w, "--image-size ") }); i < 0 {
		t.Errorf("warnings %q, want one with --image-size", info.Warnings)
	}
	want := []data.ClassCount{{Name: "a", Train: 16, Val: 2, Test: 2}, {Name: "b", Train: 16, Val: 2, Test: 2}}
	if diff := cmp.Diff(want, info.Classes); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	text := crnn(t, "data", "info", root)
	if !strings.Contains(text, "\nheights     20 to 96\nwidths      20 to 96\n") {
		t.Errorf("%s", text)
	}
	figure := filepath.Join(t.TempDir(), "s.png")
	r := process{args: []string{"data", "info", root, "--out", figure}}.run(t)
	if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "crnn: --out "+figure+": ") {
		t.Errorf("a figure of different sizes: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// With the size that it names, the counts are the same.
	var scaled data.Info
	jsonOf(t, &scaled, "data", "info", root, "--json", "--image-size", info.Sizes.Suggested)
	if diff := cmp.Diff(info.Classes, scaled.Classes); diff != "" || scaled.Height == 0 || scaled.Sizes != nil {
		t.Errorf("%+v (-headers +pictures):\n%s", scaled, diff)
	}
	// A damaged picture is an error, as for crnn train.
	write(t, filepath.Join(root, "a", "000.png"), []byte("no picture"))
	r = process{args: []string{"data", "info", root}}.run(t)
	if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "\ncrnn: "+root+"/a/000.png: not a picture") {
		t.Errorf("a damaged picture: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// What crnn train refuses can still be looked at.
func TestDataInfoOfTooFewImages(t *testing.T) {
	root := pictureFolder(t, 20, 0, 3, "a", "b")
	var info data.Info
	jsonOf(t, &info, "data", "info", root, "--json", "--test-fraction", "0.3")
	const want = "crnn train refuses this: --val-fraction 0.1"
	if n := len(info.Warnings); n == 0 || !strings.HasPrefix(info.Warnings[n-1], want) {
		t.Errorf("warnings %q", info.Warnings)
	}
}

// Very many classes stay readable.
func TestDataInfoOfManyClasses(t *testing.T) {
	const classes = 256
	dir, labels := t.TempDir(), make([]byte, 2*classes)
	for i := range labels {
		labels[i] = byte(i)
	}
	pixels := make([]byte, len(labels)*4)
	for i := range labels {
		pixels[4*i], pixels[4*i+1] = byte(i), byte(i/classes)
	}
	labels[0] = 1 // the largest class is 1, the smallest 0
	for _, part := range []string{"train", "t10k"} {
		writeIDX(t, filepath.Join(dir, part+"-images-idx3-ubyte"), pixels, len(labels), 2, 2)
		writeIDX(t, filepath.Join(dir, part+"-labels-idx1-ubyte"), labels, len(labels))
	}
	text := crnn(t, "data", "info", dir, "--val-fraction", "0")
	table := text[strings.Index(text, "  class\n"):]
	if n := strings.Count(text, "\n"); n > 45 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	if !strings.HasPrefix(table, "  class\n       3        0        3  1\n") ||
		!strings.Contains(table, "236 more classes; --json lists them all\n") ||
		!strings.Contains(table, "       1        0        1  0\n     512        0      512  (all)\n") {
		t.Errorf("%s", table)
	}
}

func TestDataInfoFigure(t *testing.T) {
	for _, classes := range []int{2, 13, 41} {
		var names []string
		for i := range classes {
			names = append(names, fmt.Sprintf("class %02d with a name that is much too long for a title of its own", i))
		}
		root, figure := pictureFolder(t, 16, 0, 4, names...), filepath.Join(t.TempDir(), "s.png")
		crnn(t, "data", "info", root, "--out", figure, "--test-fraction", "0.25", "--val-fraction", "0")
		if _, err := png.Decode(bytes.NewReader(read(t, figure))); err != nil {
			t.Error(err)
		}
	}
}

func TestEvenly(t *testing.T) {
	for _, c := range []struct {
		of, n int
		want  []int32
	}{
		{0, 12, []int32{}}, {1, 12, []int32{0}}, {3, 3, []int32{0, 1, 2}}, {3, 12, []int32{0, 1, 2}}, {4, 1, []int32{2}},
		{12, 3, []int32{2, 6, 10}}, {5000, 5, []int32{500, 1500, 2500, 3500, 4500}},
	} {
		if diff := cmp.Diff(c.want, evenly(data.Count(c.of), c.n)); diff != "" {
			t.Errorf("%d of %d (-want +got):\n%s", c.n, c.of, diff)
		}
	}
}

// A run on converted data has the same metrics and weights, bit by bit.
func TestDataConvert(t *testing.T) {
	dir, work := smallData(t), t.TempDir()
	converted := filepath.Join(work, "idx")
	if got := crnn(t, "data", "convert", dir, converted); got != converted+"\n" {
		t.Errorf("%q", got)
	}
	a, b := filepath.Join(work, "a"), filepath.Join(work, "b")
	crnn(t, small(dir, a, "--epochs", "1")...)
	crnn(t, small(converted, b, "--epochs", "1")...)
	same(t, "converted", outcomeOf(t, b), outcomeOf(t, a))

	// A folder becomes what its flags say.
	root, gray := pictureFolder(t, 20, 4, 20, "a", "b"), filepath.Join(work, "gray")
	r := process{args: []string{"data", "convert", root, gray, "--image-size", "16x12", "--grayscale",
		"--test-fraction", "0.5"}}.run(t)
	if r.code != 0 || !strings.Contains(r.stderr, "at random of all, not of each class") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	set, err := data.Load(gray)
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.Size() != "16x12x1" || set.Train.Count != 20 || set.Test.Count != 20 ||
		cmp.Diff([]string{"a", "b"}, set.Test.Classes) != "" {
		t.Errorf("%d and %d images of %s, classes %q", set.Train.Count, set.Test.Count, set.Train.Size(), set.Test.Classes)
	}
}

func TestDataWordsRefuse(t *testing.T) {
	dir, work := smallData(t), t.TempDir()
	photos := pictureFolder(t, 20, 4, 20, "a", "b")
	words := strings.Fields
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, `"inof": expected fetch, verify, where, info or convert (did you mean info?)`, words("data inof")},
		{2, "--json: not a flag of crnn data where, but of crnn data info", words("data --json")},
		{2, "--out: not a flag of crnn data convert, but of crnn data info",
			append(words("data convert --out x.png"), dir, work)},
		{2, "--image-size: not a flag of crnn data verify, but of crnn data info, convert",
			words("data verify --image-size 3x3")},
		{2, "--data: not a flag of crnn data convert, but of crnn data fetch, verify, where, info",
			append(words("data convert x y --data"), dir)},
		{2, `unexpected argument "b" of crnn data`, words("data info a b")},
		{2, `unexpected argument "c" of crnn data`, words("data convert a b c")},
		{2, `unexpected argument "a" of crnn data`, words("data where a")},
		{2, "needs PATH, the data set, and DIR", words("data convert a")},
		{2, "a and --data b: expected one data set", words("data info a --data b")},
		{1, "crnn: there is no directory /does/not/exist", words("data info /does/not/exist")},
		{1, "crnn: there is no directory /does/not/exist", append(words("data convert /does/not/exist"), work)},
		{1, dir + ": holds t10k-images-idx3-ubyte, expected a new or an empty directory",
			[]string{"data", "convert", dir, dir}},
		{1, "lies in the folder of pictures " + photos,
			[]string{"data", "convert", photos, filepath.Join(photos, "idx")}},
		{1, "pass --image-size HxW", []string{"data", "convert", photos, work}},
		{1, "figures are PNG files", []string{"data", "info", dir, "--out", filepath.Join(work, "x.jpg")}},
	} {
		process{args: c.args}.refused(t, c.code, c.want)
	}
	if entries, err := os.ReadDir(work); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v; nothing was to be written", entries, err)
	}
}
