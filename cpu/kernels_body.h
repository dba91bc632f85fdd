// The inner loops of the CPU backend in GCC vector extensions, which gcc and clang both
// compile. The including file names the instruction set:
//
//	ISA        suffix of the names
//	TARGET     attribute that lets the compiler use it
//	VL         float32 values in a vector: 4, 8 or 16
//	MAX_NV     vectors of columns in a matrix product's register tile: 2 or 4. With 6 rows,
//	           6 MAX_NV accumulators, MAX_NV vectors of B and one of A must fit
//	SQRT(v)    square roots
//	MUL32(a,b) products of the low 32 bits of each 64-bit lane
//
// Loads and stores need no alignment. Sums run in the order of the plain Go versions
// where a comment there says so; nothing here depends on the number of threads.
#include "kernels.h"

#include <string.h>

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(f) PASTE(f, ISA)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KERNEL static TARGET

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint64_t vu __attribute__((vector_size(VL * 4)));

INLINE vf load(const float *p) {
	vf v;
	memcpy(&v, p, sizeof v);
	return v;
}
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf splat(float x) { return x - (vf){}; }
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }

// A register tile of mr x nv vectors: each element of B that is loaded serves mr rows,
// each element of A nv * VL columns.
INLINE void tile(const int mr, const int nv, const struct matmul_shape *s, const int32_t *a_offset,
                 const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c) {
	vf acc[8][MAX_NV];
	const float *row[8];
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++) {
		row[i] = a + a_offset[i];
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++)
			acc[i][j] = s->init == INIT_SUM    ? load(c + c_offset[i] + VL * j)
			            : s->init == INIT_BIAS ? load(bias + VL * j)
			                                   : (vf){};
	}
	const int64_t step_a = s->stride_a[2], step_b = s->stride_b[2];
	for (int64_t x = 0; x < s->count[0]; x++)
		for (int64_t y = 0; y < s->count[1]; y++) {
			int64_t at = x * s->stride_a[0] + y * s->stride_a[1];
			const float *from = b + x * s->stride_b[0] + y * s->stride_b[1];
			for (int64_t k = s->count[2]; k > 0; k--) {
				vf bv[MAX_NV];
#pragma GCC unroll 4
				for (int j = 0; j < nv; j++)
					bv[j] = load(from + VL * j);
#pragma GCC unroll 16
				for (int i = 0; i < mr; i++) {
					vf av = splat(row[i][at]);
#pragma GCC unroll 4
					for (int j = 0; j < nv; j++)
						acc[i][j] += av * bv[j];
				}
				at += step_a;
				from += step_b;
			}
		}
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++)
			store(c + c_offset[i] + VL * j, acc[i][j]);
}

#define TILE_ARGS const struct matmul_shape *s, const int32_t *ao, const int32_t *co, const float *a, \
	const float *b, const float *bias, float *c
