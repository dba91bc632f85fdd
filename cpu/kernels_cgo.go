//go:build cgo

package cpu

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wall -Wno-psabi
#cgo LDFLAGS: -lm
#include "kernels.h"

static void crnn_matmul(const struct kernels *k, const struct matmul_shape *s, const int32_t *ao, const int32_t *co,
                        const float *a, const float *b, const float *bias, float *c) {
	k->matmul(s, ao, co, a, b, bias, c);
}
static void crnn_tanh_forward(const struct kernels *k, float *z, int64_t n) { k->tanh_forward(z, n); }
static void crnn_tanh_backward(const struct kernels *k, float *dh, const float *h, int64_t n) { k->tanh_backward(dh, h, n); }
static void crnn_dropout_mask(const struct kernels *k, uint8_t *keep, uint64_t seed, uint32_t purpose, uint64_t step,
                              uint32_t first, int64_t blocks, uint32_t threshold) {
	k->dropout_mask(keep, seed, purpose, step, first, blocks, threshold);
}
static void crnn_scale_kept(const struct kernels *k, const struct kept_shape *s, float *dst, const float *src,
                            const uint8_t *keep, float scale) {
	k->scale_kept(s, dst, src, keep, scale);
}
static void crnn_transpose(const struct kernels *k, float *dst, const float *src, int64_t rows, int64_t columns,
                           int64_t dst_row, int64_t src_row) {
	k->transpose(dst, src, rows, columns, dst_row, src_row);
}
static void crnn_add_rows(const struct kernels *k, float *sum, const float *a, int64_t rows, int64_t columns) {
	k->add_rows(sum, a, rows, columns);
}
static void crnn_channel_moments(const struct kernels *k, const float *z, int64_t rows, int64_t channels, float *mean, float *m2) {
	k->channel_moments(z, rows, channels, mean, m2);
}
static void crnn_bn_relu_pool(const struct kernels *k, const struct pool_shape *s, const float *z, const float *mean,
                              const float *scale, const float *beta, float *y) {
	k->bn_relu_pool(s, z, mean, scale, beta, y);
}
static void crnn_bn_relu_pool_sums(const struct kernels *k, const struct pool_shape *s, const float *z, const float *mean,
                                   const float *scale, const float *beta, const float *dy, float *sum_g, float *sum_gz) {
	k->bn_relu_pool_sums(s, z, mean, scale, beta, dy, sum_g, sum_gz);
}
static void crnn_bn_relu_pool_backward(const struct kernels *k, const struct pool_shape *s, const float *z, const float *mean,
                                       const float *scale, const float *beta, const float *dy, const float *kz, const float *k1,
                                       float *dz, float *sum_dz) {
	k->bn_relu_pool_backward(s, z, mean, scale, beta, dy, kz, k1, dz, sum_dz);
}
static void crnn_adam(const struct kernels *k, const struct adam_step *s, float *p, const float *g, float *m, float *v, int64_t n) {
	k->adam(s, p, g, m, v, n);
}

#cgo noescape crnn_matmul
#cgo nocallback crnn_matmul
#cgo noescape crnn_tanh_forward
#cgo nocallback crnn_tanh_forward
#cgo noescape crnn_tanh_backward
#cgo nocallback crnn_tanh_backward
#cgo noescape crnn_dropout_mask
#cgo nocallback crnn_dropout_mask
#cgo noescape crnn_scale_kept
#cgo nocallback crnn_scale_kept
#cgo noescape crnn_transpose
#cgo nocallback crnn_transpose
#cgo noescape crnn_add_rows
#cgo nocallback crnn_add_rows
#cgo noescape crnn_channel_moments
#cgo nocallback crnn_channel_moments
#cgo noescape crnn_bn_relu_pool
#cgo nocallback crnn_bn_relu_pool
#cgo noescape crnn_bn_relu_pool_sums
#cgo nocallback crnn_bn_relu_pool_sums
#cgo noescape crnn_bn_relu_pool_backward
#cgo nocallback crnn_bn_relu_pool_backward
#cgo noescape crnn_adam
#cgo nocallback crnn_adam
*/
import "C"

import (
	"unsafe"

	"crnn/rng"
)

// cKernels are the C kernels of one instruction set.
type cKernels struct{ table *C.struct_kernels }

