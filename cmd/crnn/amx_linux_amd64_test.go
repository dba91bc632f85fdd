//go:build cgo

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// If the system refuses the registers of AMX, bf16 takes another path, and doctor says why.
func TestAMXRefused(t *testing.T) {
	if !strings.Contains(processorFeatures(), "AMX") {
		t.Skip("the processor has no AMX")
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	without := filepath.Join(t.TempDir(), "withoutamx")
	build := exec.Command(cc, "-o", without, filepath.Join("testdata", "withoutamx.c"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("%s does not build the sandbox: %v\n%s", cc, err, out)
	}
	run := func(arguments ...string) string {
		t.Helper()
		out, err := exec.Command(without, append([]string{program}, arguments...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("crnn %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
		return string(out)
	}
	doctor := run("doctor")
	for _, want := range []string{
		"avx512 in use; also there: avx2, generic, go; the processor's AMX is not used: " +
			"the system refuses its registers (arch_prctl: operation not permitted)",
		"fp32, bf16\n",
	} {
		if !strings.Contains(doctor, want) {
			t.Errorf("crnn doctor lacks %q:\n%s", want, doctor)
		}
	}
	out := run("bench", "--device", "cpu", "--precision", "bf16", "--data", smallData(t),
		"--batch-size", "2", "--steps", "1")
	if !strings.Contains(out, "train step on cpu ") {
		t.Errorf("crnn bench in bf16: %s", out)
	}
}
