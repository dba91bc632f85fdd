//go:build cgo

package cpu

// #include "kernels.h"
import "C"

// available returns the kernels that this processor runs, the fastest first. NEON is part
// of every 64-bit Arm processor.
func available() []kernels {
	return []kernels{cKernels{table: &C.crnn_kernels_neon}, cKernels{table: &C.crnn_kernels_generic}, goKernels{}}
}