func (k cKernels) name() string { return C.GoString(k.table.name) }

func floats(a []float32) *C.float  { return (*C.float)(unsafe.Pointer(unsafe.SliceData(a))) }
func offsets(a []int32) *C.int32_t { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func bytes(a []uint8) *C.uint8_t   { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func (s *poolShape) c() *C.struct_pool_shape {
	return (*C.struct_pool_shape)(unsafe.Pointer(s))
}

func (k cKernels) matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32) {
	C.crnn_matmul(k.table, (*C.struct_matmul_shape)(unsafe.Pointer(s)), offsets(aOffset), offsets(cOffset),
		floats(a), floats(b), floats(bias), floats(c))
}

func (k cKernels) tanhForward(z []float32) {
	C.crnn_tanh_forward(k.table, floats(z), C.int64_t(len(z)))
}

func (k cKernels) tanhBackward(dh, h []float32) {
	C.crnn_tanh_backward(k.table, floats(dh), floats(h), C.int64_t(len(dh)))
}

func (k cKernels) dropoutMask(keep []uint8, stream *rng.Stream, first uint32, threshold uint32) {
	C.crnn_dropout_mask(k.table, bytes(keep), C.uint64_t(stream.Seed), C.uint32_t(stream.Purpose), C.uint64_t(stream.Step),
		C.uint32_t(first), C.int64_t(len(keep)/8), C.uint32_t(threshold))
}

func (k cKernels) scaleKept(s *keptShape, dst, src []float32, keep []uint8, scale float32) {
	C.crnn_scale_kept(k.table, (*C.struct_kept_shape)(unsafe.Pointer(s)), floats(dst), floats(src), bytes(keep), C.float(scale))
}

func (k cKernels) transpose(dst, src []float32, rows, columns, dstRow, srcRow int) {
	C.crnn_transpose(k.table, floats(dst), floats(src), C.int64_t(rows), C.int64_t(columns), C.int64_t(dstRow), C.int64_t(srcRow))
}

func (k cKernels) addRows(sum, a []float32) {
	C.crnn_add_rows(k.table, floats(sum), floats(a), C.int64_t(len(a)/len(sum)), C.int64_t(len(sum)))
}

func (k cKernels) channelMoments(z []float32, mean, m2 []float32) {
	C.crnn_channel_moments(k.table, floats(z), C.int64_t(len(z)/len(mean)), C.int64_t(len(mean)), floats(mean), floats(m2))
}

func (k cKernels) bnReluPool(s *poolShape, z, mean, scale, beta, y []float32) {
	C.crnn_bn_relu_pool(k.table, s.c(), floats(z), floats(mean), floats(scale), floats(beta), floats(y))
}

func (k cKernels) bnReluPoolSums(s *poolShape, z, mean, scale, beta, dy, sumG, sumGZ []float32) {
	C.crnn_bn_relu_pool_sums(k.table, s.c(), floats(z), floats(mean), floats(scale), floats(beta), floats(dy), floats(sumG), floats(sumGZ))
}

func (k cKernels) bnReluPoolBackward(s *poolShape, z, mean, scale, beta, dy, kZ, k1, dz, sumDZ []float32) {
	C.crnn_bn_relu_pool_backward(k.table, s.c(), floats(z), floats(mean), floats(scale), floats(beta), floats(dy), floats(kZ), floats(k1), floats(dz), floats(sumDZ))
}

func (k cKernels) adam(s *adamStep, p, g, m, v []float32) {
	C.crnn_adam(k.table, (*C.struct_adam_step)(unsafe.Pointer(s)), floats(p), floats(g), floats(m), floats(v), C.int64_t(len(p)))
}

// The structs that Go and C share are equally long, or this does not compile.
var (
	_ [unsafe.Sizeof(matmulShape{})]byte = [C.sizeof_struct_matmul_shape]byte{}
	_ [unsafe.Sizeof(keptShape{})]byte   = [C.sizeof_struct_kept_shape]byte{}
	_ [unsafe.Sizeof(adamStep{})]byte    = [C.sizeof_struct_adam_step]byte{}
	_ [unsafe.Sizeof(poolShape{})]byte   = [C.sizeof_struct_pool_shape]byte{}
)
