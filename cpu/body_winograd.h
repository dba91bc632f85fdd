// Winograd's convolutions F(2x2, 5x5) and F(4x2, 5x5): part of kernels_body.h.
//
// With the matrices of winograd_matrix.go, a tile of 2x2 outputs is
//
//	Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//
// for the 6x6 inputs d and the 5x5 filter g: 36 products in place of 100. A tile of 4x2 outputs, whose
// columns are transformed by matrices of F(4, 5), takes 48 in place of 200. The functions below apply
// one matrix to a vector of channels and compute the common parts of its rows once.

INLINE void winograd_bt(const vf d[6], vf t[6]) { // t = Bᵀ d
	const vf a = d[4] - d[2], b = d[3] - d[1];
	t[0] = d[0] - d[2] + a - 1.5f * b;
	t[1] = a - 1.5f * d[2] - d[1] - 0.5f * d[3];
	t[2] = d[4] + 0.5f * d[2] + d[1] - 2.5f * d[3];
	t[3] = a + 0.5f * b;
	t[4] = a - 2 * b;
	t[5] = d[5] - d[3] - b - 1.5f * a;
}

INLINE void winograd_b(const vf t[6], vf d[6]) { // d = B t
	d[0] = t[0];
	d[1] = 1.5f * t[0] - t[1] + t[2] - 0.5f * t[3] + 2 * t[4] + t[5];
	d[2] = -2 * t[0] - 2.5f * t[1] + 0.5f * t[2] - t[3] - t[4] + 1.5f * t[5];
	d[3] = -1.5f * t[0] - 0.5f * t[1] - 2.5f * t[2] + 0.5f * t[3] - 2 * t[4] - 2 * t[5];
	d[4] = t[0] + t[1] + t[2] + t[3] + t[4] - 1.5f * t[5];
	d[5] = t[5];
}

INLINE void winograd_at(const vf m[6], vf y[2]) { // y = Aᵀ m
	const vf difference = m[1] - m[2];
	y[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);
	y[1] = difference + 2 * m[3] - 0.5f * m[4] + m[5];
}

INLINE void winograd_a(const vf y[2], vf m[6]) { // m = A y
	m[0] = y[0];
	m[1] = y[0] + y[1];
	m[2] = y[0] - y[1];
	m[3] = y[0] + 2 * y[1];
	m[4] = y[0] - 0.5f * y[1];
	m[5] = y[1];
}

INLINE void winograd_g(const vf w[5], vf u[6]) { // u = G w
	const vf even = w[0] + w[2] + w[4], odd = w[1] + w[3];
	u[0] = w[0];
	u[1] = (even + odd) * (-1.0f / 3);
	u[2] = (even - odd) * (1.0f / 3);
	u[3] = (w[0] + 2 * w[1] + 4 * w[2] + 8 * w[3] + 16 * w[4]) * (1.0f / 15);
	u[4] = (16 * w[0] - 8 * w[1] + 4 * w[2] - 2 * w[3] + w[4]) * (-1.0f / 15);
	u[5] = w[4];
}

INLINE void winograd_gt(const vf u[6], vf w[5]) { // w = Gᵀ u
	const vf one = u[1] * (-1.0f / 3), minus = u[2] * (1.0f / 3), two = u[3] * (1.0f / 15), half = u[4] * (-1.0f / 15);
	const vf even = one + minus, odd = one - minus;
	w[0] = u[0] + even + two + 16 * half;
	w[1] = odd + 2 * two - 8 * half;
	w[2] = even + 4 * two + 4 * half;
	w[3] = odd + 8 * two - 2 * half;
	w[4] = u[5] + even + 16 * two + half;
}

// The same for F(4, 5). Its points come in pairs ±p, which share an even and an odd part.

