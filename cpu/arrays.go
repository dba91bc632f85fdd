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

// grow returns a if it has at least n elements, else a new zeroed array of n.
func grow[T any](a []T, n int) []T {
	if len(a) >= n {
		return a
	}
	return make([]T, n)
}

// halvesOf returns the memory of pairs of bfloat16 as single bfloat16.
func halvesOf(a []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(a))), 2*len(a))
}

// floatsOf returns the memory of single bfloat16 as pairs in float32, as narrow writes them.
func floatsOf(a []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(a))), len(a)/2)
}
