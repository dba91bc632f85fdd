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

// The element types of the format whose elements are whole bytes. Elements of U8 and BOOL take a
// byte.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	C64  DType = "C64" // complex numbers of two float32
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	BOOL DType = "BOOL"

	// Floating-point numbers of a byte, by the bits of exponent and mantissa.
	F8E5M2     DType = "F8_E5M2"
	F8E4M3     DType = "F8_E4M3"
	F8E8M0     DType = "F8_E8M0"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
)

// dtypes holds the element types in the order in which the reference implementation (0.8.0)
// lays out their arrays: each keeps the next one's alignment.
var dtypes = []struct {
	DType
	size int // bytes of an element
}{
	{U64, 8}, {I64, 8}, {F64, 8}, {C64, 8}, {F32, 4}, {U32, 4}, {I32, 4},
	{BF16, 2}, {F16, 2}, {U16, 2}, {I16, 2},
	{F8E5M2FNUZ, 1}, {F8E4M3FNUZ, 1}, {F8E8M0, 1}, {F8E4M3, 1}, {F8E5M2, 1}, {I8, 1}, {U8, 1}, {BOOL, 1},
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

// Float32s returns the elements of an array of dtype F32, F16, BF16 or F64 as float32. Those of F64
// are rounded to the nearest; one that float32 cannot hold is an error, which names the element.
func (t *Tensor) Float32s() ([]float32, error) {
	switch t.DType {
	case F32:
		return elements(t.Data, 4, func(b []byte) float32 {
			return math.Float32frombits(binary.LittleEndian.Uint32(b))
		}), nil
	case BF16: // the upper half of a float32
		return elements(t.Data, 2, func(b []byte) float32 {
			return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
		}), nil
	case F16:
		return elements(t.Data, 2, func(b []byte) float32 { return float16(binary.LittleEndian.Uint16(b)) }), nil
	case F64:
		doubles, err := t.Float64s()
		if err != nil {
			return nil, err
		}
		v := make([]float32, len(doubles))
		for i, x := range doubles {
			v[i] = float32(x)
			if math.IsInf(float64(v[i]), 0) && !math.IsInf(x, 0) {
				return nil, fmt.Errorf("tensor %.100q: element %d is %v, beyond the range of float32", t.Name, i, x)
			}
		}
		return v, nil
	}
	return nil, fmt.Errorf("tensor %.100q has dtype %s, expected F32, F16, BF16 or F64", t.Name, t.DType)
}

// float16 returns the value of a float16 (IEEE 754 binary16): 1 bit of sign, 5 of exponent, 10 of
// mantissa. float32 holds all of them.
func float16(bits uint16) float32 {
	exponent, mantissa := int(bits>>10&31), float64(bits&1023)
	v := 0.0
	switch exponent {
	case 0:
		v = math.Ldexp(mantissa, -24)
	case 31:
		v = math.Inf(1)
		if mantissa != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+mantissa, exponent-25)
	}
	if bits>>15 != 0 {
		v = -v
	}
	return float32(v)
}

// elements decodes data whose elements take size bytes.
func elements[T any](data []byte, size int, decode func([]byte) T) []T {
	v := make([]T, len(data)/size)
	for i := range v {
		v[i] = decode(data[i*size:])
	}
	return v
}

// Float64s returns the elements of an array of dtype F64.
func (t *Tensor) Float64s() ([]float64, error) {
	if t.DType != F64 {
		return nil, fmt.Errorf("tensor %q has dtype %s, expected F64", t.Name, t.DType)
	}
	return elements(t.Data, 8, func(b []byte) float64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}), nil
}

// Int64s returns the elements of an array of whole numbers, of any size, signed or not. An element
// that int64 cannot hold is an error.
func (t *Tensor) Int64s() ([]int64, error) {
	var decode func([]byte) int64
	little := binary.LittleEndian
	switch t.DType {
	case I64, U64:
		decode = func(b []byte) int64 { return int64(little.Uint64(b)) }
	case I32:
		decode = func(b []byte) int64 { return int64(int32(little.Uint32(b))) }
	case U32:
		decode = func(b []byte) int64 { return int64(little.Uint32(b)) }
	case I16:
		decode = func(b []byte) int64 { return int64(int16(little.Uint16(b))) }
	case U16:
		decode = func(b []byte) int64 { return int64(little.Uint16(b)) }
	case I8:
		decode = func(b []byte) int64 { return int64(int8(b[0])) }
	case U8:
		decode = func(b []byte) int64 { return int64(b[0]) }
	default:
		return nil, fmt.Errorf("tensor %.100q has dtype %s, expected whole numbers, such as I64", t.Name, t.DType)
	}
	v := elements(t.Data, dtypes[t.DType.rank()].size, decode)
	if i := slices.IndexFunc(v, func(n int64) bool { return n < 0 }); i >= 0 && t.DType == U64 {
		return nil, fmt.Errorf("tensor %.100q: element %d is %d, beyond the range of int64", t.Name, i, uint64(v[i]))
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
