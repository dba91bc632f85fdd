// The CPU's inner loops in C: one source (kernels_body.h and the parts that it includes),
// compiled once for every instruction set, and a table of functions for each. What each
// function computes stands in kernels.go, beside the plain Go version that it must agree with.
#ifndef CRNN_KERNELS_H
#define CRNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// The sizes of a batch of matrix products; matmulShape in kernels.go is the same struct.
struct matmul_shape {
	int64_t m, n;               // rows of C; columns, a multiple of 16
	int64_t count[3];           // the sum runs over count[0] x count[1] x count[2] terms,
	int64_t stride_a[3];        // at which A advances by these many elements
	int64_t stride_b[3];        // and B by these many rows
	int64_t add;                // what the sum is added to: ADD_NOTHING, ADD_BIAS, or ADD_C: the old C
	int64_t panel_rows;         // B is stored in panels of so many rows; 0: row after row
	int64_t row_b;              // elements between the rows of a B without panels
	int64_t batch;              // number of products,
	int64_t batch_a, batch_b, batch_c; // and elements between their matrices
	int64_t bf16;               // the elements of A and B are pairs of bfloat16
	int64_t two_sums;           // the terms of the innermost loop go to two sums in turn, which round less
};

enum { ADD_NOTHING, ADD_BIAS, ADD_C };
enum { PANEL_WIDTH = 64 };      // panelWidth in matrix.go

// The sizes of one image in a convolution block; poolShape in kernels.go is the same struct.
struct pool_shape {
	int64_t height, width;      // before pooling, even
	int64_t channels;           // a multiple of 16
	int64_t out_row;            // bn_relu_pool_backward, tile_pool_backward: elements between rows of dz,
	int64_t out_pixel;          // tile_pool_backward: between its pixels,
	int64_t pair_row;           // and pixels between rows of its pairs, even
};

// The sizes of some rows of tiles of an image; winogradShape in kernels.go is the same struct.
struct winograd_shape {
	int64_t rows, tiles;        // rows of tiles; tiles in each
	int64_t channels;           // a multiple of 16
	int64_t image_row;          // elements between rows of the image
	int64_t frequency;          // elements between the parts of a transformed array
	int64_t tile_height;        // rows of outputs in a tile, 2 or 4; the gradients and winograd_output know 2 alone
	int64_t pooled_rows;        // winograd_output_pool: rows of y
};

// The sizes of some samples of a layer; rnnShape in kernels.go is the same struct.
struct rnn_shape {
	int64_t steps, samples;
	int64_t units, hidden;      // units; the same padded to a multiple of 16, a row's length
	int64_t bf16;               // the recurrent product's operands are bfloat16
	int64_t last_only;          // rnn_backward: the output's gradient is that of the last step alone
};

// The dropout of a layer; rnnDropout in kernels.go is the same struct.
struct rnn_dropout {
	uint64_t seed, step;
	uint64_t first;             // number of the first sample
	uint64_t blocks;            // of random numbers in a row
	uint64_t threshold;         // 16-bit words below it drop a unit
	uint32_t purpose;
	float scale;                // of what is kept
};

// The sizes of a product of bfloat16 in tiles; tileShape in kernels.go is the same struct.
struct tile_shape {
	int64_t blocks, rows;       // blocks of rows; rows of each, at most 16
	int64_t columns, terms;     // tiles of 16 columns; sums of 32 terms
	int64_t row_a, row_b, row_c; // elements between the rows of a tile
	int64_t term_b, column_b;   // elements between the tiles of B
	int64_t add;                // as in matmul_shape
};

// A matrix that becomes tiles; tilePack in kernels.go is the same struct.
struct tile_pack {
	int64_t rows, columns, src_row;
	int64_t narrow;             // it is bfloat16 already
	int64_t pair_columns;       // the terms of a product lie along a row; else along a column
	int64_t transposed;         // the pairs of a tile change places
	int64_t zero_rows;          // rows of zeros before the source's; they count as rows
	int64_t outer;              // elements between tiles that are not neighbours by their terms
	float scale;                // of what is kept
};

// The sizes of an image with a border; tileImage in kernels.go is the same struct.
struct tile_image {
	int64_t in, height, width;  // without border
	int64_t border, row;        // pixels before the first; pixels in a row, border included
	int64_t plane;              // elements between the channels of one, if they are outside,
	int64_t channels;           // and between its pixels, if channels are inside
};

