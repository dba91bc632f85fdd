//go:build unix

package main

import (
	"bytes"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/model"
	"crnn/train"
)

// The recipe on the real data, cut short: every line and file that the documentation
// promises.
func TestTrainRecipe(t *testing.T) {
	work := t.TempDir()
	p := process{args: []string{"train", "--max-steps", "6"}, dir: work, env: []string{"CRNN_DATA=" + realData(t)}}
	r := p.run(t)
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	lines := regexp.MustCompile(`\AEpoch 1/15\tTrain Loss: \d\.\d{3}\tTrain Acc: \d{1,2}\.\d{3}%` +
		`\tVal Loss: \d\.\d{3}\tVal Acc: \d{1,2}\.\d{3}%\n` +
		`Test Accuracy of RNN model on the 10000 test images: \d{1,2}\.\d{2}%\n\z`)
	if !lines.MatchString(r.stdout) {
		t.Errorf("standard output: %q", r.stdout)
	}
	if want := "not a GPU: " + noGPU(t); !strings.Contains(r.stderr, want) {
		t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
	}

	target, err := os.Readlink(filepath.Join(work, "runs", "latest"))
	if err != nil || !regexp.MustCompile(`^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$`).MatchString(target) {
		t.Errorf("runs/latest leads to %q, error %v", target, err)
	}
	run := filepath.Join(work, "runs", target)
	for _, name := range []string{"samples.png", "curves.png", "confusion.png"} {
		picture, err := png.Decode(bytes.NewReader(read(t, filepath.Join(run, name))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if size := picture.Bounds().Size(); size.X < 600 || size.Y < 400 {
			t.Errorf("%s is of size %v", name, size)
		}
	}
	for _, name := range []string{"best.safetensors", "last.safetensors"} {
		state, err := model.ReadWeights(filepath.Join(run, name))
		if err != nil {
			t.Error(err)
		} else if n := state.Layout().Trainable(); n != 209_482 {
			t.Errorf("%s has %d parameters", name, n)
		}
	}
	if _, err := os.Stat(filepath.Join(run, "checkpoint")); err != nil {
		t.Error(err)
	}

	epoch, test := events(t, run, "epoch"), events(t, run, "test")
	if len(epoch) != 1 || len(test) != 1 {
		t.Fatalf("metrics have %d epochs and %d tests", len(epoch), len(test))
	}
	keys := func(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
	if diff := cmp.Diff([]string{"epoch", "event", "lr", "seconds", "step", "train_accuracy", "train_loss", "val_accuracy",
		"val_loss"}, keys(epoch[0])); diff != "" {
		t.Errorf("keys of an epoch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"accuracy", "epoch", "event", "loss"}, keys(test[0])); diff != "" {
		t.Errorf("keys of a test (-want +got):\n%s", diff)
	}
	if epoch[0]["step"] != 6.0 || epoch[0]["lr"] != 0.0005 || test[0]["epoch"] != 1.0 {
		t.Errorf("metrics: %v, %v", epoch[0], test[0])
	}
}

func TestTrainLines(t *testing.T) {
	const training = `\tTrain Loss: \d\.\d{3}\tTrain Acc: \d{1,2}\.\d{3}%`
	const val = `\tVal Loss: \d\.\d{3}\tVal Acc: \d{1,2}\.\d{3}%`
	const test = `Test Accuracy of RNN model on the 200 test images: \d{1,2}\.\d{2}%\n`
	for _, c := range []struct {
		name, want string
		flags      []string
	}{
		{"two epochs", `Epoch 1/2` + training + val + `\nEpoch 2/2` + training + val + `\n` + test,
			[]string{"--epochs", "2"}},
		{"no validation", `Epoch 1/1` + training + `\n` + test, []string{"--epochs", "1", "--val-fraction", "0"}},
		{"cut in the second epoch", `Epoch 1/9` + training + val + `\nEpoch 2/9` + training + val + `\n` + test,
			[]string{"--epochs", "9", "--max-steps", "30"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			got := crnn(t, small(smallData(t), out, c.flags...)...)
			if !regexp.MustCompile(`\A` + c.want + `\z`).MatchString(got) {
				t.Errorf("standard output: %q", got)
			}
		})
	}
}

func TestLogSteps(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	crnn(t, small(smallData(t), out, "--epochs", "2", "--lr-schedule", "cosine")...)
	steps := events(t, out, "step")
	if len(steps) != 2*stepsPerEpoch {
		t.Fatalf("%d steps, want %d", len(steps), 2*stepsPerEpoch)
	}
	for i, s := range steps {
		if s["step"] != float64(i+1) || s["epoch"] != float64(i/stepsPerEpoch+1) || len(s) != 5 {
			t.Fatalf("line %d: %v", i+1, s)
		}
	}
	if first, second := steps[0]["lr"], steps[stepsPerEpoch]["lr"]; first != 0.0005 || second != 0.00025 {
		t.Errorf("learning rates %v and %v, want half a cosine over two epochs", first, second)
	}
}

// The settings of a run, given back to crnn train, repeat it in any folder. They are the values in
// force, not the given words.
func TestConfigRepeatsRun(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	sizes := model.Default()
	sizes.HiddenSize, sizes.NumLayers = 16, 2
	if err := model.WriteWeights(filepath.Join(work, "w.safetensors"), model.NewState(sizes, 3)); err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(work, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(work, "a"), filepath.Join(work, "b")
	r := process{dir: work, args: small(relative, "a", "--device", "auto", "--epochs", "1", "--seed", "7", "--lr", "0.002",
		"--dropout", "0.1", "--no-shuffle", "--init", "w.safetensors")}.run(t)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	config := filepath.Join(a, "config.yaml")
	got, _, err := train.LoadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if got.Device != "cpu" || got.Threads < 1 || got.Data != dataDir || got.Init != filepath.Join(work, "w.safetensors") {
		t.Errorf("device %s, %d threads, data %s, init %s; want what was used, under absolute paths",
			got.Device, got.Threads, got.Data, got.Init)
	}
	crnn(t, "train", "--config", config, "--out", b) // in its own folder
	same(t, "repeated", outcomeOf(t, b), outcomeOf(t, a))
	crnn(t, "train", "--resume", b, "--epochs", "2")
}

// A run that is refused before the first step leaves nothing behind.
func TestRefusedRunLeavesNothing(t *testing.T) {
	dataDir := smallData(t)
	weights := func(change func(*model.Config)) string {
		sizes := model.Default()
		change(&sizes)
		path := filepath.Join(t.TempDir(), "w.safetensors")
		if err := model.WriteWeights(path, model.NewState(sizes, 1)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nine := weights(func(c *model.Config) { c.Classes = 9 })
	narrow := weights(func(c *model.Config) { c.HiddenSize = 16 })
	tall := weights(func(c *model.Config) { c.ImageHeight, c.ImageWidth, c.InputSize = 196, 4, 49 })
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--init " + nine + ": must hold weights that tell 10 classes apart", []string{"--init", nine}},
		{"--init " + tall + ": must hold weights for images of 28x28x1, as the data has", []string{"--init", tall}},
		{"--hidden-size 128: must be left out or be 16", []string{"--init", narrow, "--hidden-size", "128"}},
		{"--val-fraction 0.0001", []string{"--val-fraction", "0.0001"}},
	} {
		p := process{dir: t.TempDir(), args: append([]string{"train", "--data", dataDir}, c.args...)}
		r := p.run(t)
		if r.code != 2 || !strings.Contains(r.stderr, "crnn: "+c.want) {
			t.Errorf("crnn %s: exit code %d, want 2 and %q\n%s", strings.Join(p.args, " "), r.code, c.want, r.stderr)
		}
		if left, _ := os.ReadDir(p.dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", c.want, left)
		}
	}
}

// A run works even if runs/latest cannot lead to it.
func TestLatestIsADirectory(t *testing.T) {
	work := t.TempDir()
	latest := filepath.Join(work, "runs", "latest")
	if err := os.MkdirAll(latest, 0o755); err != nil {
		t.Fatal(err)
	}
	r := process{dir: work, args: small(smallData(t), "runs/one", "--max-steps", "1")}.run(t)
	if r.code != 0 || !strings.Contains(r.stderr, "warning: runs/latest does not lead to this run: ") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if info, err := os.Lstat(latest); err != nil || !info.IsDir() {
		t.Errorf("runs/latest is %v (%v), want the directory that it was", info, err)
	}
}

// A flag beats the environment, which beats the config file, which beats the default.
func TestPrecedence(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	config := filepath.Join(work, "c.yaml")
	write(t, config, []byte("epochs: 11\nbatch_size: 12\nlr: 0.25\n"))
	out := filepath.Join(work, "run")
	r := process{
		args: small(dataDir, out, "--config", config, "--max-steps", "1"), // with --batch-size 20
		env:  []string{"CRNN_BATCH_SIZE=30", "CRNN_EPOCHS=22", "CRNN_NO_SHUFFLE=1"},
	}.run(t)
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	got, _, err := train.LoadConfig(filepath.Join(out, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := train.Default()
	want.LR = 0.25                        // from the file
	want.Epochs = 22                      // the environment beats the file
	want.NoShuffle = true                 // the environment beats the default
	want.BatchSize, want.MaxSteps = 20, 1 // the command line beats them all
	want.Device, want.HiddenSize, want.NumLayers, want.LogSteps, want.Data = "cpu", 16, 2, true, dataDir
	want.InputSize = 56        // auto, for these images
	want.Threads = got.Threads // as many as the machine has
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings in force (-want +got):\n%s", diff)
	}
}

func TestThreadsGiveTheSameBits(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	var want outcome
	for _, threads := range []string{"1", "2", "3", "8"} {
		out := filepath.Join(work, threads)
		crnn(t, small(dataDir, out, "--epochs", "1", "--threads", threads)...)
		got := outcomeOf(t, out)
		if threads == "1" {
			want = got
		}
		same(t, threads+" threads", got, want)
	}
}

// A run can start from another run's weights, which set the sizes.
func TestInit(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	a, b := filepath.Join(work, "a"), filepath.Join(work, "b")
	crnn(t, small(dataDir, a, "--epochs", "1")...)
	last := filepath.Join(a, "last.safetensors")
	crnn(t, "train", "--data", dataDir, "--out", b, "--init", last, "--max-steps", "1")
	got, err := model.ReadWeights(filepath.Join(b, "last.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := model.ReadWeights(last)
	if err != nil {
		t.Fatal(err)
	}
	if got.HiddenSize != 16 || got.NumLayers != 2 {
		t.Errorf("sizes %+v", got.Config)
	}
	// The first step of Adam moves a parameter by the learning rate at most: g/√g² ≤ 1, and
	// the rounding of float32 adds less than a millionth.
	for i := range got.Params {
		if d := got.Params[i] - before.Params[i]; d > 0.000501 || d < -0.000501 {
			t.Fatalf("parameter %d went from %v to %v in a step", i, before.Params[i], got.Params[i])
		}
	}
}

// The environment's data set beats the data set of the config file and of a resumed run.
func TestDataOfEnvironment(t *testing.T) {
	work, dir := t.TempDir(), smallData(t)
	config, out := filepath.Join(work, "c.yaml"), filepath.Join(work, "run")
	write(t, config, []byte("data: /does/not/exist\n"))
	env := func(dir string) []string { return []string{"CRNN_DATA=" + dir} }
	args := []string{"train", "--config", config, "--out", out, "--hidden-size", "16", "--num-layers", "2",
		"--epochs", "1"}
	if r := (process{args: args, env: env(dir)}).run(t); r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	moved := filepath.Join(work, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	resume := process{args: []string{"train", "--resume", out, "--epochs", "2"}}
	resume.refused(t, 1, "checkpoint of "+out+": data: there is no directory "+dir)
	resume.env = env(moved)
	if r := resume.run(t); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// A run that ends before its last epoch says why, and says it again on --resume.
func TestEndedBy(t *testing.T) {
	work := t.TempDir()
	d := smallData(t)
	for _, c := range []struct {
		out, want string
		flags     []string
	}{
		{"cut", "ended by --max-steps 1\n", []string{"--max-steps", "1"}},
		// The loss of a network that learns nothing cannot improve.
		{"stopped", "ended by --early-stopping 1: ", []string{"--early-stopping", "1", "--lr", "1e-30", "--epochs", "9"}},
	} {
		r := process{dir: work, args: small(d, c.out, c.flags...)}.run(t)
		if r.code != 0 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: exit code %d, want %q in\n%s", c.out, r.code, c.want, r.stderr)
		}
		r = process{dir: work, args: []string{"train", "--resume", c.out, "--epochs", "20"}}.run(t)
		if r.code != 0 || !strings.Contains(r.stderr, c.want[:len("ended by --max-steps")]) {
			t.Errorf("%s resumed: exit code %d, want %q in\n%s", c.out, r.code, c.want, r.stderr)
		}
	}
}
