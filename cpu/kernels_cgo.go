//go:build cgo

package cpu

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wall -Wno-psabi
#cgo LDFLAGS: -lm
#include "kernels.h"

static void crnn_matmul(const struct kernels *k, const struct matmul_shape *s, const int32_t *a_offset,
		const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c) {
	k->matmul(s, a_offset, c_offset, a, b, bias, c);
}
static void crnn_transpose(const struct kernels *k, float *dst, const float *src, int64_t rows, int64_t columns,
		int64_t dst_row, int64_t src_row) {
	k->transpose(dst, src, rows, columns, dst_row, src_row);
}
static void crnn_channel_moments(const struct kernels *k, const float *z, int64_t rows, int64_t channels,
		float *mean, float *m2) {
	k->channel_moments(z, rows, channels, mean, m2);
}
static void crnn_bn_relu_pool(const struct kernels *k, const struct pool_shape *s, const float *z,
		const float *mean, const float *scale, const float *beta, float *y, float *largest, uint8_t *index) {
	k->bn_relu_pool(s, z, mean, scale, beta, y, largest, index);
}
static void crnn_bn_relu_pool_sums(const struct kernels *k, int64_t rows, int64_t channels, const float *largest,
		const uint8_t *index, const float *dy, float *sum_g, float *sum_gz) {
	k->bn_relu_pool_sums(rows, channels, largest, index, dy, sum_g, sum_gz);
}
static void crnn_bn_relu_pool_backward(const struct kernels *k, const struct pool_shape *s, const float *z,
		const float *mean, const float *scale, const uint8_t *index, const float *dy, const float *k_z,
		const float *k_1, float *dz, float *sum_dz) {
	k->bn_relu_pool_backward(s, z, mean, scale, index, dy, k_z, k_1, dz, sum_dz);
}
static void crnn_winograd_input(const struct kernels *k, const struct winograd_shape *s, const float *x,
		float *v) {
	k->winograd_input(s, x, v);
}
static void crnn_winograd_output(const struct kernels *k, const struct winograd_shape *s, const float *m,
		const float *bias, float *z) {
	k->winograd_output(s, m, bias, z);
}
static void crnn_winograd_output_pool(const struct kernels *k, const struct winograd_shape *s, const float *m,
		const float *bias, const float *mean, const float *scale, const float *beta, float *y) {
	k->winograd_output_pool(s, m, bias, mean, scale, beta, y);
}
static void crnn_winograd_output_gradient(const struct kernels *k, const struct winograd_shape *s,
		const float *dz, float *q) {
	k->winograd_output_gradient(s, dz, q);
}
static void crnn_winograd_input_gradient(const struct kernels *k, const struct winograd_shape *s, const float *p,
		float *dx) {
	k->winograd_input_gradient(s, p, dx);
}
static void crnn_winograd_filter(const struct kernels *k, int64_t tile_height, const float *w, int64_t channels,
		int64_t frequency, float *u) {
	k->winograd_filter(tile_height, w, channels, frequency, u);
}
static void crnn_winograd_filter_gradient(const struct kernels *k, const float *s, int64_t channels,
		int64_t frequency, int64_t groups, int64_t group, float *dw) {
	k->winograd_filter_gradient(s, channels, frequency, groups, group, dw);
}
static void crnn_rnn_forward(const struct kernels *k, const struct rnn_shape *s, const int32_t *row, const float *w,
		float *h, const struct rnn_dropout *dropout, uint8_t *keep, float *kept, float *step) {
	k->rnn_forward(s, row, w, h, dropout, keep, kept, step);
}
static void crnn_rnn_backward(const struct kernels *k, const struct rnn_shape *s, const int32_t *row, const float *w,
		const float *h, const uint8_t *keep, float scale, float *dz, float *dbias, float *step) {
	k->rnn_backward(s, row, w, h, keep, scale, dz, dbias, step);
}
static void crnn_narrow(const struct kernels *k, float *dst, const float *src, int64_t n) { k->narrow(dst, src, n); }
static void crnn_pair_rows(const struct kernels *k, float *dst, const float *src, int64_t rows, int64_t columns) {
	k->pair_rows(dst, src, rows, columns);
}
static void crnn_tile_product(const struct kernels *k, const struct tile_shape *s, const int32_t *a_offset,
		const int32_t *c_offset, const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
	k->tile_product(s, a_offset, c_offset, term_a, a, b, bias, c);
}
static void crnn_tile_product_pool(const struct kernels *k, const struct tile_shape *s, const int32_t *a_offset,
		const int32_t *c_offset, const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *z,
		const struct pool_shape *pool, const float *mean, const float *scale, const float *beta, float *y) {
	k->tile_product_pool(s, a_offset, c_offset, term_a, a, b, bias, z, pool, mean, scale, beta, y);
}
static void crnn_tile_pack(const struct kernels *k, const struct tile_pack *s, uint32_t *dst, const void *src,
		const uint8_t *keep) {
	k->tile_pack(s, dst, src, keep);
}
static void crnn_tile_image(const struct kernels *k, const struct tile_image *s, const float *x, uint16_t *first,
		uint16_t *last) {
	k->tile_image(s, x, first, last);
}
static void crnn_tile_pool_backward(const struct kernels *k, const struct pool_shape *s, const float *z,
		const float *mean, const float *scale, const uint8_t *index, const float *dy, const float *k_z,
		const float *k_1, uint16_t *last, uint32_t *pairs, float *sum_dz) {
	k->tile_pool_backward(s, z, mean, scale, index, dy, k_z, k_1, last, pairs, sum_dz);
}
static void crnn_tile_rnn_forward(const struct kernels *k, const struct tile_rnn *s, const int32_t *term_a,
		const uint32_t *w_ih, const uint32_t *w_hh, const float *bias, const uint16_t *in, float *h, uint16_t *out,
		uint16_t *state, float *step, const struct rnn_dropout *dropout, uint8_t *keep) {
	k->tile_rnn_forward(s, term_a, w_ih, w_hh, bias, in, h, out, state, step, dropout, keep);
}
static void crnn_tile_rnn_backward(const struct kernels *k, const struct tile_rnn *s, const int32_t *term_a,
		const uint32_t *w_ih, const uint32_t *w_hh, const float *h, const uint8_t *keep, float scale, const float *dy,
		uint16_t *dz, float *dx, float *dbias, float *step) {
	k->tile_rnn_backward(s, term_a, w_ih, w_hh, h, keep, scale, dy, dz, dx, dbias, step);
}
static void crnn_sum_rows(const struct kernels *k, float *sum, const float *a, int64_t rows, int64_t stride,
		int64_t n) {
	k->sum_rows(sum, a, rows, stride, n);
}
static int64_t crnn_multiply_adds(const struct kernels *k, int64_t n) { return k->multiply_adds(n); }
static void crnn_adam(const struct kernels *k, const struct adam_step *s, float *p, const float *g, float *m,
		float *v, int64_t n) {
	k->adam(s, p, g, m, v, n);
}

