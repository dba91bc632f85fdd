// The CPU's inner loops. Each has a formula and a signature in struct kernels below, a plain version in
// plain.go or plain_tiles.go, and a fast version in C: kernels_body.h and the parts that it includes,
// compiled once per instruction set.
//
// `go generate ./cpu` (tools/cpukernels) writes the rest from this file: the Go interface and structs
// (kernels_gen.go), the calls through cgo (kernels_cgo_gen.go), the profile's list (profile_gen.go) and
// the entries of a table (kernels_table_gen.h). It reads only the forms of C in this file and these comments:
//
//   //profile NAME[, FLOP]   above a function: Go expressions of its name in a profile and of the
//                            floating-point operations per call; without the line it is not timed
//   //needs MACRO            from here on, functions exist only where MACRO is defined
//   //needs nothing          from here on, functions always exist
#ifndef CRNN_KERNELS_H
#define CRNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// The addend of a product's sums. matmul adds it last, since a sum that starts small rounds less;
// tiles begin with it.
enum {
	ADD_NOTHING,
	ADD_BIAS, // the row bias
	ADD_C,    // the old C: long sums are made in parts
};

enum {
	LANES = 16,       // channels and hidden units are padded with zeros to multiples: the widest vector
	PANEL_WIDTH = 64, // columns of a right factor that lie together: 128 rows fit the nearest cache
	TILE_ROWS = 16,   // rows and columns of a tile of C; a tile of B has as many rows of pairs
	TILE_TERMS = 32,  // elements in a row of a tile of A
	TILE_SIZE = 256,  // pairs in a tile
};

// The sizes of a batch of matrix products.
struct matmul_shape {
	int64_t m, n;               // rows of C; columns, a multiple of LANES
	int64_t count[3];           // the sum runs over count[0]·count[1]·count[2] terms
	int64_t stride_a[3];        // elements by which A advances per term of each loop
	int64_t stride_b[3];        // rows by which B advances
	int64_t add;                // ADD_NOTHING, ADD_BIAS or ADD_C
	int64_t panel_rows;         // rows of a panel of B; 0: B is stored row after row
	int64_t row_b;              // elements between the rows of a B without panels
	int64_t batch;              // number of products
	int64_t batch_a, batch_b, batch_c; // elements between their matrices
	int64_t bf16;               // 1: each element of A and B is a pair of bfloat16, the first in the low half
	int64_t two_sums;           // 1: the innermost loop's terms go to two sums in turn, which rounds less
};

// The sizes of one image in a convolution block.
struct pool_shape {
	int64_t height, width;      // before pooling; windows leave out a last odd row or column
	int64_t channels;           // a multiple of LANES
	int64_t out_row;            // bn_relu_pool_backward, tile_pool_backward: elements between rows of dz
	int64_t out_pixel;          // tile_pool_backward: elements between its pixels
	int64_t pair_row;           // tile_pool_backward: pixels between rows of the pairs, even
};

// The sizes of some rows of tiles of an image.
struct winograd_shape {
	int64_t rows, tiles;        // rows of tiles; tiles per row
	int64_t channels;           // a multiple of LANES
	int64_t image_row;          // elements between rows of the image
	int64_t frequency;          // elements between the parts of a transformed array
	int64_t tile_height;        // rows of outputs per tile: 2, or 4 in winograd_input and winograd_output_pool
	int64_t pooled_rows;        // winograd_output_pool: rows of y
};

// The sizes of some samples of a layer.
struct rnn_shape {
	int64_t steps, samples;
	int64_t units, hidden;      // units; the length of a row: units padded to LANES
	int64_t bf16;               // 1: the recurrent product's operands are bfloat16
	int64_t last_only;          // rnn_backward, 1: only the last step's output has a gradient
};

// The dropout of a layer.
struct rnn_dropout {
	uint64_t seed, step;
	uint64_t first;             // number of the first sample
	uint64_t blocks;            // blocks of random numbers per row
	uint64_t threshold;         // a 16-bit word below it drops a unit
	uint32_t purpose;
	float scale;                // of kept units
};

// The sizes of a product of bfloat16 in tiles.
struct tile_shape {
	int64_t blocks, rows;       // blocks of rows; rows per block, at most TILE_ROWS
	int64_t columns, terms;     // tiles of TILE_ROWS columns; sums of TILE_TERMS terms
	int64_t row_a, row_b, row_c; // elements between the rows of a tile
	int64_t term_b, column_b;   // elements between the tiles of B
	int64_t add;                // as in matmul_shape
};

