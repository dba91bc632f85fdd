package data

import (
	"crnn/tests/datatest"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"crnn/data/imageset"
	"crnn/data/known"

	"github.com/google/go-cmp/cmp"
)

func TestParseClasses(t *testing.T) {
	many := strings.Join(imageset.Numbered(256), "\n")
	for text, want := range map[string][]string{
		"cat\ndog":                       {"cat", "dog"},
		"cat\ndog\n":                     {"cat", "dog"},
		"cat\r\ndog\r\n\r\n":             {"cat", "dog"},
		"cat\rdog\r":                     {"cat", "dog"},
		"\uFEFFcat\ndog":                 {"cat", "dog"},
		" T-shirt/top \n\"quoted\", too": {"T-shirt/top", "\"quoted\", too"},
		"猫\nکتاب\nÉcole\nДом\n🦊\n":       {"猫", "کتاب", "École", "Дом", "🦊"},
		many:                             imageset.Numbered(256),
	} {
		got, err := parseClassesFile(t, text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%.40q: error %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"":                             ": line 1 is empty, expected the name of class 0",
		"\n\n":                         ": line 1 is empty",
		"cat":                          ": number of names: 1, expected from 2 to 256",
		many + "\nmore":                ": number of names: 257, expected from 2 to 256",
		"cat\n\ndog":                   ": line 2 is empty, expected the name of class 1",
		"cat\ndog\n cat ":              ": line 3 names class \"cat\" as line 1 does: expected another name",
		"cat\nSch\xe4fer\n":            ": line 2: the name \"Sch\\xe4fer\" is not UTF-8: expected names in UTF-8",
		"\xff\xfec\x00a\x00t\n":        ": line 1: the name \"\\xff\\xfec\\x00a\\x00t\" is not UTF-8",
		"cat\n\x1b[31mdog":             ": line 2: the name \"\\x1b[31mdog\" holds the control character '\\x1b'",
		strings.Repeat("a", maxText+1): ": longer than 1048576 bytes: expected the names of classes, a line each",
	} {
		_, err := parseClassesFile(t, text)
		datatest.WantError(t, err, imageset.ClassesFile+want)
	}
}

func parseClassesFile(t *testing.T, text string) ([]string, error) {
	t.Helper()
	c, err := readClassNames(datatest.Write(t, map[string][]byte{imageset.ClassesFile: []byte(text)}), "")
	if err == nil && c.first != -1 {
		t.Errorf("first label %d", c.first)
	}
	return c.names, err
}

func TestParseMapping(t *testing.T) {
	for _, test := range []struct {
		text  string
		names []string
		first int
	}{
		{"1 65 97\n2 66 98\n", []string{"A", "B"}, 1},
		{"0 48\r\n1 49\r\n2 65\r\n", []string{"0", "1", "A"}, 0},
		{"3 100\n2 29483", []string{"猫", "d"}, 2},
	} {
		dir := datatest.Write(t, map[string][]byte{"emnist-x-mapping.txt": []byte(test.text)})
		c, err := readClassNames(dir, "emnist-x")
		if err != nil || !cmp.Equal(c.names, test.names) || c.first != test.first {
			t.Errorf("%q: %q from %d, error %v, want %q from %d", test.text, c.names, c.first, err, test.names, test.first)
		}
	}
	for text, want := range map[string]string{
		"":                   `: line 1 is "", expected a label from 0 to 255 and the code of a character`,
		"1 65\nB\n":          `: line 2 is "B", expected a label`,
		"1 65\n2 x\n":        `: line 2 is "2 x", expected a label`,
		"-1 65\n":            `: line 1 is "-1 65", expected a label`,
		"256 65\n":           `: line 1 is "256 65", expected a label`,
		"1 55296\n":          `: line 1 is "1 55296", expected a label`, // half of a pair of UTF-16
		"1 10\n":             `: line 1 is "1 10", expected a label`,
		"1 4294967361\n":     `: line 1 is "1 4294967361", expected a label`, // 65 in 32 bits
		"1 65\n1 66\n":       ": line 2: label 1 again, expected each once",
		"1 65\n2 66\n3 65\n": `: line 3 names label 3 "A" as label 1: expected another name`,
		"1 65\n3 66\n":       ": label 2 is missing, expected all from 1 to 3",
		"1 65\n":             ": number of names: 1, expected from 2 to 256",
	} {
		dir := datatest.Write(t, map[string][]byte{"emnist-x-mapping.txt": []byte(text)})
		_, err := readClassNames(dir, "emnist-x")
		datatest.WantError(t, err, filepath.Join(dir, "emnist-x-mapping.txt")+want)
	}
}

// The names for one set come before those for all in the folder; above raw/ lies what torchvision's
// users see.
func TestWhereNamesAreFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raw")
	for _, step := range []struct{ path, want string }{
		{"", ""},
		{filepath.Join("..", imageset.ClassesFile), "above"},
		{imageset.ClassesFile, "beside"},
		{"emnist-x-mapping.txt", "A"},
		{"emnist-x-classes.txt", "prefix"},
	} {
		text := step.want + "\nb\n"
		if strings.HasSuffix(step.path, mappingEnd) {
			text = "0 65\n1 66\n"
		}
		if step.path != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, step.path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := readClassNames(dir, "emnist-x")
		if got := strings.Join(c.names, " "); err != nil || !strings.HasPrefix(got, step.want) {
			t.Errorf("after %s: %q, error %v", step.path, got, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "y-"+imageset.ClassesFile), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := readClassNames(dir, "y")
	datatest.WantError(t, err, filepath.Join(dir, "y-"+imageset.ClassesFile)+": not a file, expected the names of classes")
	if errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder counts as missing")
	}
}

func where(_ *Set, image int) string { return fmt.Sprint("image ", image) }

func TestNameClasses(t *testing.T) {
	upToMost := func(least, most int) []uint8 {
		var labels []uint8
		for i := least; i <= most; i++ {
			labels = append(labels, uint8(i))
		}
		return labels
	}
	letters := strings.Split("abcdefghijklmnopqrstuvwxyz", "")
	fashion, mnist := known.FashionMNIST, known.Find("mnist")
	for _, test := range []struct {
		name        string
		given       classNames
		train, test []uint8
		want        []string // classes
		first       int      // that is taken off the labels
		err         string
	}{
		{name: "numbers", train: []uint8{0, 2}, test: []uint8{1}, want: imageset.Numbered(3)},
		{name: "more classes in the test", train: upToMost(0, 31), test: upToMost(0, 61), want: imageset.Numbered(62)},
		{name: "to 255", train: []uint8{0, 255}, test: []uint8{1}, want: imageset.Numbered(256)},
		{name: "from 1", train: upToMost(1, 26), test: []uint8{26}, want: imageset.Numbered(27)[1:], first: 1},
		{name: "from 1 to 255", train: []uint8{1, 255}, test: []uint8{255}, want: imageset.Numbered(256)[1:], first: 1},
		{name: "0 in the test only", train: []uint8{1, 2}, test: []uint8{0}, want: imageset.Numbered(3)},
		{name: "from 5", train: []uint8{5, 6}, test: []uint8{6}, want: imageset.Numbered(7)},
		{name: "one class", train: []uint8{5, 5}, test: []uint8{5},
			err: "set: all labels are 5: expected at least two classes"},
		{name: "one class in the test", train: []uint8{0, 1}, test: []uint8{1}, want: imageset.Numbered(2)},
		{name: "Fashion-MNIST", train: fashion.First, test: []uint8{9}, want: fashion.Classes},
		{name: "8 of Fashion-MNIST", train: fashion.First[:8], test: []uint8{9}, want: fashion.Classes},
		{name: "7 of Fashion-MNIST", train: fashion.First[:7], test: []uint8{9}, want: imageset.Numbered(10)},
		{name: "like Fashion-MNIST", train: fashion.First, test: []uint8{10},
			err: "image 0: label 10, but Fashion-MNIST names 10 classes: expected labels from 0 to 9; " +
				"if this is a set with more classes, name them in a file classes.txt beside it"},
		{name: "MNIST", train: mnist.First[:8], test: []uint8{3}, want: mnist.Classes},
		{name: "own names of Fashion-MNIST", given: classNames{letters, -1, "f"}, train: fashion.First, test: []uint8{9},
			want: letters},
		{name: "names", given: classNames{letters, -1, "f"}, train: []uint8{0, 3}, test: []uint8{25}, want: letters},
		{name: "names from 1", given: classNames{letters, -1, "f"}, train: []uint8{1, 26}, test: []uint8{9}, want: letters,
			first: 1},
		{name: "last names from 1", given: classNames{letters, -1, "f"}, train: []uint8{7, 26}, test: []uint8{9},
			want: letters, first: 1},
		{name: "names, one class", given: classNames{letters, -1, "f"}, train: []uint8{7}, test: []uint8{7}, want: letters},
		{name: "too few names", given: classNames{letters, -1, "f"}, train: []uint8{0, 25}, test: []uint8{9, 26},
			err: "image 1: label 26, but f names 26 classes: expected labels from 0 to 25"},
		{name: "too many from 1", given: classNames{letters, -1, "f"}, train: []uint8{1, 27}, test: []uint8{9},
			err: "image 1: label 27, but f names 26 classes: expected labels from 0 to 25"},
		{name: "a mapping from 1", given: classNames{letters, 1, "f"}, train: []uint8{7, 8}, test: []uint8{8}, want: letters,
			first: 1},
		{name: "below the mapping", given: classNames{letters, 1, "f"}, train: []uint8{7, 0}, test: []uint8{8},
			err: "image 1: label 0, but f names 26 classes: expected labels from 1 to 26"},
	} {
		t.Run(test.name, func(t *testing.T) {
			train, testLabels := append([]uint8{}, test.train...), append([]uint8{}, test.test...)
			d := &Dataset{Dir: "set", Train: &Set{Labels: train}, Test: &Set{Labels: testLabels}}
			err := d.nameClasses(test.given, where)
			if test.err != "" {
				datatest.WantError(t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, d.Train.Classes); diff != "" || !cmp.Equal(d.Test.Classes, test.want) {
				t.Errorf("classes (-want +got):\n%s", diff)
			}
			for _, part := range []struct{ got, from, file []uint8 }{
				{d.Train.Labels, test.train, train}, {d.Test.Labels, test.test, testLabels},
			} {
				for i, label := range part.got {
					if int(label) != int(part.from[i])-test.first {
						t.Errorf("label %d is %d, want %d", i, label, int(part.from[i])-test.first)
					}
				}
				if !cmp.Equal(part.file, part.from) {
					t.Error("the file's bytes were changed, which may still be hashed")
				}
			}
			if noted := len(d.Notes) == 1; noted != (test.first > 0) {
				t.Errorf("notes %q", d.Notes)
			}
		})
	}
}

func FuzzClasses(f *testing.F) {
	for _, text := range []string{
		"", "cat\ndog\n", "\uFEFFcat\r\ndog", "cat\rdog", "cat\n\ndog", "a\na", "\xff\n\xfe", "1 65 97\n2 66 98",
		"0 48\n1 49\n",
		"2 55296\n", "1 0\n", "300 1\n", "a\u2028b\nc",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		mapping, first, err := parseMapping(text)
		if err == nil && (first < 0 || first+len(mapping) > imageset.MaxClasses) {
			t.Errorf("labels from %d to %d", first, first+len(mapping)-1)
		}
		classes, err2 := parseClasses(text)
		for _, list := range []struct {
			names []string
			err   error
		}{{mapping, err}, {classes, err2}} {
			if list.err != nil {
				if strings.Contains(list.err.Error(), "\n") {
					t.Errorf("error of two lines: %q", list.err)
				}
				continue
			}
			if n := len(list.names); n < imageset.MinClasses || n > imageset.MaxClasses {
				t.Errorf("%d names", n)
			}
			seen := map[string]bool{}
			for _, name := range list.names {
				if name == "" || seen[name] || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
					t.Errorf("name %q among %q", name, list.names)
				}
				seen[name] = true
			}
		}
	})
}
