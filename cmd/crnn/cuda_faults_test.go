//go:build cuda

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// progressLine matches a line that a long run writes to a file.
var progressLine = regexp.MustCompile(`^epoch \d+/\d+  step \d+/\d+ `)

// errorOf returns the error among the lines that a run writes to standard error. There must be
// exactly one error, and otherwise only the program's own lines.
func errorOf(t *testing.T, stderr string) string {
	t.Helper()
	var line string
	for _, l := range strings.Split(strings.TrimSuffix(stderr, "\n"), "\n") {
		switch {
		case strings.HasPrefix(l, "warning: "), strings.HasPrefix(l, "device: "), strings.HasPrefix(l, "run: "),
			strings.HasPrefix(l, "network: "),
			progressLine.MatchString(l):
		case strings.HasPrefix(l, "crnn: ") && line == "":
			line = l
		default:
			t.Errorf("standard error has %q in\n%s", l, stderr)
			return line
		}
	}
	if line == "" {
		t.Errorf("no error in\n%s", stderr)
	}
	return line
}

// fails runs a command line that must fail with one line that holds each of want, and returns the
// line.
func (p process) fails(t *testing.T, want ...string) string {
	t.Helper()
	r := p.run(t)
	line := errorOf(t, r.stderr)
	if r.code != 1 {
		t.Errorf("crnn %s: exit code %d, want 1\n%s", strings.Join(p.args, " "), r.code, r.stderr)
	}
	for _, part := range want {
		if !strings.Contains(line, part) {
			t.Errorf("crnn %s: the error lacks %q: %s", strings.Join(p.args, " "), part, line)
		}
	}
	return line
}

// goesOn resumes on the CPU a run that failed on a GPU.
func goesOn(t *testing.T, out, line string) {
	t.Helper()
	want := "`crnn train --resume " + out + " --device cpu` goes on from the last checkpoint without it"
	if !strings.HasSuffix(line, want) {
		t.Errorf("the error does not end with %q: %s", want, line)
	}
	crnn(t, "train", "--resume", out, "--device", "cpu")
	if n := len(losses(t, out)); n != faultEpochs*tinySteps {
		t.Errorf("the resumed run has %d steps, want %d", n, faultEpochs*tinySteps)
	}
}

// faultEpochs is the number of epochs of a run that is made to fail: enough for checkpoints before
// and steps after.
const faultEpochs = 3

func faultRun(t *testing.T, dataDir, out string, settings ...string) process {
	t.Helper()
	return onGPU(t, tiny(dataDir, out, "cuda", "--epochs", fmt.Sprint(faultEpochs)), append(settings, "THREADS=1")...)
}

// calls runs a command line that must succeed and returns the entry points of the driver that it
// called, in order.
func (p process) calls(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "calls")
	p.env = append(p.env, "CRNN_EMULATOR_CALLS="+file)
	p.succeeds(t)
	return strings.Fields(string(read(t, file)))
}

// faults are the entry points that the program uses, each with an error code that it can return.
var faults = map[string]string{
	"cuInit":                      "SYSTEM_DRIVER_MISMATCH",
	"cuDriverGetVersion":          "UNKNOWN",
	"cuDeviceGetCount":            "NOT_INITIALIZED",
	"cuDeviceGet":                 "INVALID_DEVICE",
	"cuDeviceGetName":             "INVALID_DEVICE",
	"cuDeviceTotalMem":            "UNKNOWN",
	"cuDeviceGetUuid":             "DEVICE_NOT_LICENSED",
	"cuDeviceGetAttribute":        "INVALID_VALUE",
	"cuDevicePrimaryCtxRetain":    "DEVICE_UNAVAILABLE",
	"cuCtxSetCurrent":             "CONTEXT_IS_DESTROYED",
	"cuStreamCreate":              "OUT_OF_MEMORY",
	"cuEventCreate":               "OUT_OF_MEMORY",
	"cuMemGetInfo":                "ECC_UNCORRECTABLE",
	"cuMemAlloc":                  "OUT_OF_MEMORY",
	"cuMemHostAlloc":              "OUT_OF_MEMORY",
	"cuMemsetD8Async":             "LAUNCH_FAILED",
	"cuMemcpyHtoDAsync":           "ECC_UNCORRECTABLE",
	"cuMemcpyDtoHAsync":           "ILLEGAL_ADDRESS",
	"cuStreamSynchronize":         "LAUNCH_TIMEOUT",
	"cuModuleLoadDataEx":          "INVALID_PTX",
	"cuModuleGetFunction":         "NOT_FOUND",
	"cuLaunchKernel":              "LAUNCH_OUT_OF_RESOURCES",
	"cuStreamBeginCapture":        "STREAM_CAPTURE_UNSUPPORTED",
	"cuStreamEndCapture":          "STREAM_CAPTURE_INVALIDATED",
	"cuGraphGetNodes":             "INVALID_VALUE",
	"cuGraphInstantiateWithFlags": "OUT_OF_MEMORY",
	"cuGraphDestroy":              "INVALID_VALUE",
	"cuGraphLaunch":               "LAUNCH_FAILED",
	"cuEventRecord":               "INVALID_HANDLE",
	"cuEventSynchronize":          "ILLEGAL_INSTRUCTION",
	"cuEventElapsedTime":          "LAUNCH_FAILED",
}

