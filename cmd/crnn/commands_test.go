//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/data"
	"crnn/data/picture"
	"crnn/model"
)

// jsonOf runs a command line that prints JSON and reads it into v.
func jsonOf(t *testing.T, v any, args ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(crnn(t, args...)), v); err != nil {
		t.Fatalf("crnn %s: %v", strings.Join(args, " "), err)
	}
}

func keysOf(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// crnn eval reports the same loss and accuracy of a run's weights as the run itself.
func TestEvalAgreesWithTraining(t *testing.T) {
	dataDir := smallData(t)
	out := filepath.Join(t.TempDir(), "run")
	crnn(t, small(dataDir, out, "--epochs", "2", "--seed", "5", "--val-fraction", "0.25")...)
	test := events(t, out, "test")[0]
	best := events(t, out, "epoch")[int(test["epoch"].(float64))-1]
	for _, c := range []struct {
		split          string
		count          float64
		loss, accuracy any
	}{
		{"test", smallTest, test["loss"], test["accuracy"]},
		{"val", smallTrain / 4, best["val_loss"], best["val_accuracy"]},
		{"train", smallTrain * 3 / 4, nil, nil}, // training averaged with dropout, so its figures differ
	} {
		var got map[string]any
		args := []string{"eval", "--weights", filepath.Join(out, "best.safetensors"), "--data", dataDir,
			"--split", c.split, "--seed", "5", "--val-fraction", "0.25", "--json"}
		jsonOf(t, &got, args...)
		if diff := cmp.Diff([]string{"accuracy", "count", "loss", "split"}, keysOf(got)); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if got["split"] != c.split || got["count"] != c.count ||
			c.loss != nil && (got["loss"] != c.loss || got["accuracy"] != c.accuracy) {
			t.Errorf("%v, want %+v", got, c)
		}
		text := crnn(t, args[:len(args)-1]...)
		if !regexp.MustCompile(`^` + c.split + `: loss \d\.\d{3}, accuracy \d+\.\d\d% of \d+ images\n$`).MatchString(text) {
			t.Errorf("%q", text)
		}
	}
}

func TestPredict(t *testing.T) {
	dataDir, work := smallData(t), t.TempDir()
	out := filepath.Join(work, "run")
	crnn(t, small(dataDir, out, "--epochs", "1")...)
	weights := filepath.Join(out, "best.safetensors")
	var files []string
	for i := range 70 { // more than the network takes at a time
		files = append(files, filepath.Join(work, string(rune('a'+i/10))+string(rune('0'+i%10))+".png"))
		write(t, files[i], pngOf(t, 28+i))
	}
	var got []map[string]any
	jsonOf(t, &got, append([]string{"predict", "--json", "--weights", weights}, files...)...)
	if len(got) != len(files) {
		t.Fatalf("%d predictions for %d files", len(got), len(files))
	}
	for i, p := range got {
		if diff := cmp.Diff([]string{"class", "class_index", "file", "probabilities", "probability"}, keysOf(p)); diff != "" {
			t.Fatalf("keys (-want +got):\n%s", diff)
		}
		all, sum := p["probabilities"].([]any), 0.0
		for _, x := range all {
			sum += x.(float64)
		}
		index := int(p["class_index"].(float64))
		// Ten numbers divided by their sum add up to 1, but for a few units of rounding.
		if p["file"] != files[i] || len(all) != 10 || math.Abs(sum-1) > 1e-12 ||
			p["class"] != data.FashionMNIST().Classes[index] || p["probability"] != all[index] {
			t.Fatalf("%v", p)
		}
	}

	text := crnn(t, "predict", files[0], files[1], "--weights", weights, "--data", "/does/not/exist") // not read
	line := `[a-z0-9/._A-Z-]+\.png: (` + strings.Join(data.FashionMNIST().Classes, "|") +
		`)  \((.+ \d+\.\d%, ){2}.+ \d+\.\d%\)(  note: .+)?\n`
	if !regexp.MustCompile(`^(` + line + `){2}$`).MatchString(text) {
		t.Errorf("%q", text)
	}
}

// crnn predict on pictures agrees with crnn eval on a test set of the same pictures.
func TestPredictAgreesWithEval(t *testing.T) {
	set, err := smallSet()
	if err != nil {
		t.Fatal(err)
	}
	const count = 70 // more than the network takes at a time
	dir, work := smallData(t), t.TempDir()
	weights := filepath.Join(work, "w.safetensors")
	if err := model.WriteWeights(weights, model.NewState(model.Default(), 1)); err != nil {
		t.Fatal(err)
	}
	var files []string
	var pixels []byte
	labels := set.Test.Labels[:count]
	for i := range count {
		var file bytes.Buffer
		gray := &image.Gray{Pix: set.Test.Image(i), Stride: 28, Rect: image.Rect(0, 0, 28, 28)}
		if err := png.Encode(&file, gray); err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(work, strconv.Itoa(i)+".png"))
		write(t, files[i], file.Bytes())
		shot, err := picture.Read(files[i])
		if err != nil {
			t.Fatal(err)
		}
		taken, _ := shot.Image(data.FashionMNIST(), picture.Auto) // some are turned to bright on dark
		pixels = append(pixels, taken...)
	}
	writeIDX(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), pixels, count, 28, 28)
	writeIDX(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), labels, count)

	var predictions []prediction
	jsonOf(t, &predictions, append([]string{"predict", "--json", "--device", "cpu", "--weights", weights}, files...)...)
	loss, hits := 0.0, 0
	for i, p := range predictions {
		loss -= math.Log(p.Probabilities[labels[i]]) / count
		if p.ClassIndex == int(labels[i]) {
			hits++
		}
	}
	var want evaluation
	jsonOf(t, &want, "eval", "--json", "--device", "cpu", "--weights", weights, "--data", dir)
	// The logits are the same bits; the rest is computed in float64.
	if len(predictions) != count || math.Abs(loss-want.Loss) > 1e-12 || hits != int(math.Round(want.Accuracy*count/100)) {
		t.Errorf("%d predictions with loss %v and %d hits, in eval: %+v", len(predictions), loss, hits, want)
	}
}