INLINE void winograd4_bt(const vf d[8], vf t[8]) { // t = Bᵀ d
	const vf even1 = d[2] + d[6] - 4.25f * d[4], odd1 = d[1] + d[5] - 4.25f * d[3];
	const vf even2 = d[6] + 0.25f * d[2] - 1.25f * d[4], odd2 = 0.5f * d[1] - 2.5f * d[3] + 2 * d[5];
	const vf even3 = d[6] + 4 * d[2] - 5 * d[4], odd3 = 2 * d[1] - 2.5f * d[3] + 0.5f * d[5];
	t[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
	t[1] = even1 + odd1;
	t[2] = even1 - odd1;
	t[3] = even2 + odd2;
	t[4] = even2 - odd2;
	t[5] = even3 + odd3;
	t[6] = even3 - odd3;
	t[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}

INLINE void winograd4_at(const vf m[8], vf y[4]) { // y = Aᵀ m
	const vf even1 = m[1] + m[2], odd1 = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
	const vf even3 = m[5] + m[6], odd3 = m[5] - m[6];
	y[0] = m[0] + even1 + (even2 + even3);
	y[1] = odd1 + 2 * odd2 + 0.5f * odd3;
	y[2] = even1 + 4 * even2 + 0.25f * even3;
	y[3] = odd1 + 8 * odd2 + 0.125f * odd3 + m[7];
}

INLINE void winograd4_g(const vf w[5], vf u[8]) { // u = G w
	const vf even1 = w[0] + w[2] + w[4], odd1 = w[1] + w[3];
	const vf even2 = w[0] + 4 * w[2] + 16 * w[4], odd2 = 2 * w[1] + 8 * w[3];
	const vf even3 = 16 * w[0] + 4 * w[2] + w[4], odd3 = 8 * w[1] + 2 * w[3];
	u[0] = w[0];
	u[1] = (even1 + odd1) * (-2.0f / 9);
	u[2] = (even1 - odd1) * (-2.0f / 9);
	u[3] = (even2 + odd2) * (1.0f / 90);
	u[4] = (even2 - odd2) * (1.0f / 90);
	u[5] = (even3 + odd3) * (2.0f / 45);
	u[6] = (even3 - odd3) * (2.0f / 45);
	u[7] = w[4];
}

// Tiles of a row that are transformed together: a column that two of them share is transformed once,
// and their columns stay in the nearest cache.
enum { WINOGRAD_STRIP = 8, WINOGRAD_COLUMNS = 2 * WINOGRAD_STRIP + 4 };

#define WINOGRAD_EACH_STRIP(s, row, first, count, c)                                                           \
	for (int64_t row = 0; row < (s)->rows; row++)                                                          \
		for (int64_t first = 0, count;                                                                 \
		     count = (s)->tiles - first, count = count < WINOGRAD_STRIP ? count : WINOGRAD_STRIP, count > 0; \
		     first += WINOGRAD_STRIP)                                                                  \
			for (int64_t c = 0; c < (s)->channels; c += VL)

INLINE void winograd_input_of(const int tile_height, const struct winograd_shape *s, const float *x, float *v) {
	WINOGRAD_EACH_STRIP (s, row, first, count, c) {
		vf columns[8][WINOGRAD_COLUMNS];
		for (int64_t j = 0; j < 2 * count + 4; j++) {
			vf d[8], t[8];
#pragma GCC unroll 8
			for (int k = 0; k < tile_height + 4; k++)
				d[k] = load(x + (tile_height * row + k) * s->image_row + (2 * first + j) * s->channels + c);
			tile_height == 4 ? winograd4_bt(d, t) : winograd_bt(d, t);
#pragma GCC unroll 8
			for (int k = 0; k < tile_height + 4; k++)
				columns[k][j] = t[k];
		}
		for (int64_t i = 0; i < count; i++) {
			float *to = v + (row * s->tiles + first + i) * s->channels + c;
			for (int k = 0; k < tile_height + 4; k++) {
				vf t[6];
				winograd_bt(&columns[k][2 * i], t);
#pragma GCC unroll 6
				for (int l = 0; l < 6; l++)
					store(to + (6 * k + l) * s->frequency, t[l]);
			}
		}
	}
}

KERNEL void NAME(winograd_input)(const struct winograd_shape *s, const float *x, float *v) {
	s->tile_height == 4 ? winograd_input_of(4, s, x, v) : winograd_input_of(2, s, x, v);
}

KERNEL void NAME(winograd_output)(const struct winograd_shape *s, const float *m, const float *bias, float *z) {
	for (int64_t row = 0; row < s->rows; row++)
		for (int64_t i = 0; i < s->tiles; i++)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const float *from = m + (row * s->tiles + i) * s->channels + c;
				float *to = z + 2 * row * s->image_row + 2 * i * s->channels + c;
				const vf b = load(bias + c);
				vf half[2][6];
#pragma GCC unroll 6
				for (int l = 0; l < 6; l++) {
					vf t[6], y[2];
#pragma GCC unroll 6
					for (int k = 0; k < 6; k++)
						t[k] = load(from + (6 * k + l) * s->frequency);
					winograd_at(t, y);
					half[0][l] = y[0];
					half[1][l] = y[1];
				}
#pragma GCC unroll 2
				for (int k = 0; k < 2; k++) {
					vf y[2];
					winograd_at(half[k], y);
					store(to + k * s->image_row, y[0] + b);
					store(to + k * s->image_row + s->channels, y[1] + b);
				}
			}
}

INLINE void winograd_output_pool_of(const int tile_height, const struct winograd_shape *s, const float *m,
                                    const float *bias, const float *mean, const float *scale, const float *beta,
                                    float *y) {
	for (int64_t row = 0; row < s->rows; row++)
		for (int64_t i = 0; i < s->tiles; i++)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const float *from = m + (row * s->tiles + i) * s->channels + c;
				const vf b = load(bias + c), mu = load(mean + c), sc = load(scale + c), be = load(beta + c);
				vf half[4][6];
#pragma GCC unroll 6
				for (int l = 0; l < 6; l++) {
					vf t[8], z[4];
#pragma GCC unroll 8
					for (int k = 0; k < tile_height + 4; k++)
						t[k] = load(from + (6 * k + l) * s->frequency);
					tile_height == 4 ? winograd4_at(t, z) : winograd_at(t, z);
#pragma GCC unroll 4
					for (int k = 0; k < tile_height; k++)
						half[k][l] = z[k];
				}
#pragma GCC unroll 2
				for (int k = 0; k < tile_height; k += 2) {
					const int64_t to = tile_height / 2 * row + k / 2;
					if (to >= s->pooled_rows)
						break; // the last tile reaches below the image
					vf z[4];
					winograd_at(half[k], z);
					winograd_at(half[k + 1], z + 2);
					vf best = (z[0] + b - mu) * sc + be;
#pragma GCC unroll 3
					for (int l = 1; l < 4; l++) {
						const vf u = (z[l] + b - mu) * sc + be;
						best = choose(larger(u, best), u, best);
					}
					store(y + (to * s->tiles + i) * s->channels + c, choose(best <= 0, (vf){}, best));
				}
			}
}