#define TILE(mr, nv) \
	KERNEL __attribute__((noinline)) void NAME(tile_##mr##_##nv)(TILE_ARGS) { tile(mr, nv, s, ao, co, a, b, bias, c); }
#define TILES_6(nv) TILE(1, nv) TILE(2, nv) TILE(3, nv) TILE(4, nv) TILE(5, nv) TILE(6, nv)
#define TILES_8(nv) TILES_6(nv) TILE(7, nv) TILE(8, nv)
#define TABLE_6(nv) 0, NAME(tile_1_##nv), NAME(tile_2_##nv), NAME(tile_3_##nv), NAME(tile_4_##nv), \
	NAME(tile_5_##nv), NAME(tile_6_##nv)
#define TABLE_8(nv) TABLE_6(nv), NAME(tile_7_##nv), NAME(tile_8_##nv)

TILES_8(1)
#if MAX_NV == 2
TILES_6(2)
static void (*const NAME(tiles)[][9])(TILE_ARGS) = { { 0 }, { TABLE_8(1) }, { TABLE_6(2) } };
#else
TILES_8(2)
TILES_8(3)
TILES_6(4)
static void (*const NAME(tiles)[][9])(TILE_ARGS) = { { 0 }, { TABLE_8(1) }, { TABLE_8(2) }, { TABLE_8(3) }, { TABLE_6(4) } };
#endif

KERNEL void NAME(matmul)(const struct matmul_shape *s, const int32_t *a_offset, const int32_t *c_offset,
                         const float *a, const float *b, const float *bias, float *c) {
	// Columns outside, rows inside: the columns of B in use stay in the nearest cache.
	for (int64_t n = 0; n < s->n;) {
		int64_t nv = (s->n - n) / VL;
		if (nv > MAX_NV) nv = MAX_NV;
		int64_t max = nv == MAX_NV ? 6 : 8, tiles = (s->m + max - 1) / max;
		for (int64_t t = 0; t < tiles; t++) {
			// As even tiles as possible: the last one would otherwise be thin and slow.
			int64_t first = t * s->m / tiles, rows = (t + 1) * s->m / tiles - first;
			NAME(tiles)[nv][rows](s, a_offset + first, c_offset + first, a, b + n, bias ? bias + n : 0, c + n);
		}
		n += nv * VL;
	}
}

// tanh as an odd rational function, x P(x²)/Q(x²) on |x| <= 9.01, beyond which it rounds
// to ±1 in float32. The coefficients minimise the largest relative error, 9.4e-10
// (scripts/fit-tanh); rounding on the way adds at most 6 ulp (TestTanh). NaN stays NaN.
INLINE vf tanh_vector(vf x) {
	const vf top = splat(9.01f), one = splat(1);
	vf t = choose(x > top, top, choose(x < -top, -top, x));
	vf u = t * t;
	vf p = 3.16034718768e-5f + u * 5.0812782773e-8f;
	p = 0.00400917210791f + u * p;
	p = 0.137858845046f + u * p;
	p = 0.999999999087f + u * p;
	vf q = 1.61860185112e-6f + u * 7.38460456983e-10f;
	q = 0.000420860616507f + u * q;
	q = 0.0277399100894f + u * q;
	q = 0.471192169295f + u * q;
	q = 1 + u * q;
	vf y = t * p / q;
	return choose(y > one, one, choose(y < -one, -one, y));
}

KERNEL void NAME(tanh_forward)(float *z, int64_t n) {
	for (int64_t i = 0; i < n; i += VL)
		store(z + i, tanh_vector(load(z + i)));
}

KERNEL void NAME(tanh_backward)(float *dh, const float *h, int64_t n) {
	for (int64_t i = 0; i < n; i += VL) {
		vf v = load(h + i);
		store(dh + i, load(dh + i) * (1 - v * v));
	}
}

// Philox 4x32-10 of VL/2 blocks at a time, a block to each 64-bit lane. Only the low half
// of a lane counts: MUL32 reads no more, so what xor leaves above does no harm.
KERNEL void NAME(dropout_mask)(uint8_t *keep, uint64_t seed, uint32_t purpose, uint64_t step,
                               uint32_t first_block, int64_t blocks, uint32_t threshold) {
	enum { LANES = VL / 2 };
	const vu m0 = (vu){} + 0xD2511F53u, m1 = (vu){} + 0xCD9E8D57u;
	for (int64_t i = 0; i < blocks; i += LANES) {
		vu c0, c1 = (vu){} + purpose, c2 = (vu){} + (uint32_t)step, c3 = (vu){} + (step >> 32);
		for (int l = 0; l < LANES; l++)
			c0[l] = (uint32_t)(first_block + i + l);
		uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
		for (int round = 0; round < 10; round++) {
			vu p0 = MUL32(c0, m0), p1 = MUL32(c2, m1);
			c0 = (p1 >> 32) ^ c1 ^ k0;
			c2 = (p0 >> 32) ^ c3 ^ k1;
			c1 = p1;
			c3 = p0;
			k0 += 0x9E3779B9u;
			k1 += 0xBB67AE85u;
		}
		uint16_t half[LANES * 8];
		for (int l = 0; l < LANES; l++) {
			const uint32_t word[4] = { (uint32_t)c0[l], (uint32_t)c1[l], (uint32_t)c2[l], (uint32_t)c3[l] };
			for (int w = 0; w < 4; w++) {
				half[8 * l + 2 * w] = (uint16_t)word[w];
				half[8 * l + 2 * w + 1] = (uint16_t)(word[w] >> 16);
			}
		}
		int64_t count = blocks - i < LANES ? blocks - i : LANES;
		for (int64_t e = 0; e < 8 * count; e++)
			keep[8 * i + e] = half[e] >= threshold;
	}
}

KERNEL void NAME(scale_kept)(const struct kept_shape *s, float *dst, const float *src, const uint8_t *keep, float scale) {
	for (int64_t r = 0; r < s->rows; r++)
		for (int64_t i = 0; i < s->columns; i++)
			dst[r * s->stride + i] = (float)keep[r * s->keep_stride + i] * (src[r * s->stride + i] * scale);
}

INLINE void transpose_block(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row, int64_t src_row) {
	for (int64_t c = 0; c < columns; c++)
		for (int64_t r = 0; r < rows; r++)
			dst[c * dst_row + r] = src[r * src_row + c];
}

KERNEL void NAME(transpose)(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row, int64_t src_row) {
	// In blocks of 8 by 8, whose lines all stay in the cache; their known size lets the
	// compiler unroll them.
	for (int64_t r = 0; r < rows; r += 8)
		for (int64_t c = 0; c < columns; c += 8) {
			float *to = dst + c * dst_row + r;
			const float *from = src + r * src_row + c;
			if (rows - r >= 8 && columns - c >= 8)
				transpose_block(to, from, 8, 8, dst_row, src_row);
			else
				transpose_block(to, from, rows - r < 8 ? rows - r : 8, columns - c < 8 ? columns - c : 8, dst_row, src_row);
		}
}

KERNEL void NAME(add_rows)(float *sum, const float *a, int64_t rows, int64_t columns) {
	for (int64_t c = 0; c < columns; c += VL) {
		vf v = load(sum + c);
		for (int64_t r = 0; r < rows; r++)
			v += load(a + r * columns + c);
		store(sum + c, v);
	}
}

KERNEL void NAME(channel_moments)(const float *z, int64_t rows, int64_t channels, float *mean, float *m2) {
	const vf scale = splat(1.0f / rows);
	for (int64_t c = 0; c < channels; c += VL) {
		vf sum[4] = {};
		for (int64_t r = 0; r < rows; r++)
			sum[r & 3] += load(z + r * channels + c);
		vf mu = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * scale;
		vf square[4] = {};
		for (int64_t r = 0; r < rows; r++) {
			vf d = load(z + r * channels + c) - mu;
			square[r & 3] += d * d;
		}
		store(mean + c, mu);
		store(m2 + c, (square[0] + square[1]) + (square[2] + square[3]));
	}
}

// One window of the pooling at z: the largest of its four normalised values, and which. NaN
// counts as largest, as in PyTorch: a network that has diverged must not look healthy.
struct window {
	vf best;
	vi index;
};
INLINE struct window pool_window(const float *z, int64_t row, int64_t pixel, vf mean, vf scale, vf beta) {
	const float *at[4] = { z, z + pixel, z + row, z + row + pixel };
	struct window w = { (load(at[0]) - mean) * scale + beta, (vi){} };
	for (int k = 1; k < 4; k++) {
		vf u = (load(at[k]) - mean) * scale + beta;
		vi more = (u > w.best) | (u != u);
		w.best = choose(more, u, w.best);
		w.index = (more & k) | (~more & w.index);
	}
	return w;
}

KERNEL void NAME(bn_relu_pool)(const struct pool_shape *s, const float *z, const float *mean,
                               const float *scale, const float *beta, float *y) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t i = 0; i < s->height; i += 2)
		for (int64_t j = 0; j < s->width; j += 2, y += s->channels)
			for (int64_t c = 0; c < s->channels; c += VL) {
				struct window w = pool_window(z + i * row + j * pixel + c, row, pixel,
				                              load(mean + c), load(scale + c), load(beta + c));
				store(y + c, choose(w.best <= 0, (vf){}, w.best));
			}
}