// closing are the entry points that release resources. Their failure at the end does not concern
// the user.
var closing = []string{
	"cuEventDestroy", "cuGraphExecDestroy", "cuModuleUnload", "cuMemFree", "cuMemFreeHost", "cuStreamDestroy",
	"cuDevicePrimaryCtxRelease",
}

// optional are the entry points that a card or driver may refuse: the program then works without
// them.
var optional = map[string]string{"cuOccupancyMaxActiveClusters": "NOT_SUPPORTED"}

// said returns the expected text of the error for a failed entry point: its name and the code's
// name. Some entry points have their own words.
func said(entry, code string) []string {
	switch entry {
	case "cuMemAlloc":
		return []string{"cuda:0 is out of memory: ", " were needed, ", " are free; ending other programs"}
	case "cuGraphInstantiateWithFlags":
		entry = "cuGraphInstantiate"
	}
	return []string{entry, ": CUDA_ERROR_" + code + ": "}
}

// Each entry point that the program uses fails at its first call, and in the middle of a run. One
// line reports it, and nothing is lost.
func TestCUDAFaults(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	training := faultRun(t, dataDir, filepath.Join(t.TempDir(), "run")).calls(t)
	bench := func(settings ...string) process {
		return onGPU(t, []string{"bench", "--device", "cuda:0", "--data", dataDir, "--batch-size", "1", "--steps", "1",
			"--profile"}, append(settings, "THREADS=1")...)
	}
	measuring := bench().calls(t)

	covered := slices.Concat(slices.Collect(maps.Keys(faults)), slices.Collect(maps.Keys(optional)), closing)
	used := append(slices.Clone(training), measuring...)
	for _, entry := range slices.Compact(slices.Sorted(slices.Values(used))) {
		if !slices.Contains(covered, entry) {
			t.Errorf("the program uses %s, but no test makes it fail", entry)
		}
	}
	for _, entry := range covered {
		if !slices.Contains(used, entry) {
			t.Errorf("the program does not use %s", entry)
		}
	}

	// The middle: a step of the second epoch.
	middle, launches := 0, 0
	for i, entry := range training {
		if entry == "cuGraphLaunch" {
			if launches++; launches == tinySteps+3 { // one of them evaluates
				middle = i
			}
		}
	}
	count := func(list []string, entry string) (n int) {
		for _, e := range list {
			if e == entry {
				n++
			}
		}
		return n
	}
	if count(training[middle:], "cuMemAlloc") > 0 {
		t.Error("memory is allocated while the network runs")
	}

	for entry, code := range faults {
		want := said(entry, code)
		if !slices.Contains(training, entry) {
			t.Run(entry+" of bench", func(t *testing.T) {
				t.Parallel()
				bench("FAULT="+entry+":CUDA_ERROR_"+code).fails(t, want...)
			})
			continue
		}
		fails := func(name, nth string) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(t.TempDir(), "run")
				line := faultRun(t, dataDir, out, "FAULT="+entry+":CUDA_ERROR_"+code+nth).fails(t, want...)
				if _, err := os.Stat(out); err == nil {
					goesOn(t, out, line)
				} else if name != entry+" at first" {
					t.Error("no run is left")
				} else if count(training[:slices.Index(training, "cuMemHostAlloc")], entry) > 0 &&
					!strings.HasSuffix(line, ", or use --device cpu") {
					t.Errorf("no remedy in %s", line)
				}
			})
		}
		fails(entry+" at first", "")
		if count(training[middle:], entry) > 0 {
			fails(entry+" in the middle", fmt.Sprintf(":%d", count(training[:middle], entry)+1))
		}
	}
	for entry, code := range optional {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			bench("FAULT=" + entry + ":CUDA_ERROR_" + code).succeeds(t)
		})
	}
	for _, entry := range closing {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "run")
			faultRun(t, dataDir, out, "FAULT="+entry+":CUDA_ERROR_LAUNCH_FAILED").succeeds(t)
			if n := len(events(t, out, "test")); n != 1 {
				t.Errorf("%d tests", n)
			}
		})
	}
}