// A matrix that becomes tiles.
struct tile_pack {
	int64_t rows, columns, src_row; // src_row: elements between the source's rows
	int64_t narrow;             // 1: the source is bfloat16 already, two per element
	int64_t pair_columns;       // 1: the terms of a product lie along a row; 0: along a column
	int64_t transposed;         // 1: each tile of pairs is transposed
	int64_t zero_rows;          // rows of zeros before the source's; they count as rows
	int64_t outer;              // elements between runs of tiles; a run has all terms of its rows or columns
	float scale;                // of kept elements
};

// The sizes of an image with a border.
struct tile_image {
	int64_t in, height, width;  // without border
	int64_t border, row;        // pixels before the first; pixels per row, border included
	int64_t plane;              // channels outside pixels: elements between channels
	int64_t channels;           // channels inside pixels: elements between pixels
};

// The sizes of some samples of a layer in tiles.
struct tile_rnn {
	int64_t steps, samples;     // at most TILE_ROWS samples
	int64_t hidden, in;         // padded to TILE_TERMS
	int64_t h_step;             // elements between the steps of h
	int64_t last_only;          // as in rnn_shape
};

// The numbers of a step of Adam, computed in float64 (1-0.999 in float32 is off by 1.3e-5).
struct adam_step {
	float beta2, one_minus_beta1, one_minus_beta2;
	float step_size;            // LR/(1-β1^t)
	float root_correction2;     // √(1-β2^t)
	float eps;
};

// The inner loops of one instruction set. Each runs on the calling thread. An element of a result never
// depends on how the work is cut into calls. Images are [height·width][channels], channels innermost
// and padded, unless their function says otherwise. Arrays do not overlap unless their function says so.
struct kernels {
	const char *name;

	// matmul computes, for m < s.m and n < s.n, with k running over the three loops of s in order,
	//
	//	c[c_offset[m] + n] = s.add + Σ_k a[a_offset[m] + k·stride_a] · B[k·stride_b][n]
	//
	// and the same for the rest of the batch. Every product of the network is one of these: in a
	// convolution, a_offset and stride_a walk over the patches of a padded image, which are never
	// stored. With s.bf16 all counts are of pairs, and a term is the sum of two products.
	//profile precise("matmul", s.bf16), s.flop()
	void (*matmul)(const struct matmul_shape *s, const int32_t *a_offset, const int32_t *c_offset,
	               const float *a, const float *b, const float *bias, float *c);

	// transpose writes the transpose of src [rows][columns] to dst [columns][rows]; dst_row and
	// src_row are the lengths of their rows in memory.
	//profile "transpose"
	void (*transpose)(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row, int64_t src_row);

	// channel_moments computes, per channel of one image z [rows][channels], the mean over its
	// pixels and m2 = Σ (z - mean)².
	//profile "channel moments"
	void (*channel_moments)(const float *z, int64_t rows, int64_t channels, float *mean, float *m2);