KERNEL void NAME(bn_relu_pool_sums)(const struct pool_shape *s, const float *z, const float *mean,
                                    const float *scale, const float *beta, const float *dy,
                                    float *sum_g, float *sum_gz) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t c = 0; c < s->channels; c += VL) {
		const vf mu = load(mean + c), sc = load(scale + c), be = load(beta + c);
		vf sg = {}, sgz = {};
		const float *g_at = dy + c;
		for (int64_t i = 0; i < s->height; i += 2)
			for (int64_t j = 0; j < s->width; j += 2, g_at += s->channels) {
				const float *at = z + i * row + j * pixel + c;
				struct window w = pool_window(at, row, pixel, mu, sc, be);
				vf g = choose(w.best <= 0, (vf){}, load(g_at));
				vf chosen = choose(w.index == 0, load(at),
				            choose(w.index == 1, load(at + pixel),
				            choose(w.index == 2, load(at + row), load(at + row + pixel))));
				sg += g;
				sgz += g * (chosen - mu);
			}
		store(sum_g + c, sg);
		store(sum_gz + c, sgz);
	}
}

KERNEL void NAME(bn_relu_pool_backward)(const struct pool_shape *s, const float *z, const float *mean,
                                        const float *scale, const float *beta, const float *dy,
                                        const float *k_z, const float *k_1, float *dz, float *sum_dz) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t c = 0; c < s->channels; c += VL) {
		const vf mu = load(mean + c), sc = load(scale + c), be = load(beta + c);
		const vf kz = load(k_z + c), k1 = load(k_1 + c);
		vf sum[4] = {};
		const float *g_at = dy + c;
		for (int64_t i = 0; i < s->height; i += 2)
			for (int64_t j = 0; j < s->width; j += 2, g_at += s->channels) {
				const float *at = z + i * row + j * pixel + c;
				float *to = dz + i * s->out_row + j * s->out_pixel + c;
				struct window w = pool_window(at, row, pixel, mu, sc, be);
				vf g = choose(w.best <= 0, (vf){}, sc * load(g_at));
				for (int k = 0; k < 4; k++) {
					int64_t r = k >> 1, q = k & 1;
					vf d = choose(w.index == k, g, (vf){}) +
					       (kz * (load(at + r * row + q * pixel) - mu) + k1);
					store(to + r * s->out_row + q * s->out_pixel, d);
					sum[k] += d;
				}
			}
		store(sum_dz + c, (sum[0] + sum[1]) + (sum[2] + sum[3]));
	}
}

