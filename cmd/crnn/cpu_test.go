//go:build unix

package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crnn/cpu"
	"crnn/model"
)

// with returns the process with kernels chosen by the environment.
func (p process) with(kernels string) process {
	p.env = append(p.env, kernelsVariable+"="+kernels)
	return p
}

// CRNN_CPU_KERNELS chooses the kernels of every command that computes; doctor says so.
func TestKernelsOfEnvironment(t *testing.T) {
	dataDir, dir := smallData(t), t.TempDir()
	weights, picture := filepath.Join(dir, "w.safetensors"), filepath.Join(dir, "p.png")
	if err := model.WriteWeights(weights, model.NewState(model.Default(), 1)); err != nil {
		t.Fatal(err)
	}
	write(t, picture, pngOf(t, 28))
	commands := [][]string{
		{"train", "--data", dataDir, "--max-steps", "1", "--batch-size", "2", "--out", filepath.Join(dir, "run")},
		{"eval", "--data", dataDir, "--weights", weights, "--split", "val", "--val-fraction", "0.01"},
		{"predict", "--weights", weights, picture},
		{"bench", "--data", dataDir, "--batch-size", "2", "--steps", "1"},
	}
	offered := cpu.Kernels()
	for _, args := range append(commands, []string{"doctor"}) {
		process{args: args}.with("mmx").refused(t, 2,
			`crnn: environment variable CRNN_CPU_KERNELS "mmx": this processor and build offer `+strings.Join(offered, ", "))
	}

	second := offered[1%len(offered)] // not the default, if there are two
	for _, args := range commands {
		r := process{args: args}.with(second).run(t)
		if r.code != 0 || !strings.Contains(r.stderr, "device: cpu ("+second+" kernels, ") {
			t.Errorf("crnn %s: exit code %d\n%s", args[0], r.code, r.stderr)
		}
	}

	doctor := func(p process) (kernels, precisions string) {
		r := p.run(t)
		for _, line := range strings.Split(r.stdout, "\n") {
			what, text, _ := strings.Cut(line, ":")
			switch what {
			case "kernels":
				kernels = strings.TrimSpace(text)
			case "CPU precisions":
				precisions = strings.TrimSpace(text)
			}
		}
		return kernels, precisions
	}
	if kernels, _ := doctor(process{args: []string{"doctor"}}); !strings.HasPrefix(kernels, offered[0]+" in use") ||
		strings.Contains(kernels, kernelsVariable) {
		t.Errorf("kernels: %s, want %s", kernels, offered[0])
	}
	for _, name := range offered {
		kernels, precisions := doctor(process{args: []string{"doctor"}}.with(name))
		if !strings.HasPrefix(kernels, name+" in use, chosen by CRNN_CPU_KERNELS") ||
			slices.Contains(strings.Split(kernels, ", "), name) {
			t.Errorf("kernels: %s, want %s", kernels, name)
		}
		if has := slices.Contains(cpuPrecisions(name), "bf16"); has != (precisions == "fp32, bf16") ||
			!has && !strings.HasPrefix(precisions, "fp32; bf16 needs ") {
			t.Errorf("%s: precisions %s", name, precisions)
		}
	}
}

// The CPU refuses a precision that it lacks, and names the available ones.
func TestPrecisionsOfCPU(t *testing.T) {
	for _, kernels := range cpu.Kernels() {
		has := cpuPrecisions(kernels)
		only := "the CPU computes in " + strings.Join(has, " and ") + " only"
		use := ": use --precision " + strings.Join(has, " or ") + "\n"
		r := process{args: []string{"bench", "--precision", "tf32"}}.with(kernels).refused(t, 2,
			"--precision tf32: "+only+" (not a GPU: ")
		if !strings.HasSuffix(r.stderr, use) {
			t.Errorf("%s: no remedy in %q", kernels, r.stderr)
		}
		process{args: []string{"bench", "--precision", "tf32", "--device", "cpu"}}.with(kernels).refused(t, 2,
			"--precision tf32: "+only+use[:len(use)-1])
		if slices.Contains(has, "bf16") {
			continue
		}
		for _, device := range []string{"cpu", "auto"} {
			train := process{args: []string{"train", "--precision", "bf16", "--device", device}, dir: t.TempDir()}
			r := train.with(kernels).refused(t, 2, "--precision bf16: "+only+
				" (bf16 needs AVX-512 BF16 or Armv8.6's BF16; CRNN_CPU_KERNELS chose the "+kernels+" kernels")
			if !strings.HasSuffix(r.stderr, use) || strings.Contains(r.stderr, "; not a GPU: ") != (device == "auto") {
				t.Errorf("%s: %s: %q", kernels, device, r.stderr)
			}
		}
	}
}

// Training in bf16 uses other arithmetic, with the same guarantees.
func TestBF16(t *testing.T) {
	if !slices.Contains(cpuPrecisions(""), "bf16") {
		t.Skip("this processor has no kernels for bf16")
	}
	work, dataDir := t.TempDir(), smallData(t)
	train := func(name string, more ...string) (run string) {
		run = filepath.Join(work, name)
		crnn(t, small(dataDir, run, more...)...)
		return run
	}
	fp32 := train("fp32", "--epochs", "3")
	bf16 := train("bf16", "--epochs", "3", "--precision", "bf16", "--threads", "2")
	want := outcomeOf(t, bf16)
	if want.Last == outcomeOf(t, fp32).Last {
		t.Error("the weights equal those of fp32")
	}
	// bfloat16 has 8 bits: an operand is off by 2^-9, 0.2 %, at most. Before the first update a
	// logit, which is below 1, is off by a few times that. Later the two runs diverge, here by less
	// than 0.01.
	steps := events(t, fp32, "step")
	for i, step := range events(t, bf16, "step") {
		a, b, limit := step["loss"].(float64), steps[i]["loss"].(float64), 0.05
		if i == 0 {
			limit = 0.01
		}
		if a == b || math.Abs(a-b) > limit {
			t.Fatalf("loss of step %v %v, in fp32 %v", step["step"], a, b)
		}
	}
	epochs := events(t, bf16, "epoch")
	if a, b := epochs[0]["train_loss"].(float64), epochs[2]["train_loss"].(float64); !(b < a) {
		t.Errorf("training loss %v, and two epochs later %v", a, b)
	}

	same(t, "on 1 thread", outcomeOf(t, train("one", "--epochs", "3", "--precision", "bf16", "--threads", "1")), want)
	same(t, "on 3 threads", outcomeOf(t, train("three", "--epochs", "3", "--precision", "bf16", "--threads", "3")), want)
	resumed := train("resumed", "--epochs", "1", "--precision", "bf16")
	crnn(t, "train", "--resume", resumed, "--epochs", "3")
	same(t, "resumed", outcomeOf(t, resumed), want)

	// crnn eval in bf16 reports the run's figures, in fp32 others.
	test := events(t, bf16, "test")[0]
	for _, precision := range []string{"bf16", "fp32"} {
		var got map[string]any
		jsonOf(t, &got, "eval", "--device", "cpu", "--weights", filepath.Join(bf16, "best.safetensors"), "--data",
			dataDir, "--precision", precision, "--json")
		if (got["loss"] == test["loss"]) != (precision == "bf16") {
			t.Errorf("eval in %s: loss %v, the run's was %v", precision, got["loss"], test["loss"])
		}
	}
}
