//go:build cuda

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crnn/model"
	"crnn/rng"
	"crnn/tests/fixture"
)

// tinyTrain and tinyTest are the numbers of images of tiny's data set.
const (
	tinyTrain = 20
	tinyTest  = 6
)

// tinySteps is the number of steps per epoch: 18 images train, the last two in a smaller batch.
const tinySteps = 5

// tiny is a command line that trains a tiny network on a few images.
func tiny(dataDir, out, device string, more ...string) []string {
	return append([]string{"train", "--data", dataDir, "--out", out, "--device", device,
		"--hidden-size", "16", "--num-layers", "2", "--batch-size", "4", "--log-steps"}, more...)
}

// onGPU is a command line with the emulated driver. Its settings have the form CARD=75.
func onGPU(t *testing.T, args []string, settings ...string) process {
	t.Helper()
	p := process{args: args}.onDriver(emulated(t))
	for _, s := range settings {
		p.env = append(p.env, "CRNN_EMULATOR_"+s)
	}
	return p
}

// succeeds runs a command line that must succeed without a complaint from the emulated driver, and
// returns its standard output.
func (p process) succeeds(t *testing.T) string {
	t.Helper()
	r := p.run(t)
	if r.code != 0 || strings.Contains(r.stderr, "emulated CUDA: ") {
		t.Fatalf("crnn %s: exit code %d\n%s", strings.Join(p.args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// losses returns the losses of a run's steps.
func losses(t *testing.T, run string) (list []float64) {
	t.Helper()
	for _, e := range events(t, run, "step") {
		list = append(list, e["loss"].(float64))
	}
	return list
}

// sameLosses compares losses that differ by rounding only. Another order of summation moves a
// gradient by some 1e-6 of it. Adam divides by the gradient's size, so a parameter that hardly
// matters moves by up to a step. Another image, weight or dropout mask moves a loss by more than
// 1e-3.
func sameLosses(t *testing.T, name string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d steps, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if off := math.Abs(got[i]/want[i] - 1); !(off <= 1e-4) {
			t.Errorf("%s: loss %v in step %d, want %v", name, got[i], i+1, want[i])
		}
	}
}

// The program follows PyTorch's training of the recipe from the same weights, in float64.
func TestCUDATrajectory(t *testing.T) {
	f := fixture.Load(t, "trajectory")
	const steps = 10
	batch, err := strconv.Atoi(f.Meta("batch"))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "run")
	onGPU(t, []string{"train", "--device", "cuda", "--data", firstImages(t, steps*batch, 1), "--out", out,
		"--init", fixture.Path(t, f.Meta("weights")), "--batch-size", strconv.Itoa(batch), "--max-steps", strconv.Itoa(steps),
		"--no-shuffle", "--dropout", "0", "--val-fraction", "0", "--log-steps"}).succeeds(t)
	sameLosses(t, "GPU", losses(t, out), f.F64("losses")[:steps])
}

// With the same seed a GPU gets the CPU's initial weights, split, order and dropout masks.
func TestCUDASeed(t *testing.T) {
	work, dataDir := t.TempDir(), firstImages(t, tinyTrain, tinyTest)
	run := func(device string, more ...string) string {
		out := filepath.Join(work, fmt.Sprint(device, len(more)))
		onGPU(t, tiny(dataDir, out, device, append(more, "--seed", "9")...)).succeeds(t)
		return out
	}
	cpu, gpu := run("cpu", "--epochs", "2"), run("cuda", "--epochs", "2")
	sameLosses(t, "GPU", losses(t, gpu), losses(t, cpu))
	for _, kind := range []string{"step", "epoch", "test"} {
		if got, want := len(events(t, gpu, kind)), len(events(t, cpu, kind)); got != want {
			t.Errorf("%d lines of %s, want %d", got, kind, want)
		}
	}

	// At this learning rate a step moves only parameters that are 0.
	still := []string{"--max-steps", "1", "--lr", "1e-30"}
	weights := func(run string) []float32 {
		state, err := model.ReadWeights(filepath.Join(run, "last.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return state.Params
	}
	got, want := weights(run("cuda", still...)), weights(run("cpu", still...))
	for i := range want {
		if off := math.Abs(float64(got[i]) - float64(want[i])); off > 3e-30 {
			t.Fatalf("initial parameter %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// waitFor waits until the metrics of a run have an event of the kind.
func waitFor(t *testing.T, out, kind string) {
	t.Helper()
	for end := time.Now().Add(hang); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		metrics, _ := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
		if strings.Contains(string(metrics), `{"event":"`+kind+`"`) {
			return
		}
	}
	t.Fatalf("no %s", kind)
}

// A run on a GPU has the same bits each time, also after an interruption or a kill. It can be
// resumed on another device.
func TestCUDAResume(t *testing.T) {
	work, dataDir := t.TempDir(), firstImages(t, tinyTrain, tinyTest)
	const epochs, steps = "3", 3 * tinySteps
	whole, cpu := filepath.Join(work, "whole"), filepath.Join(work, "cpu")
	onGPU(t, tiny(dataDir, whole, "cuda", "--epochs", epochs)).succeeds(t)
	want := outcomeOf(t, whole)

	t.Run("again", func(t *testing.T) {
		again := filepath.Join(work, "again")
		onGPU(t, tiny(dataDir, again, "cuda", "--epochs", epochs)).succeeds(t)
		same(t, "again", outcomeOf(t, again), want)
	})
	t.Run("interrupted", func(t *testing.T) {
		out, elsewhere := filepath.Join(work, "interrupted"), filepath.Join(work, "elsewhere")
		cmd, stderr := onGPU(t, tiny(dataDir, out, "cuda", "--epochs", epochs)).start(t, out)
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Fatalf("exit code %d, want 130\n%s", code, stderr)
		}
		if err := os.CopyFS(elsewhere, os.DirFS(out)); err != nil {
			t.Fatal(err)
		}
		onGPU(t, []string{"train", "--resume", out}).succeeds(t)
		same(t, "interrupted", outcomeOf(t, out), want)
		crnn(t, "train", "--resume", elsewhere, "--device", "cpu")
		sameLosses(t, "CPU", losses(t, elsewhere), losses(t, whole))
	})
	t.Run("killed", func(t *testing.T) {
		out := filepath.Join(work, "killed")
		cmd, _ := onGPU(t, tiny(dataDir, out, "cuda", "--epochs", epochs)).start(t, out)
		waitFor(t, out, "epoch")
		cmd.Process.Kill()
		cmd.Wait()
		if len(events(t, out, "step")) == steps {
			t.Fatal("the run ended before it was killed")
		}
		onGPU(t, []string{"train", "--resume", out}).succeeds(t)
		same(t, "killed", outcomeOf(t, out), want)
	})
	t.Run("from the CPU", func(t *testing.T) {
		crnn(t, tiny(dataDir, cpu, "cpu", "--epochs", "1")...)
		onGPU(t, []string{"train", "--resume", cpu, "--epochs", epochs, "--device", "cuda"}).succeeds(t)
		sameLosses(t, "GPU", losses(t, cpu), losses(t, whole))
	})
}

// A run in a precision that the CPU lacks can be resumed there in fp32, and the error says so.
func TestCUDAPrecisionOfResume(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	for precision, because := range map[string]string{"tf32": "",
		"bf16": " (bf16 needs AVX-512 BF16 or Armv8.6's BF16; CRNN_CPU_KERNELS chose the generic kernels)"} {
		out := filepath.Join(t.TempDir(), "run")
		onGPU(t, tiny(dataDir, out, "cuda", "--epochs", "1", "--precision", precision)).succeeds(t)
		resume := []string{"train", "--resume", out, "--epochs", "2", "--device", "cpu"}
		process{args: resume}.with("generic").refused(t, 2,
			"crnn: --precision "+precision+": the CPU computes in fp32 only"+because+": use --precision fp32")
		crnn(t, append(resume, "--precision", "fp32")...)
		if n := len(losses(t, out)); n != 2*tinySteps {
			t.Errorf("%s: %d steps, want %d", precision, n, 2*tinySteps)
		}
	}
}

// Sizes at and beside the limits of the kernels train as on the CPU.
func TestCUDASizes(t *testing.T) {
	dataDir := firstImages(t, 24, 2)
	for _, c := range []struct{ hidden, layers, input, batch int }{
		{1, 1, 3136, 1},
		{7, 3, 49, 3},
		{128, 5, 56, 4}, // in clusters
		{128, 5, 64, 24},
		{129, 5, 56, 2},
		{130, 2, 98, 5},
		{36, 6, 196, 7},
		{3, 1, 4, 2}, // 784 time steps
		{16, 2, 448, 8192},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			run := func(device string) []float64 {
				out := filepath.Join(t.TempDir(), "run")
				onGPU(t, []string{"train", "--device", device, "--data", dataDir, "--out", out, "--log-steps", "--max-steps", "2",
					"--val-fraction", "0", "--hidden-size", strconv.Itoa(c.hidden), "--num-layers", strconv.Itoa(c.layers),
					"--input-size", strconv.Itoa(c.input), "--batch-size", strconv.Itoa(c.batch)}, "THREADS=1").succeeds(t)
				return losses(t, out)
			}
			sameLosses(t, "GPU", run("cuda"), run("cpu"))
		})
	}
}

// Images in colours, with sides that no pool divides, train as on the CPU.
func TestCUDAColours(t *testing.T) {
	const train, test, height, width, classes = 40, 6, 13, 18, 26
	dir := t.TempDir()
	stream := rng.Stream{Seed: 5}
	for name, count := range map[string]int{"train": train, "t10k": test} {
		pixels, labels := make([]byte, count*height*width*3), make([]byte, count)
		for i := range pixels {
			pixels[i] = byte(stream.Below(256))
		}
		for i := range labels {
			labels[i] = byte(i * 7 % classes)
		}
		writeIDX(t, filepath.Join(dir, name+"-images-idx4-ubyte"), pixels, count, height, width, 3)
		writeIDX(t, filepath.Join(dir, name+"-labels-idx1-ubyte"), labels, count)
	}
	run := func(device string) []float64 {
		out := filepath.Join(t.TempDir(), "run")
		onGPU(t, []string{"train", "--device", device, "--data", dir, "--out", out, "--log-steps", "--max-steps", "4",
			"--channels", "9,12", "--hidden-size", "24", "--num-layers", "2", "--batch-size", "7"}).succeeds(t)
		return losses(t, out)
	}
	sameLosses(t, "GPU", run("cuda"), run("cpu"))
}

// Data that is large beside the card's memory stays in the host's. The weights are the same bits.
func TestCUDADataInTheHostsMemory(t *testing.T) {
	set, err := smallSet()
	if err != nil {
		t.Fatal(err)
	}
	const train, test = 60000, 20 // 47 MB
	work, dir := t.TempDir(), firstImages(t, tinyTrain, test)
	writeIDX(t, filepath.Join(dir, "train-images-idx3-ubyte"), set.Train.Images[:train*28*28], train, 28, 28)
	writeIDX(t, filepath.Join(dir, "train-labels-idx1-ubyte"), set.Train.Labels[:train], train)
	var want []byte
	for _, mib := range []int{4096, 150} {
		out := filepath.Join(work, strconv.Itoa(mib))
		calls := filepath.Join(work, "calls")
		p := onGPU(t, small(dir, out, "--device", "cuda", "--max-steps", "4", "--val-fraction", "0"),
			fmt.Sprint("MEMORY=", mib<<20), "CALLS="+calls)
		p.succeeds(t)
		called, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		if fetched := bytes.Contains(called, []byte("cuStreamWaitEvent")); fetched != (mib == 150) {
			t.Errorf("%d MiB: the images were fetched from the host's memory: %v", mib, fetched)
		}
		weights, err := os.ReadFile(filepath.Join(out, "last.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = weights
		} else if !bytes.Equal(weights, want) {
			t.Error("other weights")
		}
	}
}

var tooLittle = regexp.MustCompile(`^crnn: cuda:0 has too little memory: ` +
	`the network with batches of (\d+) images needs ([0-9.]+ [MG]iB), ([0-9.]+ [MG]iB) are free; (.*)$`)

// tooMuch runs a command line that must be refused because of its memory, and returns the remedy in
// the error.
func (p process) tooMuch(t *testing.T) (remedy string) {
	t.Helper()
	r := p.run(t)
	m := tooLittle.FindStringSubmatch(errorOf(t, r.stderr))
	if r.code != 1 || m == nil {
		t.Fatalf("crnn %s: exit code %d\n%s", strings.Join(p.args, " "), r.code, r.stderr)
	}
	return m[4]
}

// A batch that does not fit into the card's memory is refused before the first step. The batch that
// the error offers fits.
func TestCUDAMemory(t *testing.T) {
	dataDir := firstImages(t, 240, 2)
	out := filepath.Join(t.TempDir(), "run")
	train := func(memory string, batch int) process {
		return onGPU(t, []string{"train", "--device", "cuda:0", "--data", dataDir, "--out", out, "--hidden-size", "16",
			"--num-layers", "2", "--val-fraction", "0", "--max-steps", "1", "--batch-size", strconv.Itoa(batch)},
			"MEMORY="+memory)
	}
	const memory = "140000000"
	remedy := train(memory, 240).tooMuch(t)
	var fits int
	if _, err := fmt.Sscanf(remedy, "a batch-size of %d would fit", &fits); err != nil || fits < 101 || fits > 239 {
		t.Fatalf("remedy %q", remedy)
	}
	if more := train(memory, fits+1).tooMuch(t); more != remedy {
		t.Errorf("one image more: remedy %q, want %q", more, remedy)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a run was begun")
	}
	train(memory, fits).succeeds(t)
	// An evaluation does not fit, whatever the batch.
	none := train("80000000", 4).tooMuch(t)
	if !strings.HasPrefix(none, "no batch-size would fit: smaller images or hidden-size") {
		t.Errorf("remedy %q", none)
	}

	// A resumed run keeps its batch size.
	run := filepath.Join(t.TempDir(), "run")
	crnn(t, tiny(dataDir, run, "cpu", "--batch-size", "240", "--val-fraction", "0", "--epochs", "1")...)
	resume := onGPU(t, []string{"train", "--resume", run, "--epochs", "2", "--device", "cuda:0"}, "MEMORY="+memory)
	want := remedy + ", but a run that goes on keeps its own: end other programs on the GPU, or use --device cpu"
	if got := resume.tooMuch(t); got != want {
		t.Errorf("remedy %q, want %q", got, want)
	}

	weights := filepath.Join(t.TempDir(), "w.safetensors")
	if err := model.WriteWeights(weights, model.NewState(model.Default(), 1)); err != nil {
		t.Fatal(err)
	}
	// The benchmark makes its network only for the given batch.
	bench := func(batch int) process {
		return onGPU(t, []string{"bench", "--device", "cuda:0", "--data", dataDir, "--steps", "1", "--mode", "eval",
			"--batch-size", strconv.Itoa(batch)}, "MEMORY=100000000")
	}
	remedy = bench(8192).tooMuch(t)
	if _, err := fmt.Sscanf(remedy, "a batch-size of %d would fit", &fits); err != nil || fits < 1 {
		t.Fatalf("remedy %q", remedy)
	}
	bench(fits).succeeds(t)
	// There is no flag for the batches of an evaluation: it takes as many images as fit.
	eval := []string{"eval", "--weights", weights, "--data", dataDir, "--device", "cuda:0", "--split", "train",
		"--val-fraction", "0.9", "--json"}
	sameEvaluation(t, onGPU(t, eval, "MEMORY=80000000").succeeds(t), onGPU(t, eval).succeeds(t))
	for _, args := range [][]string{eval, {"predict", "--weights", weights, pictureFile(t, 40), "--device", "cuda:0"}} {
		if remedy := onGPU(t, args, "MEMORY=68000000").tooMuch(t); !strings.HasPrefix(remedy, "no batch-size would fit: ") {
			t.Errorf("remedy %q", remedy)
		}
	}
	// The weights alone do not fit.
	remedy = onGPU(t, []string{"train", "--device", "cuda:0", "--data", dataDir, "--hidden-size", "1024"},
		"MEMORY=100000000").tooMuch(t)
	if !strings.HasPrefix(remedy, "no batch-size would fit: ") {
		t.Errorf("remedy %q", remedy)
	}
}

// pictureFile writes a gray picture with the given side in pixels that is not blank.
func pictureFile(t *testing.T, side int) string {
	t.Helper()
	gray := image.NewGray(image.Rect(0, 0, side, side))
	for i := range gray.Pix {
		gray.Pix[i] = uint8(i * i / side)
	}
	path := filepath.Join(t.TempDir(), "picture.png")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := png.Encode(file, gray); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameEvaluation compares what crnn eval --json printed on two devices. The float32 logits are of
// size 1 and rounded some hundred times: they differ by at most 1e-5.
func sameEvaluation(t *testing.T, got, want string) {
	t.Helper()
	var a, b evaluation
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !(math.Abs(a.Loss-b.Loss) <= 1e-5) {
		t.Errorf("loss %v, want %v", a.Loss, b.Loss)
	}
	a.Loss, b.Loss = 0, 0
	if a != b {
		t.Errorf("%+v, want %+v", a, b)
	}
}

// Evaluation and prediction give the same results as on the CPU.
func TestCUDAEvalAndPredict(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, 13)
	weights := fixture.Path(t, fixture.Load(t, "trajectory").Meta("weights"))
	on := func(device string, args ...string) string {
		return onGPU(t, append(args, "--weights", weights, "--data", dataDir, "--json", "--device", device)).succeeds(t)
	}
	for _, split := range []string{"test", "val"} {
		sameEvaluation(t, on("cuda", "eval", "--split", split), on("cpu", "eval", "--split", split))
	}
	predict := []string{"predict", pictureFile(t, 28), pictureFile(t, 61), pictureFile(t, 100)}
	var got, want []prediction
	if err := json.Unmarshal([]byte(on("cuda", predict...)), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(on("cpu", predict...)), &want); err != nil {
		t.Fatal(err)
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-5 }) // as in sameEvaluation
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("predictions (-want +got):\n%s", diff)
	}
}

func TestCUDABench(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	bench := func(more ...string) string {
		args := []string{"bench", "--device", "cuda", "--data", dataDir, "--batch-size", "2", "--steps", "2"}
		return onGPU(t, append(args, more...)).succeeds(t)
	}
	for _, mode := range []string{"train", "eval"} {
		var got benchmark
		var keys map[string]any
		text := []byte(bench("--mode", mode, "--precision", "bf16", "--profile", "--json"))
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		wantKeys := []string{"batch_size", "clock_mhz", "device", "device_name", "images_per_second",
			"kernels", "mode", "peak_bytes", "precision", "step_ms", "step_ms_min", "step_ms_p95", "threads"}
		if diff := cmp.Diff(wantKeys, keysOf(keys)); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		// The weights, their gradients and Adam's moments are 3.4 MB.
		if got.Device != "cuda:0" || got.DeviceName != "emulated sm_90 GPU" || got.Mode != mode || got.Precision != "bf16" ||
			got.BatchSize != 2 || got.PeakBytes < 3_400_000 {
			t.Errorf("%+v", got)
		}
		if got.ClockMHz != 1980 {
			t.Errorf("%d MHz, the emulated card has 1980", got.ClockMHz)
		}
		launches := 0
		for _, k := range got.Kernels {
			launches += k.Launches
			if !(k.Microseconds > 0) {
				t.Errorf("%s runs for %v µs", k.Name, k.Microseconds)
			}
		}
		has := func(part string) bool {
			return slices.ContainsFunc(got.Kernels, func(k kernelTime) bool { return strings.Contains(k.Name, part) })
		}
		if launches > 25 || !has("conv_forward") || !has("rnn_cluster_forward") || has("backward") != (mode == "train") ||
			has("adam") != (mode == "train") {
			t.Errorf("%s: %d launches, want at most 25: %v", mode, launches, got.Kernels)
		}
	}
	lines := regexp.MustCompile(`\Aeval step on cuda:0 \(emulated sm_90 GPU\), fp32, batch 2:\n` +
		`[0-9.e+]+ ms median, [0-9.e+]+ ms fastest, [0-9.e+]+ ms 95th percentile; \d+ images/s; ` +
		`[0-9.]+ MB of memory at most; at 1980 MHz\n\z`)
	if text := bench("--mode", "eval"); !lines.MatchString(text) {
		t.Errorf("%q", text)
	}
}

// The recipe's step runs on every card from Turing on, and on the oldest accepted driver.
func TestCUDACards(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	for _, c := range []struct{ precision, card, driver string }{
		{"fp32", "75", "12000"}, {"tf32", "80", "12000"}, {"bf16", "89", "12000"}, {"fp32", "90", "12000"},
		{"bf16", "90", "12000"}, {"tf32", "120", ""},
	} {
		t.Run(c.card+" "+c.precision, func(t *testing.T) {
			t.Parallel()
			args := []string{"bench", "--device", "cuda", "--precision", c.precision, "--data", dataDir,
				"--batch-size", "1", "--steps", "1"}
			onGPU(t, args, "CARD="+c.card, "DRIVER="+c.driver, "THREADS=1").succeeds(t)
		})
	}
}

func TestCUDADoctorAndVersion(t *testing.T) {
	got := onGPU(t, []string{"doctor", "--data", firstImages(t, tinyTrain, tinyTest)}).succeeds(t)
	for _, want := range []string{", CUDA\n", ", CUDA 12.4\n",
		"emulated sm_90 GPU, cuda:0, compute capability 9.0 (fp32, tf32, bf16), ", "cuda:0 works\n",
		fmt.Sprintf(": %d training and %d test images", tinyTrain, tinyTest)} {
		if !strings.Contains(got, want) {
			t.Errorf("crnn doctor lacks %q:\n%s", want, got)
		}
	}
	if got := onGPU(t, []string{"version"}).succeeds(t); !strings.Contains(got, ", CUDA\n") {
		t.Errorf("%q", got)
	}
}