KERNEL void NAME(winograd_output_pool)(const struct winograd_shape *s, const float *m, const float *bias,
                                       const float *mean, const float *scale, const float *beta, float *y) {
	s->tile_height == 4 ? winograd_output_pool_of(4, s, m, bias, mean, scale, beta, y)
	                    : winograd_output_pool_of(2, s, m, bias, mean, scale, beta, y);
}

KERNEL void NAME(winograd_output_gradient)(const struct winograd_shape *s, const float *dz, float *q) {
	for (int64_t row = 0; row < s->rows; row++)
		for (int64_t i = 0; i < s->tiles; i++)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const float *from = dz + 2 * row * s->image_row + 2 * i * s->channels + c;
				float *to = q + (row * s->tiles + i) * s->channels + c;
				vf half[2][6];
#pragma GCC unroll 2
				for (int l = 0; l < 2; l++) {
					const vf y[2] = { load(from + l * s->channels), load(from + s->image_row + l * s->channels) };
					winograd_a(y, half[l]);
				}
#pragma GCC unroll 6
				for (int k = 0; k < 6; k++) {
					const vf y[2] = { half[0][k], half[1][k] };
					vf m[6];
					winograd_a(y, m);
#pragma GCC unroll 6
					for (int l = 0; l < 6; l++)
						store(to + (6 * k + l) * s->frequency, m[l]);
				}
			}
}