KERNEL void NAME(adam)(const struct adam_step *s, float *p, const float *g, float *m, float *v, int64_t n) {
	for (int64_t i = 0; i < n; i += VL) {
		vf gi = load(g + i), mi = load(m + i);
		mi += s->one_minus_beta1 * (gi - mi);
		vf square = s->beta2 * load(v + i) + s->one_minus_beta2 * (gi * gi);
		store(m + i, mi);
		store(v + i, square);
		store(p + i, load(p + i) - s->step_size * (mi / (SQRT(square) / s->root_correction2 + s->eps)));
	}
}

const struct kernels NAME(crnn_kernels) = {
	.name = NAME_STRING,
	.matmul = NAME(matmul),
	.tanh_forward = NAME(tanh_forward),
	.tanh_backward = NAME(tanh_backward),
	.dropout_mask = NAME(dropout_mask),
	.scale_kept = NAME(scale_kept),
	.transpose = NAME(transpose),
	.add_rows = NAME(add_rows),
	.channel_moments = NAME(channel_moments),
	.bn_relu_pool = NAME(bn_relu_pool),
	.bn_relu_pool_sums = NAME(bn_relu_pool_sums),
	.bn_relu_pool_backward = NAME(bn_relu_pool_backward),
	.adam = NAME(adam),
};
