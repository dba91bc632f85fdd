// Package safetensors reads and writes files of named arrays in the safetensors format
// (https://github.com/huggingface/safetensors). A file is
//
//	8 bytes  N, the length of the header, little-endian
//	N bytes  the header: a JSON object {"name": {"dtype", "shape", "data_offsets"}, …},
//	         with an optional "__metadata__" of strings, padded with spaces
//	the rest data: the arrays' elements, row-major, little-endian, without gaps between
//	         arrays and without overlap; offsets count from the start of the data
package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// DType is the type of an array's elements.
type DType string

// The element types of the format. Elements of U8 and BOOL take a byte.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	BOOL DType = "BOOL"
)

// dtypes holds the element types in the order in which the reference implementation
// lays out their arrays: each keeps the next one's alignment.
var dtypes = []struct {
	DType
	size int // bytes of an element
}{
	{U64, 8}, {I64, 8}, {F64, 8}, {F32, 4}, {U32, 4}, {I32, 4},
	{BF16, 2}, {F16, 2}, {U16, 2}, {I16, 2}, {I8, 1}, {U8, 1}, {BOOL, 1},
}

// rank returns the place of d in dtypes, or -1.
func (d DType) rank() int {
	for i, t := range dtypes {
		if t.DType == d {
			return i
		}
	}
	return -1
}

// Tensor is a named array.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // empty for a scalar
	Data  []byte // elements, row-major, little-endian
}

// File is what a safetensors file holds.
type File struct {
	Tensors  []Tensor          // in the order of their data
	Metadata map[string]string // nil without any
}

// Get returns the array of that name, or nil.
func (f *File) Get(name string) *Tensor {
	i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Tensors[i]
}

// NewF32 returns an array of dtype F32 that holds a copy of v.
func NewF32(name string, shape []int, v []float32) Tensor {
	data := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	return Tensor{name, F32, shape, data}
}

// NewI64 returns an array of dtype I64 that holds a copy of v.
func NewI64(name string, shape []int, v []int64) Tensor {
	data := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(x))
	}
	return Tensor{name, I64, shape, data}
}

// Float32s returns the elements of an array of dtype F32.
func (t *Tensor) Float32s() ([]float32, error) {
	if t.DType != F32 {
		return nil, fmt.Errorf("tensor %q has dtype %s, expected F32", t.Name, t.DType)
	}
	v := make([]float32, len(t.Data)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return v, nil
}

// Float64s returns the elements of an array of dtype F64.
func (t *Tensor) Float64s() ([]float64, error) {
	if t.DType != F64 {
		return nil, fmt.Errorf("tensor %q has dtype %s, expected F64", t.Name, t.DType)
	}
	v := make([]float64, len(t.Data)/8)
	for i := range v {
		v[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return v, nil
}

// Int64s returns the elements of an array of dtype I64.
func (t *Tensor) Int64s() ([]int64, error) {
	if t.DType != I64 {
		return nil, fmt.Errorf("tensor %q has dtype %s, expected I64", t.Name, t.DType)
	}
	v := make([]int64, len(t.Data)/8)
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return v, nil
}

// dataLen returns the number of bytes that an array of this type and shape takes.
func dataLen(d DType, shape []int) (int64, error) {
	rank := d.rank()
	if rank < 0 {
		return 0, fmt.Errorf("unknown dtype %.100q", string(d))
	}
	n := int64(dtypes[rank].size)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt64/int64(dim) {
			return 0, fmt.Errorf("shape %v of dtype %s is larger than any file", shape, d)
		}
		n *= int64(dim)
	}
	return n, nil
}
