package cpu

import (
	"unsafe"

	"gorgonia.org/tensor"
)

// padded returns n padded to a multiple of lanes, so that kernels need no tails.
func padded(n int) int { return (n + lanes - 1) / lanes * lanes }

// inTiles returns n padded to a multiple of tileTerms.
func inTiles(n int) int { return (n + tileTerms - 1) / tileTerms * tileTerms }

// values returns the elements of an array.
func values(a *tensor.Dense) []float32 { return a.Data().([]float32) }

// part returns part i of a, size elements long.
func part[T any](a []T, i, size int) []T { return a[i*size:][:size] }

// steps returns the offsets of n rows that lie stride elements apart.
func steps(n, stride int) []int32 {
	o := make([]int32, n)
	for i := range o {
		o[i] = int32(i * stride)
	}
	return o
}

// grow returns a with at least n elements, zeroed when it had to be made anew.
func grow[T any](a []T, n int) []T {
	if len(a) >= n {
		return a
	}
	return make([]T, n)
}

// halvesOf returns pairs of bfloat16 as single ones, and floatsOf single ones as the pairs in float32
// that narrow writes.
func halvesOf(a []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(a))), 2*len(a))
}

func floatsOf(a []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(a))), len(a)/2)
}
