//go:build cuda

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"crnn/gpu"
)

// The program starts without a driver: it needs no library of NVIDIA's.
func TestCUDANeedsNoDriver(t *testing.T) {
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range libraries {
		if strings.Contains(name, "cuda") || strings.Contains(name, "nvidia") {
			t.Errorf("needs %s", name)
		}
	}
	// The functions of libnvidia-ml.so.1 are resolved when they are called, see scripts/with-cuda.
	flags, err := file.DynValue(elf.DT_FLAGS)
	if err != nil {
		t.Fatal(err)
	}
	if len(flags) > 0 && elf.DynFlag(flags[0])&elf.DF_BIND_NOW != 0 {
		t.Error("resolves all its functions when it starts")
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	// An undefined function is missing in gpu/cudalink. Libraries that are loaded later would take
	// a defined one for the driver's.
	driver := regexp.MustCompile(`^cu[A-Z]`)
	own := []string{"cuAllocAndCopy", "cuDeviceGetAttributes", "cuLaunchAndSync"} // of gorgonia.org/cu
	for _, s := range symbols {
		if driver.MatchString(s.Name) && !slices.Contains(own, s.Name) {
			t.Errorf("%s is a dynamic symbol", s.Name)
		}
	}
}

// standIn builds testdata/NAME.c with the given macros into the library NAME.so.1 in dir.
func standIn(t *testing.T, dir, name string, macros ...string) {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	args := append([]string{"-shared", "-fPIC", "-o",
		filepath.Join(dir, name+".so.1"), filepath.Join("testdata", name+".c")}, macros...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// onDriver returns the process with the libraries in dir, with no GPU hidden.
func (p process) onDriver(dir string) process {
	p.env = append(p.env, "LD_LIBRARY_PATH="+dir)
	if !strings.Contains(strings.Join(p.env, " "), "CUDA_VISIBLE_DEVICES") {
		p.env = append(p.env, "CUDA_VISIBLE_DEVICES=0,1,2,3")
	}
	return p
}

// Each fault of a driver has its own line and exit code. The device auto uses the CPU instead and
// says the same.
func TestCUDATrouble(t *testing.T) {
	dataDir := smallData(t)
	host := gpu.ReadHost(os.DirFS("/"))
	driver := strings.TrimSpace("NVIDIA's driver " + host.Driver)
	for _, c := range []struct {
		name   string
		device string
		macros string
		want   string
	}{
		{"no card", "cuda", "-DINIT=100", driver + " finds no GPU among those of CUDA_VISIBLE_DEVICES="},
		{"no card to count", "cuda", "-DCOUNT=0", driver + " finds no GPU"},
		{"updated and not restarted", "cuda", "-DINIT=803",
			"NVIDIA's driver does not work: cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: " +
				"the driver in the kernel and its library differ in version: restart the machine"},
		{"unheard-of code", "cuda", "-DINIT=7777",
			"NVIDIA's driver does not work: cuInit: CUDA_ERROR_OF_THE_STAND_IN: nobody knows: "},
		{"old driver", "cuda", "-DVERSION=11040",
			driver + " is too old: it has CUDA 11.4, and 12.0 is needed: update it to 525.60.13 or newer"},
		{"lacks a function", "cuda", "-DWITHOUT_MEMORY",
			"NVIDIA's driver does not work: cuDeviceTotalMem_v2: CUDA_ERROR_NOT_FOUND: the driver lacks the function: update"},
		{"old card", "cuda", "-DCAPABILITY=61",
			"cuda:0 (Stand-in) is too old: its compute capability is 6.1, and 7.5 is needed"},
		{"prohibited", "cuda", "-DMODE=2", "cuda:0 (Stand-in) may not be used: its compute mode is Prohibited"},
		{"too few cards", "cuda:2", "-DCOUNT=2",
			"there is no cuda:2, only cuda:0 (Stand-in), cuda:1 (Stand-in): take one of these"},
		{"busy", "cuda", "-DRETAIN=46", "cuda:0 (Stand-in): cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE: " +
			"the GPU is busy or does not answer: end the process"},
		{"full", "cuda:0", "-DRETAIN=2",
			"cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: the GPU's memory is full: end other programs"},
		{"lost", "cuda", "-DRETAIN=999", "cuda:0 (Stand-in): cuDevicePrimaryCtxRetain: CUDA_ERROR_UNKNOWN: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			standIn(t, dir, "libcuda", strings.Fields(c.macros)...)
			out := filepath.Join(t.TempDir(), "run")
			line := process{args: small(dataDir, out, "--device", c.device)}.onDriver(dir).
				refused(t, 1, "crnn: --device "+c.device+": "+c.want).stderr
			if !strings.HasSuffix(line, ", or use --device cpu\n") {
				t.Errorf("no remedy in %q", line)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a run was begun")
			}
			if strings.Contains(c.device, ":") {
				return
			}
			r := process{args: small(dataDir, out, "--device", "auto", "--max-steps", "1")}.onDriver(dir).run(t)
			if r.code != 0 || !strings.Contains(r.stderr, ", not a GPU: "+c.want) {
				t.Errorf("auto: exit code %d\n%s", r.code, r.stderr)
			}
		})
	}
}

// The error distinguishes a damaged library from a missing one.
func TestCUDADamaged(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "libcuda.so.1"), nil)
	process{args: []string{"bench", "--device", "cuda"}}.onDriver(dir).
		refused(t, 1, "libcuda.so.1 cannot be loaded ("+dir+"/libcuda.so.1: file too short): ")
}

