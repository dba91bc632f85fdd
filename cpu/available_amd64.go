//go:build cgo

package cpu

// #include "kernels.h"
import "C"

import "golang.org/x/sys/cpu"

// available returns the kernels that this processor runs, the fastest first.
func available() []kernels {
	var list []kernels
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasFMA {
		list = append(list, cKernels{&C.crnn_kernels_avx512, x.HasAVX512BF16})
	}
	if x.HasAVX2 && x.HasFMA {
		list = append(list, cKernels{table: &C.crnn_kernels_avx2})
	}
	return append(list, cKernels{table: &C.crnn_kernels_generic}, goKernels{})
}
