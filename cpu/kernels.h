// The CPU's inner loops in C: one source (kernels_body.h), compiled once for every
// instruction set, and a table of functions for each. What each function computes stands
// in kernels.go, beside the plain Go version that it must agree with.
#ifndef CRNN_KERNELS_H
#define CRNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// The sizes of a matrix product; matmulShape in kernels.go is the same struct.
struct matmul_shape {
	int64_t m, n;               // rows of C; columns, a multiple of 16
	int64_t count[3];           // the sum runs over count[0] x count[1] x count[2] terms,
	int64_t stride_a[3];        // at which A
	int64_t stride_b[3];        // and B advance by these many elements
	int64_t init;               // C starts from INIT_ZERO, INIT_BIAS or INIT_SUM (its old value)
};

enum { INIT_ZERO, INIT_BIAS, INIT_SUM };

// The sizes of one image in a convolution block; poolShape in kernels.go is the same struct.
struct pool_shape {
	int64_t height, width;      // before pooling, even
	int64_t channels;           // a multiple of 16
	int64_t out_row, out_pixel; // bn_relu_pool_backward: strides of dz in elements
};

// The sizes of arrays to be masked; keptShape in kernels.go is the same struct.
struct kept_shape {
	int64_t rows, columns;      // columns a multiple of 8
	int64_t stride, keep_stride; // between rows, of dst and src, and of keep
};

// The numbers of a step of Adam; adamStep in kernels.go is the same struct.
struct adam_step {
	float beta2, one_minus_beta1, one_minus_beta2, step_size, root_correction2, eps;
};

struct kernels {
	const char *name;
	void (*matmul)(const struct matmul_shape *s, const int32_t *a_offset, const int32_t *c_offset,
	               const float *a, const float *b, const float *bias, float *c);
	void (*tanh_forward)(float *z, int64_t n);
	void (*tanh_backward)(float *dh, const float *h, int64_t n);
	void (*dropout_mask)(uint8_t *keep, uint64_t seed, uint32_t purpose, uint64_t step,
	                     uint32_t first_block, int64_t blocks, uint32_t threshold);
	void (*scale_kept)(const struct kept_shape *s, float *dst, const float *src, const uint8_t *keep, float scale);
	void (*transpose)(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row, int64_t src_row);
	void (*add_rows)(float *sum, const float *a, int64_t rows, int64_t columns);
	void (*channel_moments)(const float *z, int64_t rows, int64_t channels, float *mean, float *m2);
	void (*bn_relu_pool)(const struct pool_shape *s, const float *z, const float *mean,
	                     const float *scale, const float *beta, float *y);
	void (*bn_relu_pool_sums)(const struct pool_shape *s, const float *z, const float *mean,
	                          const float *scale, const float *beta, const float *dy,
	                          float *sum_g, float *sum_gz);
	void (*bn_relu_pool_backward)(const struct pool_shape *s, const float *z, const float *mean,
	                              const float *scale, const float *beta, const float *dy,
	                              const float *k_z, const float *k_1, float *dz, float *sum_dz);
	void (*adam)(const struct adam_step *s, float *p, const float *g, float *m, float *v, int64_t n);
};

// The tables that this build holds, from the fastest to the plainest.
extern const struct kernels crnn_kernels_avx512, crnn_kernels_avx2, crnn_kernels_neon, crnn_kernels_generic;

#endif