// The error distinguishes the card's precisions from the program's.
func TestCUDAPrecision(t *testing.T) {
	dir := t.TempDir()
	standIn(t, dir, "libcuda", "-DCAPABILITY=75")
	for _, device := range []string{"cuda", "cuda:0"} {
		process{args: []string{"bench", "--device", device, "--precision", "bf16"}}.onDriver(dir).
			refused(t, 2, "--precision bf16: cuda:0 (Stand-in) has compute capability 7.5 and computes in fp32 only; "+
				"tf32 and bf16 need 8.0: use --precision fp32")
	}
	for precision, because := range map[string]string{"tf32": "",
		"bf16": "bf16 needs AVX-512 BF16 or Armv8.6's BF16; CRNN_CPU_KERNELS chose the generic kernels; "} {
		process{args: []string{"bench", "--precision", precision}}.onDriver(dir).with("generic").refused(t, 2,
			"--precision "+precision+": the CPU computes in fp32 only ("+because+"not a GPU: "+precision+": cuda:0 (Stand-in) "+
				"has compute capability 7.5")
	}
}

func TestCUDADoctor(t *testing.T) {
	dir := t.TempDir()
	doctor := func() string {
		t.Helper()
		r := process{args: []string{"doctor"}}.onDriver(dir).run(t)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
		return r.stdout
	}
	contains := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("crnn doctor lacks %q:\n%s", part, text)
			}
		}
	}
	standIn(t, dir, "libcuda", "-DRETAIN=46")
	contains(doctor(), "Stand-in, cuda:0, compute capability 9.0 (fp32, tf32, bf16), 8.0 GiB of memory; "+
		"its use is not known: libnvidia-ml.so.1 was not found",
		"cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE")

	standIn(t, dir, "libnvidia-ml")
	contains(doctor(), "535.104.05, CUDA 12.2\n",
		"Stand-in, cuda:0, compute capability 9.0 (fp32, tf32, bf16), 2.0 GiB of 80.0 GiB of memory in use, 41 °C, "+
			"used by process 1234 python3 (1.0 GiB)\n")

	standIn(t, dir, "libcuda", `-DNAME="NVIDIA H100 80GB HBM3 MIG 1g.10gb"`)
	contains(doctor(), "Stand-in, not shown to CUDA, ")
	standIn(t, dir, "libnvidia-ml", "-DMIG")
	contains(doctor(), "Stand-in, in MIG mode: CUDA is shown parts of it, ",
		"NVIDIA H100 80GB HBM3 MIG 1g.10gb, cuda:0, compute capability 9.0 (fp32, tf32, bf16), 8.0 GiB of memory\n")

	standIn(t, dir, "libcuda", "-DRETAIN=46")
	standIn(t, dir, "libnvidia-ml", "-DOLD")
	contains(doctor(), "535.104.05\n", "Stand-in, cuda:0")

	standIn(t, dir, "libnvidia-ml", "-DINIT=9")
	contains(doctor(), "its use is not known: libnvidia-ml.so.1: Driver Not Loaded")
}

