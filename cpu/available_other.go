//go:build cgo && !amd64 && !arm64

package cpu

// #include "kernels.h"
import "C"

func available() []kernels {
	return []kernels{cKernels{table: &C.crnn_kernels_generic}, goKernels{}}
}