func TestBench(t *testing.T) {
	dataDir := smallData(t)
	for _, c := range []struct {
		mode, batch string // batch: the value of the flag; empty: no flag
		size        float64
	}{{"train", "7", 7}, {"eval", "7", 7}, {"predict", "", 1}, {"predict", "1", 1}} {
		mode := c.mode
		args := []string{"bench", "--mode", mode, "--steps", "3", "--threads", "1", "--data", dataDir, "--json"}
		if c.batch != "" {
			args = append(args, "--batch-size", c.batch)
		}
		var got map[string]any
		jsonOf(t, &got, args...)
		if diff := cmp.Diff([]string{"batch_size", "device", "device_name", "images_per_second", "mode", "peak_bytes",
			"precision", "step_ms", "step_ms_min", "step_ms_p95", "threads"}, keysOf(got)); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		number := func(key string) float64 { return got[key].(float64) }
		if got["mode"] != mode || got["device"] != "cpu" || got["precision"] != "fp32" || number("batch_size") != c.size ||
			number("threads") != 1 {
			t.Errorf("%v", got)
		}
		if number("peak_bytes") < 1<<20 {
			t.Errorf("peak memory %v, but any Go program has more than a MiB", got["peak_bytes"])
		}
		min, median, p95 := number("step_ms_min"), number("step_ms"), number("step_ms_p95")
		if !(0 < min && min <= median && median <= p95) {
			t.Errorf("%v", got)
		}
	}
}

func TestCompare(t *testing.T) {
	work, dataDir := t.TempDir(), smallData(t)
	a, b := filepath.Join(work, "a"), filepath.Join(work, "b")
	crnn(t, small(dataDir, a, "--epochs", "1")...)
	crnn(t, small(dataDir, b, "--epochs", "1", "--lr", "0.002")...)
	figure := filepath.Join(work, "c.png")
	table := crnn(t, "compare", a, b, "--out", figure)
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "lr") || !strings.Contains(lines[2], "0.002") {
		t.Errorf("table:\n%s", table)
	}
	if _, err := png.Decode(bytes.NewReader(read(t, figure))); err != nil {
		t.Error(err)
	}
	lastLineNames(t, 1, "cannot write "+work+": a directory", "compare", a, b, "--out", work)
}

func TestSamples(t *testing.T) {
	figure := filepath.Join(t.TempDir(), "s.png")
	crnn(t, "samples", "--data", realData(t), "--out", figure)
	if _, err := png.Decode(bytes.NewReader(read(t, figure))); err != nil {
		t.Error(err)
	}
}

// The figure shows a single image, though it usually starts at the second one.
func TestSamplesOfOneImage(t *testing.T) {
	dir, figure := smallData(t), filepath.Join(t.TempDir(), "s.png")
	writeIDX(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), make([]byte, 28*28), 1, 28, 28)
	writeIDX(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), []byte{3}, 1)
	crnn(t, "samples", "--data", dir, "--out", figure)
	if _, err := png.Decode(bytes.NewReader(read(t, figure))); err != nil {
		t.Error(err)
	}
}

func TestSummary(t *testing.T) {
	if table := crnn(t, "summary"); !strings.Contains(table, "Total params: 209,482\n") {
		t.Errorf("table:\n%s", table)
	}
	// 3 fewer RNN layers, each of 2 matrices of 128x128 and 2 biases.
	if table := crnn(t, "summary", "--num-layers", "2"); !strings.Contains(table, "Total params: 110,410\n") {
		t.Errorf("table:\n%s", table)
	}
}

