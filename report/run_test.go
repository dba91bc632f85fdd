package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crnn/train"

	"github.com/google/go-cmp/cmp"
)

func TestReadRuns(t *testing.T) {
	base := t.TempDir()
	a := writeRun(t, base, "a", "epochs: 15\n", recipe(2))
	b := writeRun(t, base, "b", "", recipe(0))
	otherA := writeRun(t, filepath.Join(base, "other"), "a", "lr: 0.1\n", recipe(1))
	if err := os.Remove(filepath.Join(b, train.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	names := func(dirs ...string) []string {
		runs, err := ReadRuns(dirs)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, r := range runs {
			list = append(list, fmt.Sprint(r.Name, " ", len(r.Metrics.Epochs), " ", r.Settings))
		}
		return list
	}
	if diff := cmp.Diff([]string{"a 2 map[epochs:15]", "b 0 map[]"}, names(a+string(filepath.Separator), b)); diff != "" {
		t.Error(diff)
	}
	want := []string{a + " 2 map[epochs:15]", "b 0 map[]", otherA + " 1 map[lr:0.1]"}
	if diff := cmp.Diff(want, names(a, b, otherA)); diff != "" {
		t.Error(diff)
	}
	t.Chdir(a)
	if diff := cmp.Diff([]string{"a 2 map[epochs:15]"}, names(".")); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadRuns([]string{a, base}); err == nil ||
		!strings.HasPrefix(err.Error(), base+" is not the directory of a run") {
		t.Errorf("error %v, want one that names %s", err, base)
	}
}

func TestParseSettings(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":            {},
		"# comment\n": {},
		"lr: 0.0005\nlr_schedule: step\nno_shuffle: false\ndata: \"\"\nseed: 18446744073709551615\n": {
			"lr": "0.0005", "lr_schedule": "step", "no_shuffle": "false", "data": `""`, "seed": "18446744073709551615"},
		"lr: 0.10\nepochs: 1_0\n":                   {"lr": "0.1", "epochs": "10"},
		"model:\n  hidden: 128\n  kernel: [5, 3]\n": {"model.hidden": "128", "model.kernel": "[5, 3]"},
		"a: \"x\\ny\"\nb: &n 3\nc: *n\nd:\n":        {"a": `"x\ny"`, "b": "&n 3", "c": "*n", "d": `""`},
	} {
		got, _, err := parseSettings([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestReadSettingsNamesTheDamagedLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), train.ConfigFile)
	for text, want := range map[string]string{
		"lr: 1\nlr: 2\n":                 path + ":2: damaged: ",
		"lr: 1\nb: [1\n":                 path + ":2: damaged: ",
		"- 1\n":                          path + ":1: damaged: expected settings such as `epochs: 15`",
		strings.Repeat("#", maxConfig+1): path + ": longer than 65536 bytes, not the settings of a run",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := readSettings(path)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: error %v, want %s", text, err, want)
		}
	}
}

// No file makes it panic, or grow: a few bytes of aliases can stand for billions of bytes.
func FuzzParseSettings(f *testing.F) {
	f.Add([]byte("lr: 0.0005\nlr_schedule: step\nmodel:\n  hidden: 128\n"))
	f.Add([]byte("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"))
	f.Add([]byte("a: |\n  text\n? b\n: c\n--- \n- d\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, _, err := parseSettings(text)
		if err != nil {
			return
		}
		for key, value := range settings {
			if len(key)+len(value) > 16*len(text)+64 {
				t.Errorf("%d bytes became a setting of %d", len(text), len(key)+len(value))
			}
			if strings.ContainsAny(key+value, "\n\t\x1b") {
				t.Errorf("%q: %q would break a line", key, value)
			}
		}
	})
}