// A kernel's fault shows later, in another call.
func TestCUDALaterFaults(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	for _, c := range []struct{ fault, want string }{
		{"cuGraphLaunch:CUDA_ERROR_ILLEGAL_ADDRESS:7:async",
			": CUDA_ERROR_ILLEGAL_ADDRESS: a kernel went outside its memory: "},
		{"cuGraphLaunch:CUDA_ERROR_ECC_UNCORRECTABLE:1:async",
			": CUDA_ERROR_ECC_UNCORRECTABLE: the GPU's memory has an error that it cannot correct: restart the machine"},
		{"cuGraphLaunch:CUDA_ERROR_LAUNCH_TIMEOUT:18:async",
			": CUDA_ERROR_LAUNCH_TIMEOUT: a kernel took longer than a card with a screen allows: "},
		{"cuGraphLaunch:717:9:async", ": CUDA_ERROR_INVALID_ADDRESS_SPACE: a kernel failed: "},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "run")
			goesOn(t, out, faultRun(t, dataDir, out, "FAULT="+c.fault).fails(t, "crnn: cuda:0: cu", c.want))
		})
	}
}

// After a card is lost, every call fails.
func TestCUDALostCard(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	for _, kernels := range []string{"0", "1", "150"} {
		t.Run(kernels, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "run")
			goesOn(t, out, faultRun(t, dataDir, out, "LOST_AFTER="+kernels).fails(t,
				": CUDA_ERROR_DEVICE_UNAVAILABLE: the GPU is busy or does not answer: "))
		})
	}
	weights := filepath.Join(t.TempDir(), "run", "last.safetensors")
	crnn(t, tiny(dataDir, filepath.Dir(weights), "cpu", "--max-steps", "1")...)
	for _, args := range [][]string{
		{"eval", "--weights", weights, "--data", dataDir, "--device", "cuda:0"},
		{"predict", "--weights", weights, pictureFile(t, 28), "--device", "cuda:0"},
		{"bench", "--data", dataDir, "--batch-size", "1", "--steps", "1", "--device", "cuda:0"},
	} {
		onGPU(t, args, "LOST_AFTER=3").fails(t, "CUDA_ERROR_DEVICE_UNAVAILABLE: the GPU is busy or does not answer: ")
	}
}

// Drivers and kernels that do not fit together, and a machine without a card.
func TestCUDARefused(t *testing.T) {
	dataDir := firstImages(t, tinyTrain, tinyTest)
	for _, c := range []struct {
		settings string
		want     string
	}{
		{"CARD=75 DRIVER=11080", "is too old: it has CUDA 11.8, and 12.0 is needed: update it to 525.60.13 or newer"},
		{"DEVICES=0", " finds no GPU among those of CUDA_VISIBLE_DEVICES="},
		{"CARD=120 DRIVER=12040", " finds no GPU among those of CUDA_VISIBLE_DEVICES="},
		{"FAULT=cuModuleLoadDataEx:222", "cuModuleLoadDataEx of batch: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: " +
			"the kernels are newer than the driver: update NVIDIA's driver"},
		{"CARD=80 FAULT=cuModuleLoadDataEx:222:3",
			"CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the kernels are newer than the driver: update NVIDIA's driver"},
		{"CARD=75 FAULT=cuModuleLoadDataEx:221",
			"CUDA_ERROR_JIT_COMPILER_NOT_FOUND: the driver's compiler libnvidia-ptxjitcompiler.so.1 is missing: "},
		{"FAULT=cuModuleLoadDataEx:209", "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel is made for this card: "},
	} {
		out := filepath.Join(t.TempDir(), "run")
		onGPU(t, []string{"train", "--device", "cuda:0", "--data", dataDir, "--out", out},
			strings.Fields(c.settings)...).fails(t, c.want)
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a run was begun", c.settings)
		}
	}
}

// auto and doctor do not count a GPU whose driver cannot compile kernels.
func TestCUDAWithoutCompiler(t *testing.T) {
	const reason = "CUDA_ERROR_JIT_COMPILER_NOT_FOUND"
	r := onGPU(t, []string{"bench", "--device", "auto", "--data", firstImages(t, tinyTrain, tinyTest), "--batch-size", "1",
		"--steps", "1"}, "FAULT=cuModuleLoadDataEx:221")
	if got := r.run(t); got.code != 0 || !strings.Contains(got.stderr, "device: cpu") ||
		!strings.Contains(got.stderr, reason) {
		t.Errorf("auto: exit code %d, want the CPU and %s:\n%s", got.code, reason, got.stderr)
	}
	if got := onGPU(t, []string{"doctor"}, "FAULT=cuModuleLoadDataEx:221").run(t); !strings.Contains(got.stdout, reason) {
		t.Errorf("doctor does not say %s:\n%s", reason, got.stdout)
	}
}