#cgo noescape crnn_matmul
#cgo nocallback crnn_matmul
#cgo noescape crnn_transpose
#cgo nocallback crnn_transpose
#cgo noescape crnn_channel_moments
#cgo nocallback crnn_channel_moments
#cgo noescape crnn_bn_relu_pool
#cgo nocallback crnn_bn_relu_pool
#cgo noescape crnn_bn_relu_pool_sums
#cgo nocallback crnn_bn_relu_pool_sums
#cgo noescape crnn_bn_relu_pool_backward
#cgo nocallback crnn_bn_relu_pool_backward
#cgo noescape crnn_winograd_input
#cgo nocallback crnn_winograd_input
#cgo noescape crnn_winograd_output
#cgo nocallback crnn_winograd_output
#cgo noescape crnn_winograd_output_pool
#cgo nocallback crnn_winograd_output_pool
#cgo noescape crnn_winograd_output_gradient
#cgo nocallback crnn_winograd_output_gradient
#cgo noescape crnn_winograd_input_gradient
#cgo nocallback crnn_winograd_input_gradient
#cgo noescape crnn_winograd_filter
#cgo nocallback crnn_winograd_filter
#cgo noescape crnn_winograd_filter_gradient
#cgo nocallback crnn_winograd_filter_gradient
#cgo noescape crnn_rnn_forward
#cgo nocallback crnn_rnn_forward
#cgo noescape crnn_rnn_backward
#cgo nocallback crnn_rnn_backward
#cgo noescape crnn_narrow
#cgo nocallback crnn_narrow
#cgo noescape crnn_pair_rows
#cgo nocallback crnn_pair_rows
#cgo noescape crnn_tile_product
#cgo nocallback crnn_tile_product
#cgo noescape crnn_tile_product_pool
#cgo nocallback crnn_tile_product_pool
#cgo noescape crnn_tile_pack
#cgo nocallback crnn_tile_pack
#cgo noescape crnn_tile_image
#cgo nocallback crnn_tile_image
#cgo noescape crnn_tile_pool_backward
#cgo nocallback crnn_tile_pool_backward
#cgo noescape crnn_tile_rnn_forward
#cgo nocallback crnn_tile_rnn_forward
#cgo noescape crnn_tile_rnn_backward
#cgo nocallback crnn_tile_rnn_backward
#cgo noescape crnn_sum_rows
#cgo nocallback crnn_sum_rows
#cgo noescape crnn_multiply_adds
#cgo nocallback crnn_multiply_adds
#cgo noescape crnn_adam
#cgo nocallback crnn_adam
*/
import "C"

