package gpu

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestError(t *testing.T) {
	got := (&Error{Call: "cuMemAlloc", Code: 2}).Error()
	want := "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: the GPU's memory is full: end other programs"
	if !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// A code that is not in the table, so that only the driver knows its name.
	got = (&Error{Call: "cuX", Code: 7777}).Error()
	if !strings.HasPrefix(got, "cuX: ") || !strings.HasSuffix(got, report) {
		t.Errorf("%q", got)
	}
	for code, c := range codes {
		if c.name == "" || c.meaning == "" || c.remedy == "" || strings.Contains(c.meaning+c.remedy, "\n") {
			t.Errorf("%d: %q", code, c)
		}
	}
}

// The names stand in NVIDIA's cuda.h, which scripts/with-cuda provides.
func TestErrorNames(t *testing.T) {
	include := regexp.MustCompile(`'-I([^']+)'`).FindStringSubmatch(os.Getenv("CGO_CFLAGS"))
	if include == nil {
		t.Skip("no cuda.h: run it by scripts/with-cuda")
	}
	header, err := os.ReadFile(filepath.Join(include[1], "cuda.h"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, m := range regexp.MustCompile(`CUDA_ERROR_(\w+)\s*=\s*(\d+)`).FindAllSubmatch(header, -1) {
		code, err := strconv.Atoi(string(m[2]))
		if err != nil {
			t.Fatal(err)
		}
		names[code] = string(m[1])
	}
	for code, c := range codes {
		if names[code] != c.name {
			t.Errorf("%d is %q, not %q", code, names[code], c.name)
		}
	}
}

func TestPrecisionError(t *testing.T) {
	got := (&PrecisionError{Precision: "bf16", Device: "cuda:0", Name: "Tesla T4", Capability: 75}).Error()
	want := "bf16: cuda:0 (Tesla T4) has compute capability 7.5 and computes in fp32 only; tf32 and bf16 need 8.0"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
