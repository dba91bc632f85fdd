package main

import (
	"runtime"
	"strings"

	xcpu "golang.org/x/sys/cpu"

	"crnn/cpu"
	"crnn/gpu"
)

// buildFeatures lists the features of this build.
func buildFeatures() string {
	kernels, cuda := "cpu in pure Go", "no CUDA"
	if len(cpu.Kernels()) > 1 {
		kernels = "cpu with C kernels"
	}
	if gpu.Built {
		cuda = "CUDA"
	}
	return kernels + ", " + cuda
}

// processor returns the processor's name.
func processor() string {
	if name := processorName(); name != "" {
		return name
	}
	return runtime.GOARCH + " processor"
}

// processorFeatures lists the instruction sets of this processor that matter to crnn.
func processorFeatures() string {
	x86, arm := &xcpu.X86, &xcpu.ARM64
	var has []string
	for _, f := range []struct {
		name  string
		there bool
	}{
		{"AVX2", x86.HasAVX2}, {"FMA", x86.HasFMA},
		{"AVX-512 F", x86.HasAVX512F}, {"AVX-512 BW", x86.HasAVX512BW}, {"AVX-512 DQ", x86.HasAVX512DQ},
		{"AVX-512 VL", x86.HasAVX512VL}, {"AVX-512 BF16", x86.HasAVX512BF16}, {"AMX BF16", x86.HasAMXBF16},
		{"NEON", arm.HasASIMD}, {"SVE", arm.HasSVE},
	} {
		if f.there {
			has = append(has, f.name)
		}
	}
	if len(has) == 0 {
		return "none that crnn knows"
	}
	return strings.Join(has, ", ")
}
