//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crnn/data"
	"crnn/gpu"
)

// program is the binary under test, built by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "crnn-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "crnn")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		os.Setenv("CUDA_VISIBLE_DEVICES", "") // a GPU that may be there
		return m.Run()
	}())
}

// hang is the time after which a test gives up on a process. The slowest process, on one slow core,
// takes far less.
const hang = 2 * time.Minute

// result holds the results of a process.
type result struct {
	code           int
	stdout, stderr string
	peak           int64 // bytes of memory
}

// process is a command line to run.
type process struct {
	args []string
	dir  string   // to run in; empty: a new one
	env  []string // added to a clean environment
}

// command returns the process ready to start. Its environment has only the CRNN_ variables of env,
// and its own cache.
func (p process) command(t *testing.T, ctx context.Context) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, p.args...)
	cmd.Dir = p.dir
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CRNN_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, p.env...)
	return cmd
}

// run runs the process to its end.
func (p process) run(t *testing.T) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	cmd := p.command(t, ctx)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("crnn %s: hangs\n%s", strings.Join(p.args, " "), &stderr)
	}
	if cmd.ProcessState == nil {
		t.Fatalf("crnn %s: %v", strings.Join(p.args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), peakOf(cmd.ProcessState)}
}

// peakOf returns the peak memory of a process that ended, in bytes.
func peakOf(state *os.ProcessState) int64 {
	peak := state.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak *= 1024
	}
	return peak
}

// crnn runs a command line that must succeed, and returns its standard output.
func crnn(t *testing.T, args ...string) string {
	t.Helper()
	r := process{args: args}.run(t)
	if r.code != 0 {
		t.Fatalf("crnn %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// refused runs a command line that must fail with one line that holds want.
func (p process) refused(t *testing.T, code int, want string) result {
	t.Helper()
	r := p.run(t)
	line := strings.TrimSuffix(r.stderr, "\n")
	if r.code != code || !strings.HasPrefix(line, "crnn: ") || strings.Contains(line, "\n") ||
		!strings.Contains(line, want) {
		t.Errorf("crnn %s: exit code %d, want %d with one line of error that holds %q\n%s",
			strings.Join(p.args, " "), r.code, code, want, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("crnn %s: failed, but wrote %q to standard output", strings.Join(p.args, " "), r.stdout)
	}
	return r
}

// realData returns the directory of Fashion-MNIST.
func realData(t *testing.T) string {
	t.Helper()
	dir, err := data.Locate("")
	if err != nil {
		t.Fatalf("the tests need the data set (make data): %v", err)
	}
	return dir
}

// noGPU returns why the program uses no GPU here.
func noGPU(t *testing.T) string {
	t.Helper()
	_, err := gpu.Devices()
	if err == nil {
		t.Fatal("CUDA_VISIBLE_DEVICES hides no GPU")
	}
	return shortly(err)
}

// The number of images of smallData.
const (
	smallTrain = 600
	smallTest  = 200
)

var smallSet = sync.OnceValues(func() (*data.Dataset, error) {
	dir, err := data.Locate("")
	if err != nil {
		return nil, err
	}
	return data.Load(dir)
})

// smallData writes the first images of Fashion-MNIST as a data set, and returns its directory. A
// run on it takes a second.
func smallData(t *testing.T) string {
	t.Helper()
	return firstImages(t, smallTrain, smallTest)
}

// firstImages writes the given numbers of the first training and test images of Fashion-MNIST as a
// data set, and returns its directory.
func firstImages(t *testing.T, train, test int) string {
	t.Helper()
	set, err := smallSet()
	if err != nil {
		t.Fatalf("the tests need the data set (make data): %v", err)
	}
	dir := t.TempDir()
	for _, half := range []struct {
		name  string
		set   *data.Set
		count int
	}{{"train", set.Train, train}, {"t10k", set.Test, test}} {
		writeIDX(t, filepath.Join(dir, half.name+"-images-idx3-ubyte"), half.set.Images[:half.count*28*28],
			half.count, 28, 28)
		writeIDX(t, filepath.Join(dir, half.name+"-labels-idx1-ubyte"), half.set.Labels[:half.count], half.count)
	}
	return dir
}

// idx returns an IDX file of bytes with the given dimensions.
func idx(items []byte, dims ...int) []byte {
	file := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		file = binary.BigEndian.AppendUint32(file, uint32(d))
	}
	return append(file, items...)
}

func writeIDX(t *testing.T, path string, items []byte, dims ...int) {
	t.Helper()
	write(t, path, idx(items, dims...))
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// small is a command line that trains a small network on smallData, quickly.
func small(dataDir, out string, more ...string) []string {
	return append([]string{"train", "--data", dataDir, "--out", out, "--device", "cpu",
		"--hidden-size", "16", "--num-layers", "2", "--batch-size", "20", "--log-steps"}, more...)
}

// stepsPerEpoch of small: 9 of 10 images train.
const stepsPerEpoch = smallTrain * 9 / 10 / 20

// outcome is what two runs must share to count as the same: weights, and metrics without the
// seconds.
type outcome struct{ Best, Last, Metrics string }

var seconds = regexp.MustCompile(`,"seconds":[^,}]*`)

func outcomeOf(t *testing.T, run string) outcome {
	t.Helper()
	file := func(name string) string { return string(read(t, filepath.Join(run, name))) }
	return outcome{file("best.safetensors"), file("last.safetensors"), seconds.ReplaceAllString(file("metrics.jsonl"), "")}
}

// same compares the outcomes of two runs.
func same(t *testing.T, name string, got, want outcome) {
	t.Helper()
	if got.Metrics != want.Metrics {
		t.Errorf("%s: other metrics\n%s\nwant\n%s", name, got.Metrics, want.Metrics)
	}
	if got.Best != want.Best {
		t.Errorf("%s: other weights of the best model", name)
	}
	if got.Last != want.Last {
		t.Errorf("%s: other weights of the last model", name)
	}
}

// events reads the lines of one kind from the metrics.
func events(t *testing.T, run, kind string) (list []map[string]any) {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSpace(read(t, filepath.Join(run, "metrics.jsonl"))), []byte("\n")) {
		var event map[string]any
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%s: %v in %s", run, err, line)
		}
		if event["event"] == kind {
			list = append(list, event)
		}
	}
	return list
}