KERNEL void NAME(winograd_input_gradient)(const struct winograd_shape *s, const float *p, float *dx) {
	WINOGRAD_EACH_STRIP (s, row, first, count, c) {
		vf columns[6][WINOGRAD_COLUMNS];
		for (int k = 0; k < 6; k++)
			for (int64_t j = 0; j < 2 * count + 4; j++)
				columns[k][j] = (vf){};
		for (int64_t i = 0; i < count; i++) {
			const float *from = p + (row * s->tiles + first + i) * s->channels + c;
			for (int k = 0; k < 6; k++) {
				vf t[6], d[6];
#pragma GCC unroll 6
				for (int l = 0; l < 6; l++)
					t[l] = load(from + (6 * k + l) * s->frequency);
				winograd_b(t, d);
#pragma GCC unroll 6
				for (int l = 0; l < 6; l++)
					columns[k][2 * i + l] += d[l];
			}
		}
		for (int64_t j = 0; j < 2 * count + 4; j++) {
			vf t[6], d[6];
#pragma GCC unroll 6
			for (int k = 0; k < 6; k++)
				t[k] = columns[k][j];
			winograd_b(t, d);
#pragma GCC unroll 6
			for (int k = 0; k < 6; k++) {
				float *to = dx + (2 * row + k) * s->image_row + (2 * first + j) * s->channels + c;
				store(to, load(to) + d[k]);
			}
		}
	}
}

INLINE void winograd_filter_of(const int tile_height, const float *w, int64_t channels, int64_t frequency, float *u) {
	for (int64_t c = 0; c < channels; c += VL) {
		vf half[5][8];
#pragma GCC unroll 5
		for (int l = 0; l < 5; l++) {
			vf g[5];
#pragma GCC unroll 5
			for (int k = 0; k < 5; k++)
				g[k] = load(w + (5 * k + l) * channels + c);
			tile_height == 4 ? winograd4_g(g, half[l]) : winograd_g(g, half[l]);
		}
#pragma GCC unroll 8
		for (int k = 0; k < tile_height + 4; k++) {
			const vf g[5] = { half[0][k], half[1][k], half[2][k], half[3][k], half[4][k] };
			vf t[6];
			winograd_g(g, t);
#pragma GCC unroll 6
			for (int l = 0; l < 6; l++)
				store(u + (6 * k + l) * frequency + c, t[l]);
		}
	}
}

KERNEL void NAME(winograd_filter)(int64_t tile_height, const float *w, int64_t channels, int64_t frequency, float *u) {
	tile_height == 4 ? winograd_filter_of(4, w, channels, frequency, u) : winograd_filter_of(2, w, channels, frequency, u);
}

KERNEL void NAME(winograd_filter_gradient)(const float *s, int64_t channels, int64_t frequency, int64_t groups,
                                           int64_t group, float *dw) {
	for (int64_t c = 0; c < channels; c += VL) {
		vf half[5][6];
#pragma GCC unroll 6
		for (int l = 0; l < 6; l++) {
			vf t[6], w[5];
#pragma GCC unroll 6
			for (int k = 0; k < 6; k++) {
				const float *from = s + (6 * k + l) * frequency + c;
				t[k] = load(from);
				for (int64_t g = 1; g < groups; g++)
					t[k] += load(from + g * group);
			}
			winograd_gt(t, w);
#pragma GCC unroll 5
			for (int k = 0; k < 5; k++)
				half[k][l] = w[k];
		}
#pragma GCC unroll 5
		for (int k = 0; k < 5; k++) {
			vf w[5];
			winograd_gt(half[k], w);
#pragma GCC unroll 5
			for (int l = 0; l < 5; l++)
				store(dw + (5 * k + l) * channels + c, w[l]);
		}
	}
}
