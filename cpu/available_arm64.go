//go:build cgo

package cpu

/*
#include "kernels.h"

#ifdef __linux__
#include <sys/auxv.h>
static int has_bf16(void) { return getauxval(AT_HWCAP2) >> 14 & 1; } // HWCAP2_BF16
#else
static int has_bf16(void) { return 0; }
#endif
*/
import "C"

// available returns the kernels that this processor runs, the fastest first. NEON is part of every
// 64-bit Arm processor, bfloat16 of newer ones. bfloat16 is offered under Linux only: its kernels have
// run nowhere else.
func available() []kernels {
	return []kernels{
		cKernels{table: &C.crnn_kernels_neon, bf16: C.has_bf16() != 0},
		cKernels{table: &C.crnn_kernels_generic},
		goKernels{},
	}
}