	// bn_relu_pool computes y = max(0, max over windows of 2x2 of u), u = (z-mean)·scale + beta, for
	// one image. Unless index is nil, largest is z-mean at the first largest u of a window, and index
	// its number there (row-major), or 4 if that u is not above 0.
	//profile "normalise, ReLU, pool"
	void (*bn_relu_pool)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                     const float *beta, float *y, float *largest, uint8_t *index);

	// bn_relu_pool_sums computes, per channel of one image of rows windows, sum_g = Σ g and
	// sum_gz = Σ g (z-mean). Here g is ∂loss/∂u: dy at the element that index names, else 0.
	//profile "gradient's sums"
	void (*bn_relu_pool_sums)(int64_t rows, int64_t channels, const float *largest, const uint8_t *index,
	                          const float *dy, float *sum_g, float *sum_gz);

	// bn_relu_pool_backward computes, for one image,
	//
	//	dz = scale·g + k_z (z-mean) + k_1
	//
	// and, per channel, sum_dz = Σ dz. Outside of all windows g is 0.
	//profile "normalise, ReLU, pool"
	void (*bn_relu_pool_backward)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                              const uint8_t *index, const float *dy, const float *k_z, const float *k_1,
	                              float *dz, float *sum_dz);

	// winograd_input computes v = Bᵀ x B for tiles that overlap by 4.
	//
	// This and the next functions are the transforms of Winograd's convolutions, for some rows of tiles of
	// an image, with the matrices of F(2, 5) and F(4, 5) (see winograd.go). Frequency 6u+v of tile (r,t) lies at
	// s.frequency·(6u+v) + (r·tiles+t)·channels. x and dx point at the first row of the border around
	// the tiles, z and dz at the first row inside. A tile of outputs has two columns.
	//profile "Winograd transforms"
	void (*winograd_input)(const struct winograd_shape *s, const float *x, float *v);

	// winograd_output computes z = Aᵀ m A + bias.
	//profile "Winograd transforms"
	void (*winograd_output)(const struct winograd_shape *s, const float *m, const float *bias, float *z);

	// winograd_output_pool is winograd_output followed by bn_relu_pool. It writes the first s.pooled_rows
	// of the tiles' pooled rows to y.
	//profile "Winograd transforms"
	void (*winograd_output_pool)(const struct winograd_shape *s, const float *m, const float *bias, const float *mean,
	                             const float *scale, const float *beta, float *y);

	// winograd_output_gradient computes q = A dz Aᵀ, the adjoint of winograd_output.
	//profile "Winograd transforms"
	void (*winograd_output_gradient)(const struct winograd_shape *s, const float *dz, float *q);

	// winograd_input_gradient adds B p Bᵀ to dx, the adjoint of winograd_input.
	//profile "Winograd transforms"
	void (*winograd_input_gradient)(const struct winograd_shape *s, const float *p, float *dx);

	// winograd_filter computes u = G w Gᵀ for filters w [25][channels] and tiles of tile_height.
	// The parts of u are frequency elements apart.
	//profile "Winograd filters"
	void (*winograd_filter)(int64_t tile_height, const float *w, int64_t channels, int64_t frequency, float *u);

	// winograd_filter_gradient computes dw = Gᵀ (Σ s) G, the adjoint of winograd_filter. The sum is
	// over groups, which lie group elements apart.
	//profile "Winograd filters"
	void (*winograd_filter_gradient)(const float *s, int64_t channels, int64_t frequency, int64_t groups,
	                                 int64_t group, float *dw);

	// rnn_forward runs a layer through time. h [steps][samples][hidden] holds the sums in the tanh
	// without the recurrent part and becomes the output:
	//
	//	h[t] = tanh(h[t] + h[t-1] w)
	//
	// w is in panels; with s.bf16, of pairs of rows. Unless keep is nil, keep becomes the mask of model.RNN
	// (1 or 0), and kept = h ⊙ keep · scale. row holds the offsets of a step's rows; step is
	// scratch for one step.
	//profile precise("recurrence", s.bf16), s.recurrentFLOP()
	void (*rnn_forward)(const struct rnn_shape *s, const int32_t *row, const float *w, float *h,
	                    const struct rnn_dropout *dropout, uint8_t *keep, float *kept, float *step);

	// rnn_backward runs a layer back through time. dz holds ∂loss/∂kept, or with keep nil ∂loss/∂h,
	// from all uses of the layer's output except its own recurrence. It becomes the gradient of the sum
	// in the tanh:
	//
	//	dz[t] = (dz[t] ⊙ keep[t] · scale + dz[t+1] w) (1 - h[t]²)
	//
	// and dbias += Σ dz. step is scratch for two steps.
	//profile precise("recurrence", s.bf16), s.recurrentFLOP()
	void (*rnn_backward)(const struct rnn_shape *s, const int32_t *row, const float *w, const float *h,
	                     const uint8_t *keep, float scale, float *dz, float *dbias, float *step);

	// sum_rows adds rows of a, stride elements apart and n long, to sum, in order.
	//profile "sum of groups"
	void (*sum_rows)(float *sum, const float *a, int64_t rows, int64_t stride, int64_t n);

	// multiply_adds runs n iterations of multiply-adds in registers, the fastest arithmetic there is,
	// and returns their floating-point operations.
	int64_t (*multiply_adds)(int64_t n);

	// adam updates n elements of p, m and v as model.Backend.Adam says.
	//profile "adam"
	void (*adam)(const struct adam_step *s, float *p, const float *g, float *m, float *v, int64_t n);

	//needs BF16_TARGET

	// narrow writes n elements of src as pairs of neighbours in bfloat16, half as many elements.
	//profile "to bfloat16"
	void (*narrow)(float *dst, const float *src, int64_t n);

	// pair_rows writes the rows of src [rows][columns] as pairs: rows 2i and 2i+1 become row i of dst.
	// A missing last row counts as 0.
	//profile "to bfloat16"
	void (*pair_rows)(float *dst, const float *src, int64_t rows, int64_t columns);

	//needs TILE_DOT

	// tile_product computes, for i < s.blocks, r < s.rows, n < TILE_ROWS·s.columns,
	//
	//	c[c_offset[i] + r·row_c + n] =
	//		s.add + Σ_t Σ_(k < TILE_TERMS) a[a_offset[i] + term_a[t] + r·row_a + k] · B[t][k][n]
	//
	// where the pair of B[t][2k] and B[t][2k+1] at n lies at
	// (n/TILE_ROWS)·column_b + t·term_b + k·row_b + n%TILE_ROWS. Blocks may overlap unless s.add is ADD_C.
	//
	// Images with a border and left factors hold bfloat16; right factors hold pairs, as pair_rows makes
	// them. A left factor from tile_pack is [block][term][TILE_ROWS][TILE_TERMS],
	// a right one [columns][term][TILE_ROWS] pairs.
	//profile "matmul, bf16 in tiles", s.flop()
	void (*tile_product)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
	                     const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *c);

	// tile_product_pool is tile_product followed by bn_relu_pool. Its blocks are parts of an image's rows.
	// A last odd row is left out.
	// z is scratch for two rows of pixels, at the offsets of the first blocks.
	//profile "matmul, bf16 in tiles, and pool", s.flop()
	void (*tile_product_pool)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
	                          const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *z,
	                          const struct pool_shape *pool, const float *mean, const float *scale, const float *beta,
	                          float *y);

	// tile_pack writes src as tiles, padded with zeros. Unless keep is nil, elements are multiplied by
	// scale where keep is not 0, and become 0 elsewhere. With pair_columns, keep is nil, and zero_rows
	// and narrow are 0.
	//profile "to tiles of bfloat16"
	void (*tile_pack)(const struct tile_pack *s, uint32_t *dst, const float *src, const uint8_t *keep);

	// tile_image writes x [in][height·width] into images with a border: first has its channels outside,
	// last inside. Either may be nil. The border stays unchanged. In last, channels from in up to a
	// multiple of 16 become 0.
	//profile "to images in bfloat16"
	void (*tile_image)(const struct tile_image *s, const float *x, uint16_t *first, uint16_t *last);

	// tile_pool_backward is bn_relu_pool_backward, but writes dz in bfloat16: to last, unless it is nil,
	// and as pairs of neighbouring pixels of a row to pairs [height·pair_row/2][channels]. Beside a last odd
	// pixel is 0.
	//profile "normalise, ReLU, pool"
	void (*tile_pool_backward)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
	                           const uint8_t *index, const float *dy, const float *k_z, const float *k_1, uint16_t *last,
	                           uint32_t *pairs, float *sum_dz);

	// tile_rnn_forward runs a layer through time:
	//
	//	h[t] = tanh(bias + in[t] w_ih + h[t-1] w_hh)
	//
	// with in [steps][samples][in]. out [steps][samples][hidden] is h or, unless keep is nil, h after
	// dropout as in rnn_forward; state is then scratch for one step, and step for two. term_a is 0,
	// TILE_TERMS, 2·TILE_TERMS and so on.
	//profile "layer, bf16 in tiles", s.flop()
	void (*tile_rnn_forward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih, const uint32_t *w_hh,
	                         const float *bias, const uint16_t *in, float *h, uint16_t *out, uint16_t *state,
	                         float *step, const struct rnn_dropout *dropout, uint8_t *keep);

	// tile_rnn_backward is rnn_backward with dy in place of the old dz. It computes the input's gradient
	// too: dx[t] = dz[t] w_ih. step is scratch for one step.
	//profile "layer, bf16 in tiles", s.flop()
	void (*tile_rnn_backward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih, const uint32_t *w_hh,
	                          const float *h, const uint8_t *keep, float scale, const float *dy, uint16_t *dz, float *dx,
	                          float *dbias, float *step);
	//needs nothing
};

// The tables that this build holds, from the fastest to the plainest.
extern const struct kernels crnn_kernels_avx512, crnn_kernels_avx2, crnn_kernels_neon, crnn_kernels_generic;
extern const struct kernels crnn_kernels_emulated; // with the build tag emulateamx

#endif