import "unsafe"

// cKernels are the C kernels of one instruction set.
type cKernels struct {
	table       *C.struct_kernels
	bf16, tiles bool
	title       string // unless it is the table's
}

func (k cKernels) name() string {
	if k.title != "" {
		return k.title
	}
	return C.GoString(k.table.name)
}
func (k cKernels) hasBF16() bool  { return k.bf16 }
func (k cKernels) hasTiles() bool { return k.tiles }

func floats(a []float32) *C.float   { return (*C.float)(unsafe.Pointer(unsafe.SliceData(a))) }
func offsets(a []int32) *C.int32_t  { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func bytes(a []uint8) *C.uint8_t    { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func halves(a []uint16) *C.uint16_t { return (*C.uint16_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func pairs(a []uint32) *C.uint32_t  { return (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(a))) }
func (s *tileShape) c() *C.struct_tile_shape {
	return (*C.struct_tile_shape)(unsafe.Pointer(s))
}
func (s *tileRNN) c() *C.struct_tile_rnn { return (*C.struct_tile_rnn)(unsafe.Pointer(s)) }
func (s *poolShape) c() *C.struct_pool_shape {
	return (*C.struct_pool_shape)(unsafe.Pointer(s))
}
func (s *winogradShape) c() *C.struct_winograd_shape {
	return (*C.struct_winograd_shape)(unsafe.Pointer(s))
}

func (k cKernels) matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32) {
	C.crnn_matmul(k.table, (*C.struct_matmul_shape)(unsafe.Pointer(s)), offsets(aOffset), offsets(cOffset),
		floats(a), floats(b), floats(bias), floats(c))
}

func (k cKernels) transpose(dst, src []float32, rows, columns, dstRow, srcRow int) {
	C.crnn_transpose(k.table, floats(dst), floats(src), C.int64_t(rows), C.int64_t(columns), C.int64_t(dstRow), C.int64_t(srcRow))
}

func (k cKernels) channelMoments(z []float32, mean, m2 []float32) {
	C.crnn_channel_moments(k.table, floats(z), C.int64_t(len(z)/len(mean)), C.int64_t(len(mean)), floats(mean), floats(m2))
}

func (k cKernels) bnReluPool(s *poolShape, z, mean, scale, beta, y, largest []float32, index []uint8) {
	C.crnn_bn_relu_pool(k.table, s.c(), floats(z), floats(mean), floats(scale), floats(beta), floats(y), floats(largest), bytes(index))
}

func (k cKernels) bnReluPoolSums(largest []float32, index []uint8, dy, sumG, sumGZ []float32) {
	channels := len(sumG)
	C.crnn_bn_relu_pool_sums(k.table, C.int64_t(len(index)/channels), C.int64_t(channels), floats(largest), bytes(index),
		floats(dy), floats(sumG), floats(sumGZ))
}

func (k cKernels) bnReluPoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1, dz, sumDZ []float32) {
	C.crnn_bn_relu_pool_backward(k.table, s.c(), floats(z), floats(mean), floats(scale), bytes(index), floats(dy),
		floats(kZ), floats(k1), floats(dz), floats(sumDZ))
}

func (k cKernels) winogradInput(s *winogradShape, x, v []float32) {
	C.crnn_winograd_input(k.table, s.c(), floats(x), floats(v))
}

func (k cKernels) winogradOutput(s *winogradShape, m, bias, z []float32) {
	C.crnn_winograd_output(k.table, s.c(), floats(m), floats(bias), floats(z))
}

func (k cKernels) winogradOutputPool(s *winogradShape, m, bias, mean, scale, beta, y []float32) {
	C.crnn_winograd_output_pool(k.table, s.c(), floats(m), floats(bias), floats(mean), floats(scale), floats(beta), floats(y))
}

func (k cKernels) winogradOutputGradient(s *winogradShape, dz, q []float32) {
	C.crnn_winograd_output_gradient(k.table, s.c(), floats(dz), floats(q))
}

func (k cKernels) winogradInputGradient(s *winogradShape, p, dx []float32) {
	C.crnn_winograd_input_gradient(k.table, s.c(), floats(p), floats(dx))
}

func (k cKernels) winogradFilter(tileHeight, channels, frequency int, w, u []float32) {
	C.crnn_winograd_filter(k.table, C.int64_t(tileHeight), floats(w), C.int64_t(channels), C.int64_t(frequency), floats(u))
}

func (k cKernels) winogradFilterGradient(channels, frequency, groups, group int, s, dw []float32) {
	C.crnn_winograd_filter_gradient(k.table, floats(s), C.int64_t(channels), C.int64_t(frequency), C.int64_t(groups),
		C.int64_t(group), floats(dw))
}

func (k cKernels) rnnForward(s *rnnShape, row []int32, w, h []float32, d *rnnDropout, keep []uint8, kept, step []float32) {
	C.crnn_rnn_forward(k.table, (*C.struct_rnn_shape)(unsafe.Pointer(s)), offsets(row), floats(w), floats(h),
		(*C.struct_rnn_dropout)(unsafe.Pointer(d)), bytes(keep), floats(kept), floats(step))
}

func (k cKernels) rnnBackward(s *rnnShape, row []int32, w, h []float32, keep []uint8, scale float32, dz, dbias, step []float32) {
	C.crnn_rnn_backward(k.table, (*C.struct_rnn_shape)(unsafe.Pointer(s)), offsets(row), floats(w), floats(h), bytes(keep),
		C.float(scale), floats(dz), floats(dbias), floats(step))
}

func (k cKernels) narrow(dst, src []float32) {
	C.crnn_narrow(k.table, floats(dst), floats(src), C.int64_t(len(src)))
}

func (k cKernels) pairRows(dst, src []float32, rows, columns int) {
	C.crnn_pair_rows(k.table, floats(dst), floats(src), C.int64_t(rows), C.int64_t(columns))
}

func (k cKernels) tileProduct(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, c []float32) {
	C.crnn_tile_product(k.table, s.c(), offsets(aOffset), offsets(cOffset), offsets(termA), halves(a), pairs(b),
		floats(bias), floats(c))
}

func (k cKernels) tileProductPool(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, z []float32,
	pool *poolShape, mean, scale, beta, y []float32) {
	C.crnn_tile_product_pool(k.table, s.c(), offsets(aOffset), offsets(cOffset), offsets(termA), halves(a), pairs(b),
		floats(bias), floats(z), pool.c(), floats(mean), floats(scale), floats(beta), floats(y))
}

func (k cKernels) tilePack(s *tilePack, dst []uint32, src []float32, keep []uint8) {
	C.crnn_tile_pack(k.table, (*C.struct_tile_pack)(unsafe.Pointer(s)), pairs(dst), unsafe.Pointer(unsafe.SliceData(src)), bytes(keep))
}

func (k cKernels) tileImage(s *tileImage, x []float32, first, last []uint16) {
	C.crnn_tile_image(k.table, (*C.struct_tile_image)(unsafe.Pointer(s)), floats(x), halves(first), halves(last))
}

func (k cKernels) tilePoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1 []float32,
	last []uint16, pair []uint32, sumDZ []float32) {
	C.crnn_tile_pool_backward(k.table, s.c(), floats(z), floats(mean), floats(scale), bytes(index), floats(dy),
		floats(kZ), floats(k1), halves(last), pairs(pair), floats(sumDZ))
}