// emulated returns the folder of the emulated driver.
func emulated(t *testing.T) string {
	t.Helper()
	if os.Getenv("CRNN_TEST_CUDA") == "" {
		t.Skip("CRNN_TEST_CUDA does not ask for the emulated driver")
	}
	dir, err := exec.Command("../../scripts/emulated-cuda", "--dir").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(dir))
}

// Of several GPUs the first that works is used, and the faults of earlier ones are reported.
func TestCUDAFirstThatWorks(t *testing.T) {
	dir, dataDir := emulated(t), smallData(t)
	for _, c := range []struct{ device, note string }{
		{"auto", "device: cuda:1 (emulated sm_90 GPU), not cuda:0 (emulated sm_90 GPU): cuDevicePrimaryCtxRetain: " +
			"CUDA_ERROR_DEVICE_UNAVAILABLE: "},
		{"cuda", "device: cuda:1 (emulated sm_90 GPU), not cuda:0 (emulated sm_90 GPU): "},
		{"cuda:1", ""},
	} {
		args := []string{"bench", "--device", c.device, "--data", dataDir, "--batch-size", "1", "--steps", "1"}
		p := process{args: args}.onDriver(dir)
		p.env = append(p.env, "CRNN_EMULATOR_DEVICES=2")
		if c.note != "" {
			p.env = append(p.env, "CRNN_EMULATOR_FAULT=cuDevicePrimaryCtxRetain:46")
		}
		r := p.run(t)
		if r.code != 0 || !strings.HasPrefix(r.stdout, "train step on cuda:1 (emulated sm_90 GPU)") ||
			strings.Contains(r.stderr, "device: ") != (c.note != "") || !strings.Contains(r.stderr, c.note) {
			t.Errorf("%s: exit code %d\n%s%s", c.device, r.code, r.stdout, r.stderr)
		}
	}
}

// In a machine with GPUs of different kinds each gets the code for its kind. A GPU that lacks a
// precision leaves it to the others.
func TestCUDACardsOfSeveralKinds(t *testing.T) {
	dir, dataDir := emulated(t), smallData(t)
	for _, c := range []struct{ device, precision, want, note string }{
		{"auto", "fp32", "train step on cuda:0 (emulated sm_75 GPU), fp32", ""},
		{"cuda:1", "fp32", "train step on cuda:1 (emulated sm_90 GPU), fp32", ""},
		{"auto", "bf16", "train step on cuda:1 (emulated sm_90 GPU), bf16",
			"device: cuda:1 (emulated sm_90 GPU), not bf16: cuda:0 (emulated sm_75 GPU) has compute capability 7.5"},
	} {
		p := process{args: []string{"bench", "--device", c.device, "--precision", c.precision, "--data", dataDir,
			"--batch-size", "1", "--steps", "1"}}.onDriver(dir)
		p.env = append(p.env, "CRNN_EMULATOR_CARD=75,90")
		r := p.run(t)
		if r.code != 0 || !strings.HasPrefix(r.stdout, c.want) || !strings.Contains(r.stderr, c.note) {
			t.Errorf("%+v: exit code %d\n%s%s", c, r.code, r.stdout, r.stderr)
		}
	}
	p := process{args: []string{"doctor"}}.onDriver(dir)
	p.env = append(p.env, "CRNN_EMULATOR_CARD=75,90")
	r := p.run(t)
	for _, want := range []string{"emulated sm_75 GPU, cuda:0, compute capability 7.5 (fp32), ",
		"emulated sm_90 GPU, cuda:1, compute capability 9.0 (fp32, tf32, bf16), "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("crnn doctor lacks %q:\n%s", want, r.stdout)
		}
	}
}