func TestData(t *testing.T) {
	dir := realData(t)
	if got := crnn(t, "data", "where", "--data", dir); got != dir+"\n" {
		t.Errorf("where: %q", got)
	}
	if got := crnn(t, "data", "fetch", "--data", dir); got != dir+"\n" { // it is all there
		t.Errorf("fetch: %q", got)
	}
	if got := crnn(t, "data", "verify", "--data", dir); strings.Count(got, ": Fashion-MNIST, ") != 4 {
		t.Errorf("verify: %s", got)
	}
	// Fashion-MNIST goes into the cache even if the environment names the user's own set.
	own := smallData(t)
	cache := t.TempDir()
	inCache := filepath.Join(cache, "crnn", "fashion-mnist")
	if err := os.CopyFS(inCache, os.DirFS(dir)); err != nil { // so that nothing is downloaded
		t.Fatal(err)
	}
	p := process{args: []string{"data", "fetch"}, env: []string{"XDG_CACHE_HOME=" + cache, "CRNN_DATA=" + own}}
	if r := p.run(t); r.code != 0 || r.stdout != inCache+"\n" || !strings.Contains(r.stderr, own) {
		t.Errorf("fetch beside CRNN_DATA: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	verified := crnn(t, "data", "verify", "--data", own)
	if strings.Count(verified, ": in order, but not the file of Fashion-MNIST, ") != 4 {
		t.Errorf("verify: %s", verified)
	}
	write(t, filepath.Join(own, "t10k-labels-idx1-ubyte"), nil)
	r := process{args: []string{"data", "verify", "--data", own}}.run(t)
	if r.code != 1 || !strings.Contains(r.stdout, "t10k-labels-idx1-ubyte: damaged\n") ||
		!strings.Contains(r.stderr, "t10k-labels-idx1-ubyte: ") {
		t.Errorf("verify: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestDoctorAndVersion(t *testing.T) {
	dir := realData(t)
	got := crnn(t, "doctor", "--data", dir)
	for _, want := range []string{"processor: ", "processor features: ", "kernels: ", "CPU precisions: ", "memory: ",
		"NVIDIA driver: ", "NVIDIA GPUs: ", "CUDA: ", noGPU(t),
		dir + ": 60000 training and 10000 test images, Fashion-MNIST"} {
		if !strings.Contains(got, want) {
			t.Errorf("crnn doctor lacks %q:\n%s", want, got)
		}
	}
	if got := crnn(t, "doctor", "--data", "/does/not/exist"); !strings.Contains(got, "crnn data fetch") {
		t.Errorf("crnn doctor gives no remedy:\n%s", got)
	}
	if got := crnn(t, "version"); !strings.HasPrefix(got, "crnn "+version+"\n") ||
		!strings.Contains(got, runtime.Version()) {
		t.Errorf("%q", got)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}} {
		r := process{args: args}.run(t)
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "\n  predict ") {
			t.Errorf("crnn %v: exit code %d, %q\n%s", args, r.code, r.stderr, r.stdout)
		}
	}
	for _, args := range [][]string{{"help", "train"}, {"train", "--help"}, {"train", "-h"},
		{"train", "--epochs", "3", "--help"}} {
		r := process{args: args}.run(t)
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "--lr-schedule") ||
			!strings.Contains(r.stdout, "Example:") {
			t.Errorf("crnn %v: exit code %d, %q\n%s", args, r.code, r.stderr, r.stdout)
		}
	}
}

// A reader that stops reading is not an error, a full disk is.
func TestStandardOutput(t *testing.T) {
	start := func(args []string, stdout *os.File) (int, string) {
		cmd := process{args: args}.command(t, t.Context())
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = stdout, &stderr
		cmd.Run()
		return cmd.ProcessState.ExitCode(), stderr.String()
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	if code, stderr := start([]string{"summary"}, w); code != 0 || stderr != "" {
		t.Errorf("closed pipe: exit code %d, %q", code, stderr)
	}
	// Another failure is still reported.
	damaged := smallData(t)
	write(t, filepath.Join(damaged, "t10k-labels-idx1-ubyte"), nil)
	if code, stderr := start([]string{"data", "verify", "--data", damaged}, w); code != 1 ||
		!strings.Contains(stderr, "t10k-labels-idx1-ubyte: ") {
		t.Errorf("closed pipe and damaged data: exit code %d, %q", code, stderr)
	}
	// Training is not finished by a closed output: it stops, and says how to continue.
	out := filepath.Join(t.TempDir(), "run")
	code, stderr := start(small(smallData(t), out, "--epochs", "2"), w)
	if code != 1 || !strings.Contains(stderr, "broken pipe; `crnn train --resume "+out+"` goes on") {
		t.Errorf("closed pipe: exit code %d, %q", code, stderr)
	}
	if crnn(t, "train", "--resume", out) == "" {
		t.Error("a run whose output was closed cannot be resumed")
	}

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return // Linux has it
	}
	defer full.Close()
	if code, stderr := start([]string{"summary"}, full); code != 1 ||
		!strings.HasPrefix(stderr, "crnn: standard output: ") {
		t.Errorf("full disk: exit code %d, %q", code, stderr)
	}
}
