package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func writeConfig(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Float64().Filter(func(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) })
		text := rapid.String()
		want := Config{
			Device: text.Draw(t, "device"), Precision: text.Draw(t, "precision"), Threads: rapid.Int().Draw(t, "threads"),
			Data: text.Draw(t, "data"), Out: text.Draw(t, "out"), Seed: rapid.Uint64().Draw(t, "seed"),
			Epochs: rapid.Int().Draw(t, "epochs"), BatchSize: rapid.Int().Draw(t, "batch size"),
			LR: number.Draw(t, "lr"), LRSchedule: text.Draw(t, "schedule"), LRStep: rapid.Int().Draw(t, "step"),
			LRGamma: number.Draw(t, "gamma"), Dropout: number.Draw(t, "dropout"),
			ValFraction: number.Draw(t, "fraction"), EarlyStopping: rapid.Int().Draw(t, "stopping"),
			HiddenSize: rapid.Int().Draw(t, "hidden"), NumLayers: rapid.Int().Draw(t, "layers"),
			InputSize:  InputSize(rapid.IntRange(0, math.MaxInt).Draw(t, "input")),
			ImageSize:  ImageSize{rapid.Int().Draw(t, "height"), rapid.Int().Draw(t, "width")},
			Background: text.Draw(t, "background"),
			Grayscale:  rapid.Bool().Draw(t, "gray"), TestFraction: number.Draw(t, "test fraction"),
			Channels: Channels{rapid.Int().Draw(t, "first"), rapid.Int().Draw(t, "second")},
			Kernel:   rapid.Int().Draw(t, "kernel"), MaxSteps: rapid.Int().Draw(t, "max"),
			NoShuffle: rapid.Bool().Draw(t, "order"), Init: text.Draw(t, "init"), LogSteps: rapid.Bool().Draw(t, "log"),
		}
		build := Build{text.Draw(t, "version"), text.Draw(t, "device name")}
		saved := settings(reflect.ValueOf(build)) + settings(reflect.ValueOf(want))
		got, set, line, err := parseConfig([]byte(saved))
		if err != nil {
			t.Fatalf("line %d: %v in\n%s", line, err, saved)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%s", diff, saved)
		}
		if len(set) != len(configFields) {
			t.Fatalf("%d of %d settings in the file", len(set), len(configFields))
		}
	})
}

func TestLoadConfig(t *testing.T) {
	c, set, err := LoadConfig(writeConfig(t, `# an experiment
version: 0.0.1
device_name: "abacus"
lr: 1e-3   # without a schedule
lr_schedule: none
epochs: 3
data:
out: 2024
no_shuffle: true
seed: 18446744073709551615
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.LR, want.LRSchedule, want.Epochs, want.Out, want.NoShuffle, want.Seed = 0.001, "none", 3, "2024",
		true, math.MaxUint64
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	keys := map[string]bool{"lr": true, "lr_schedule": true, "epochs": true, "data": true, "out": true,
		"no_shuffle": true, "seed": true}
	if diff := cmp.Diff(keys, set); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		if c, set, err := LoadConfig(writeConfig(t, text)); err != nil || len(set) > 0 || c != Default() {
			t.Errorf("%q: %v, %v, want the defaults", text, set, err)
		}
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"lr: 1\nfoo: 2\n":                    `:2: unknown key "foo"`,
		"\nbatch-size: 2\n":                  `:2: unknown key "batch-size", did you mean batch_size?`,
		"resume: runs/x\n":                   `:1: unknown key "resume"`,
		"LR: 1\n":                            `:1: unknown key "LR"`,
		"lr: 1\nepochs: ten\n":               `:2: epochs: "ten", expected a whole number`,
		"epochs: 1.5\n":                      `:1: epochs: "1.5", expected a whole number`,
		"epochs: 99999999999999999999":       `:1: epochs: "99999999999999999999", expected a whole number`,
		"epochs:\n":                          `:1: epochs: "", expected a whole number`,
		"seed: -1\n":                         `:1: seed: "-1", expected a whole number from 0`,
		"lr: fast\n":                         `:1: lr: "fast", expected a number`,
		"no_shuffle: 1\n":                    `:1: no_shuffle: "1", expected true or false`,
		"no_shuffle: yes\n":                  `:1: no_shuffle: "yes", expected true or false`,
		"lr: [1, 2]\n":                       `:1: lr: expected a single value`,
		"lr: {a: 1}\n":                       `:1: lr: expected a single value`,
		"lr: &x 1\n":                         `:1: lr: expected a single value`,
		"lr: *x\n":                           `:1: lr: expected a single value`,
		"lr: !!float 1\n":                    `:1: lr: expected a single value`,
		"version: [1]\n":                     `:1: version: expected a single value`,
		"lr: 1\nlr: 2\n":                     `:2: `,
		"lr: 1\n---\nepochs: 2\n":            `:3: expected one list of settings`,
		"- lr: 1\n":                          `:1: expected one list of settings`,
		"fast\n":                             `:1: expected one list of settings`,
		"lr: 1\nout: {\n":                    `:2: `,
		"lr: 1\n\tepochs: 2\n":               `:2: `,
		"a: &a [x]\n<<: *a\n":                `:1: `,
		strings.Repeat("#", maxConfigFile+1): "no configuration file",
	} {
		path := writeConfig(t, text)
		_, _, err := LoadConfig(path)
		if err == nil {
			t.Errorf("%.40q: no error", text)
			continue
		}
		if !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: error %q, want one line with the file and %q", text, err, want)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	if _, _, err := LoadConfig(absent); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if _, _, err := LoadConfig(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}

func TestSavedConfigIsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), ConfigFile)
	c := Default()
	c.Out = "runs/one"
	if err := SaveConfig(path, c, Build{"0.1.0", "cpu"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`# The settings of the run in "runs/one"`, "version: \"0.1.0\"\n",
		"device_name: \"cpu\"\n", "device: \"auto\"\n", "out: \"\"\n", "lr: 0.0005\n", "batch_size: 50\n",
		"no_shuffle: false\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"", "lr: 0.001\n", "epochs: 3 # three\nout: 'a b'\n", "lr: &x 1\nepochs: *x\n", "a: [1, {b: c}]\n", "lr: |\n  1\n",
		"? lr\n: 1\n",
		"%YAML 1.2\n---\nlr: 1\n...\n", "<<: {lr: 1}\n", "lr: !!float 1\n", "\xff\xfe", "\"lr\": 1", "lr: \"\\u0041\"\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxConfigFile {
			return
		}
		c, set, line, err := parseConfig(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || line < 1 {
				t.Errorf("line %d, error %q, want one line", line, err)
			}
			return
		}
		if len(set) == 0 && c != Default() {
			t.Errorf("%+v, but no setting was given", c)
		}
		_ = fmt.Sprint(c.Validate())
	})
}
