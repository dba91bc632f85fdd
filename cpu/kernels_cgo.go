//go:build cgo

package cpu

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wall -Wno-psabi
#cgo LDFLAGS: -lm
#include "kernels.h"
*/
import "C"

// cKernels are the C kernels of one instruction set.
type cKernels struct {
	table       *C.struct_kernels
	bf16, tiles bool
	title       string // if it differs from the table's
}

func (k cKernels) name() string {
	if k.title != "" {
		return k.title
	}
	return C.GoString(k.table.name)
}
func (k cKernels) hasBF16() bool  { return k.bf16 }
func (k cKernels) hasTiles() bool { return k.tiles }
