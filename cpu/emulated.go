//go:build emulateamx && cgo

package cpu

// #include "kernels.h"
import "C"

func init() {
	forTests = append(forTests, cKernels{table: &C.crnn_kernels_emulated, bf16: true, tiles: true})
}
