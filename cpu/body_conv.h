// The work of a convolution block besides its products: part of kernels_body.h.

// Transposes 8 x 8 elements.
INLINE void transpose_8x8(float *dst, const float *src, int64_t dst_row, int64_t src_row) {
	v8 a[8], b[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		memcpy(&a[i], src + i * src_row, sizeof a[i]);
	// Rows are merged into pairs, pairs into fours, fours into eights.
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		b[i] = SHUFFLE8(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
		b[i + 1] = SHUFFLE8(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
		for (int j = 0; j < 2; j++) {
			a[i + 2 * j] = SHUFFLE8(b[i + j], b[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
			a[i + 2 * j + 1] = SHUFFLE8(b[i + j], b[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
		}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		b[i] = SHUFFLE8(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
		b[i + 4] = SHUFFLE8(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
	}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		memcpy(dst + i * dst_row, &b[i], sizeof b[i]);
}

KERNEL void NAME(transpose)(float *dst, const float *src, int64_t rows, int64_t columns, int64_t dst_row,
                            int64_t src_row) {
	const int64_t whole_rows = rows & ~7, whole_columns = columns & ~7;
	for (int64_t r = 0; r < whole_rows; r += 8)
		for (int64_t c = 0; c < whole_columns; c += 8)
			transpose_8x8(dst + c * dst_row + r, src + r * src_row + c, dst_row, src_row);
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
			dst[c * dst_row + r] = src[r * src_row + c];
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

// Each pixel and vector of channels in no window of 2x2: a last odd row or column.
#define POOL_EACH_REST(s, i, j, c)                                                                              \
	for (int64_t i = 0; i < (s)->height; i++)                                                               \
		for (int64_t j = i < ((s)->height & ~1) ? (s)->width & ~1 : 0; j < (s)->width; j++)             \
			for (int64_t c = 0; c < (s)->channels; c += VL)

// Whether u replaces the largest value so far. NaN counts as largest, as in PyTorch: a network that
// has diverged must not look healthy.
INLINE vi larger(vf u, vf best) { return (u > best) | (u != u); }

KERNEL void NAME(bn_relu_pool)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
                               const float *beta, float *y, float *largest, uint8_t *index) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t i = 0; i + 1 < s->height; i += 2)
		for (int64_t j = 0; j + 1 < s->width; j += 2)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const float *at = z + i * row + j * pixel + c;
				const vf mu = load(mean + c), sc = load(scale + c), be = load(beta + c);
				vf chosen = load(at) - mu, best = chosen * sc + be;
				vi which = {};
#pragma GCC unroll 3
				for (int k = 1; k < 4; k++) {
					vf d = load(at + (k >> 1) * row + (k & 1) * pixel) - mu, u = d * sc + be;
					vi more = larger(u, best);
					best = choose(more, u, best);
					chosen = choose(more, d, chosen);
					which = (more & k) | (~more & which);
				}
				vi off = best <= 0;
				const int64_t to = ((i / 2) * (s->width / 2) + j / 2) * pixel + c;
				store(y + to, choose(off, (vf){}, best));
				if (index) {
					store(largest + to, chosen);
					store_bytes(index + to, (off & 4) | (~off & which));
				}
			}
}

KERNEL void NAME(bn_relu_pool_sums)(int64_t rows, int64_t channels, const float *largest, const uint8_t *index,
                                    const float *dy, float *sum_g, float *sum_gz) {
	for (int64_t c = 0; c < channels; c += VL) {
		vf sg[4] = {}, sgz[4] = {};
		for (int64_t r = 0; r < rows; r++) {
			const int64_t at = r * channels + c;
			vf g = choose(load_bytes(index + at) == 4, (vf){}, load(dy + at));
			sg[r & 3] += g;
			sgz[r & 3] += g * load(largest + at);
		}
		store(sum_g + c, (sg[0] + sg[1]) + (sg[2] + sg[3]));
		store(sum_gz + c, (sgz[0] + sgz[1]) + (sgz[2] + sgz[3]));
	}
}

KERNEL void NAME(bn_relu_pool_backward)(const struct pool_shape *s, const float *z, const float *mean,
                                        const float *scale, const uint8_t *index, const float *dy, const float *k_z,
                                        const float *k_1, float *dz, float *sum_dz) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t c = 0; c < s->channels; c += VL)
		store(sum_dz + c, (vf){});
	for (int64_t i = 0; i + 1 < s->height; i += 2)
		for (int64_t j = 0; j + 1 < s->width; j += 2)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const vf mu = load(mean + c), kz = load(k_z + c), k1 = load(k_1 + c);
				const float *at = z + i * row + j * pixel + c;
				const int64_t from = ((i / 2) * (s->width / 2) + j / 2) * pixel + c;
				float *to = dz + i * s->out_row + j * pixel + c;
				const vi which = load_bytes(index + from);
				const vf g = load(scale + c) * load(dy + from);
				vf d[4];
#pragma GCC unroll 4
				for (int k = 0; k < 4; k++) {
					d[k] = choose(which == k, g, (vf){}) + (kz * (load(at + (k >> 1) * row + (k & 1) * pixel) - mu) + k1);
					store(to + (k >> 1) * s->out_row + (k & 1) * pixel, d[k]);
				}
				store(sum_dz + c, load(sum_dz + c) + ((d[0] + d[1]) + (d[2] + d[3])));
			}
	POOL_EACH_REST (s, i, j, c) {
		const vf d = load(k_z + c) * (load(z + i * row + j * pixel + c) - load(mean + c)) + load(k_1 + c);
		store(dz + i * s->out_row + j * pixel + c, d);
		store(sum_dz + c, load(sum_dz + c) + d);
	}
}