// The sizes of some samples of a layer in tiles; tileRNN in kernels.go is the same struct.
struct tile_rnn {
	int64_t steps, samples;     // at most 16 samples
	int64_t hidden, in;         // padded to a multiple of 32
	int64_t h_step;             // elements between the steps of h
	int64_t last_only;          // as in rnn_shape
};

// The numbers of a step of Adam; adamStep in kernels.go is the same struct.
struct adam_step {
	float beta2, one_minus_beta1, one_minus_beta2, step_size, root_correction2, eps;
};

struct kernels {
	const char *name;
	void (*matmul)(const struct matmul_shape *s, const int32_t *a_offset, const int32_t *c_offset,
	               const float *a, const float *b, const float *bias, float *c);
	void (*transpose)(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row, int64_t src_row);
	void (*channel_moments)(const float *z, int64_t rows, int64_t channels, float *mean, float *m2);
	void (*bn_relu_pool)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                     const float *beta, float *y, float *largest, uint8_t *index);
	void (*bn_relu_pool_sums)(int64_t rows, int64_t channels, const float *largest, const uint8_t *index,
	                          const float *dy, float *sum_g, float *sum_gz);
	void (*bn_relu_pool_backward)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                              const uint8_t *index, const float *dy, const float *k_z, const float *k_1,
	                              float *dz, float *sum_dz);
	void (*winograd_input)(const struct winograd_shape *s, const float *x, float *v);
	void (*winograd_output)(const struct winograd_shape *s, const float *m, const float *bias, float *z);
	void (*winograd_output_pool)(const struct winograd_shape *s, const float *m, const float *bias, const float *mean,
	                             const float *scale, const float *beta, float *y);
	void (*winograd_output_gradient)(const struct winograd_shape *s, const float *dz, float *q);
	void (*winograd_input_gradient)(const struct winograd_shape *s, const float *p, float *dx);
	void (*winograd_filter)(int64_t tile_height, const float *w, int64_t channels, int64_t frequency, float *u);
	void (*winograd_filter_gradient)(const float *s, int64_t channels, int64_t frequency, int64_t groups,
	                                 int64_t group, float *dw);
	void (*rnn_forward)(const struct rnn_shape *s, const int32_t *row, const float *w, float *h,
	                    const struct rnn_dropout *dropout, uint8_t *keep, float *kept, float *step);
	void (*rnn_backward)(const struct rnn_shape *s, const int32_t *row, const float *w, const float *h,
	                     const uint8_t *keep, float scale, float *dz, float *dbias, float *step);
	void (*narrow)(float *dst, const float *src, int64_t n);
	void (*pair_rows)(float *dst, const float *src, int64_t rows, int64_t columns);
	// Of kernels with tiles:
	void (*tile_product)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset, const int32_t *term_a,
	                     const uint16_t *a, const uint32_t *b, const float *bias, float *c);
	void (*tile_product_pool)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset, const int32_t *term_a,
	                          const uint16_t *a, const uint32_t *b, const float *bias, float *z, const struct pool_shape *pool,
	                          const float *mean, const float *scale, const float *beta, float *y);
	void (*tile_pack)(const struct tile_pack *s, uint32_t *dst, const void *src, const uint8_t *keep);
	void (*tile_image)(const struct tile_image *s, const float *x, uint16_t *first, uint16_t *last);
	void (*tile_pool_backward)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                           const uint8_t *index, const float *dy, const float *k_z, const float *k_1, uint16_t *last,
	                           uint32_t *pairs, float *sum_dz);
	void (*tile_rnn_forward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih, const uint32_t *w_hh,
	                         const float *bias, const uint16_t *in, float *h, uint16_t *out, uint16_t *state,
	                         float *step, const struct rnn_dropout *dropout, uint8_t *keep);
	void (*tile_rnn_backward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih, const uint32_t *w_hh,
	                          const float *h, const uint8_t *keep, float scale, const float *dy, uint16_t *dz, float *dx,
	                          float *dbias, float *step);

	void (*sum_rows)(float *sum, const float *a, int64_t rows, int64_t stride, int64_t n);
	int64_t (*multiply_adds)(int64_t n);
	void (*adam)(const struct adam_step *s, float *p, const float *g, float *m, float *v, int64_t n);
};

// The tables that this build holds, from the fastest to the plainest.
extern const struct kernels crnn_kernels_avx512, crnn_kernels_avx2, crnn_kernels_neon, crnn_kernels_generic;
extern const struct kernels crnn_kernels_emulated; // with the build tag emulateamx

#endif
