//go:build !cgo

package cpu

func available() []kernels { return []kernels{goKernels{}} }