func (k cKernels) tileRNNForward(s *tileRNN, termA []int32, wIH, wHH []uint32, bias []float32, in []uint16, h []float32,
	out, state []uint16, step []float32, d *rnnDropout, keep []uint8) {
	C.crnn_tile_rnn_forward(k.table, s.c(), offsets(termA), pairs(wIH), pairs(wHH), floats(bias), halves(in), floats(h),
		halves(out), halves(state), floats(step), (*C.struct_rnn_dropout)(unsafe.Pointer(d)), bytes(keep))
}

func (k cKernels) tileRNNBackward(s *tileRNN, termA []int32, wIH, wHH []uint32, h []float32, keep []uint8, scale float32,
	dy []float32, dz []uint16, dx, dbias, step []float32) {
	C.crnn_tile_rnn_backward(k.table, s.c(), offsets(termA), pairs(wIH), pairs(wHH), floats(h), bytes(keep),
		C.float(scale), floats(dy), halves(dz), floats(dx), floats(dbias), floats(step))
}

func (k cKernels) sumRows(sum, a []float32, rows, stride int) {
	C.crnn_sum_rows(k.table, floats(sum), floats(a), C.int64_t(rows), C.int64_t(stride), C.int64_t(len(sum)))
}

func (k cKernels) multiplyAdds(n int) int64 {
	return int64(C.crnn_multiply_adds(k.table, C.int64_t(n)))
}

func (k cKernels) adam(s *adamStep, p, g, m, v []float32) {
	C.crnn_adam(k.table, (*C.struct_adam_step)(unsafe.Pointer(s)), floats(p), floats(g), floats(m), floats(v), C.int64_t(len(p)))
}

// The structs that Go and C share are equally long, and so are panels, or this does not compile.
var (
	_ [unsafe.Sizeof(matmulShape{})]byte   = [C.sizeof_struct_matmul_shape]byte{}
	_ [unsafe.Sizeof(poolShape{})]byte     = [C.sizeof_struct_pool_shape]byte{}
	_ [unsafe.Sizeof(winogradShape{})]byte = [C.sizeof_struct_winograd_shape]byte{}
	_ [unsafe.Sizeof(rnnShape{})]byte      = [C.sizeof_struct_rnn_shape]byte{}
	_ [unsafe.Sizeof(rnnDropout{})]byte    = [C.sizeof_struct_rnn_dropout]byte{}
	_ [unsafe.Sizeof(tileShape{})]byte     = [C.sizeof_struct_tile_shape]byte{}
	_ [unsafe.Sizeof(tilePack{})]byte      = [C.sizeof_struct_tile_pack]byte{}
	_ [unsafe.Sizeof(tileImage{})]byte     = [C.sizeof_struct_tile_image]byte{}
	_ [unsafe.Sizeof(tileRNN{})]byte       = [C.sizeof_struct_tile_rnn]byte{}
	_ [unsafe.Sizeof(adamStep{})]byte      = [C.sizeof_struct_adam_step]byte{}
	_ [panelWidth]byte                     = [C.PANEL_WIDTH]byte{}
)
