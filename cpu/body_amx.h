// Products of bfloat16 in tiles of Intel's AMX, and what they need around them: part of kernels_body.h.
// The including file names the unit:
//
//	TILE_ROWS(n)         configures it: C and A have n rows, of 16 float32 and of 32 bfloat16; B has 16, of 16 pairs
//	TILE_RELEASE()       gives it back; the configuration is a thread's own, and Go changes threads between calls
//	TILE_ZERO(t)         sets tile t to 0
//	TILE_LOAD(t,p,n)     loads rows from p, n bytes apart
//	TILE_STORE(t,p,n)    stores them
//	TILE_DOT(c,a,b)      c += a b: for each element the even and the odd terms have a sum each, which are added in the end
//
//	RECIPROCAL(v)        1/v, exact to 14 bits at least
//
// Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B.
#ifdef TILE_DOT

INLINE uint32_t bits_bf16(float x) { // rounds to nearest even
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return x != x ? u >> 16 | 1 << 6 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// What a product in tiles takes for up to 2 blocks of rows and 4 tiles of columns, of which it has up to 4
// tiles of C: number j of blocks + i is that of block i, columns j.
struct NAME(tiles) {
	const uint16_t *a[2];
	int64_t row_a;              // bytes, as are all below
	const uint32_t *b;
	int64_t row_b, term_b, column_b;
	float *c[2];
	int64_t row_c;
};

#define TILES_OF(DO, mr, nc)             \
	do {                             \
		DO(0, 0, 0);             \
		if (mr == 2) {           \
			DO(1, 1, 0);     \
			if (nc > 1) {    \
				DO(2, 0, 1); \
				DO(3, 1, 1); \
			}                \
		} else {                 \
			if (nc > 1)      \
				DO(1, 0, 1); \
			if (nc > 2)      \
				DO(2, 0, 2); \
			if (nc > 3)      \
				DO(3, 0, 3); \
		}                        \
	} while (0)

INLINE void tiles_begin(const int mr, const int nc, int64_t add, const struct NAME(tiles) *s, const float *bias) {
#define DO(t, i, j) TILE_ZERO(t)
	if (add == ADD_NOTHING)
		TILES_OF(DO, mr, nc);
#undef DO
#define DO(t, i, j) TILE_LOAD(t, bias + 16 * j, 0) // the same row again and again
	if (add == ADD_BIAS)
		TILES_OF(DO, mr, nc);
#undef DO
#define DO(t, i, j) TILE_LOAD(t, s->c[i] + 16 * j, s->row_c)
	if (add == ADD_C)
		TILES_OF(DO, mr, nc);
#undef DO
}

INLINE void tiles_add(const int mr, const int nc, int64_t terms, const int32_t *term_a, const struct NAME(tiles) *s) {
	const char *b = (const char *)s->b;
	for (int64_t t = 0; t < terms; t++, b += s->term_b) {
		TILE_LOAD(4, s->a[0] + term_a[t], s->row_a);
		if (mr == 2)
			TILE_LOAD(5, s->a[1] + term_a[t], s->row_a);
		TILE_LOAD(6, b, s->row_b);
		TILE_DOT(0, 4, 6);
		if (mr == 2)
			TILE_DOT(1, 5, 6);
		if (nc > 1) {
			TILE_LOAD(7, b + s->column_b, s->row_b);
			if (mr == 2) {
				TILE_DOT(2, 4, 7);
				TILE_DOT(3, 5, 7);
			} else
				TILE_DOT(1, 4, 7);
		}
		if (nc > 2) {
			TILE_LOAD(6, b + 2 * s->column_b, s->row_b);
			TILE_DOT(2, 4, 6);
		}
		if (nc > 3) {
			TILE_LOAD(7, b + 3 * s->column_b, s->row_b);
			TILE_DOT(3, 4, 7);
		}
	}
}

INLINE void tiles_end(const int mr, const int nc, const struct NAME(tiles) *s) {
#define DO(t, i, j) TILE_STORE(t, s->c[i] + 16 * j, s->row_c)
	TILES_OF(DO, mr, nc);
#undef DO
}
#undef TILES_OF

INLINE void tiles_product(const int mr, const int nc, const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
                          const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
	const struct NAME(tiles) tiles = {
		{ a + a_offset[0], a + a_offset[mr - 1] }, 2 * s->row_a, b, 4 * s->row_b, 4 * s->term_b, 4 * s->column_b,
		{ c + c_offset[0], c + c_offset[mr - 1] }, 4 * s->row_c,
	};
	tiles_begin(mr, nc, s->add, &tiles, bias);
	tiles_add(mr, nc, s->terms, term_a, &tiles);
	tiles_end(mr, nc, &tiles);
}

INLINE void tiles_all(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset, const int32_t *term_a,
                      const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
	// Columns outside, rows inside: the columns of B in use stay in the nearest caches.
	for (int64_t j = 0; j < s->columns;) {
		const uint32_t *from = b + j * s->column_b;
		const float *from_bias = bias ? bias + 16 * j : 0;
		const int64_t nc = s->columns - j;
		int64_t i = 0;
		for (; i + 1 < s->blocks; i += 2)
			if (nc > 1)
				tiles_product(2, 2, s, a_offset + i, c_offset + i, term_a, a, from, from_bias, c + 16 * j);
			else
				tiles_product(2, 1, s, a_offset + i, c_offset + i, term_a, a, from, from_bias, c + 16 * j);
		if (i < s->blocks) {
			if (nc > 1)
				tiles_product(1, 2, s, a_offset + i, c_offset + i, term_a, a, from, from_bias, c + 16 * j);
			else
				tiles_product(1, 1, s, a_offset + i, c_offset + i, term_a, a, from, from_bias, c + 16 * j);
		}
		j += nc > 1 ? 2 : 1;
	}
}

KERNEL void NAME(tile_product)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset, const int32_t *term_a,
                               const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
	TILE_ROWS(s->rows);
	tiles_all(s, a_offset, c_offset, term_a, a, b, bias, c);
	TILE_RELEASE();
}

KERNEL void NAME(tile_product_pool)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
                                    const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *z,
                                    const struct pool_shape *pool, const float *mean, const float *scale, const float *beta,
                                    float *y) {
	struct tile_shape two = *s; // rows of pixels
	struct pool_shape windows = *pool;
	two.blocks = 2 * s->blocks / pool->height;
	windows.height = 2;
	TILE_ROWS(s->rows);
	for (int64_t i = 0; i < s->blocks; i += two.blocks, y += pool->width / 2 * pool->channels) {
		tiles_all(&two, a_offset + i, c_offset, term_a, a, b, bias, z);
		NAME(bn_relu_pool)(&windows, z, mean, scale, beta, y, 0, 0);
	}
	TILE_RELEASE();
}

// The pairs of a tile: 16 x 16, of which some exist.
static inline __attribute__((always_inline)) BF16_TARGET void NAME(tile_words)(const struct tile_pack *s, int64_t row, int64_t column, const float *src, const uint8_t *keep,
                                         uint32_t *word) {
	for (int64_t r = 0; r < 16; r++, word += 16) {
		if (s->pair_columns) {
			const int64_t from = (row + r) * s->src_row + column;
			for (int64_t i = 0; i < 16; i++) {
				const int64_t c = column + 2 * i;
				word[i] = row + r >= s->rows || c >= s->columns ? 0
				          : bits_bf16(src[from + 2 * i]) | (c + 1 < s->columns ? bits_bf16(src[from + 2 * i + 1]) << 16 : 0);
			}
			continue;
		}
		for (int64_t i = 0; i < 16; i += VL) {
			vi half[2];
			for (int k = 0; k < 2; k++) {
				const int64_t at = row + 2 * r + k - s->zero_rows, from = at * s->src_row + column + i;
				if (at < 0 || at >= s->rows - s->zero_rows || column + i >= s->columns) {
					half[k] = (vi){};
					continue;
				}
				float some[VL] = {};
				vf v;
				if (column + i + VL <= s->columns)
					v = load(src + from);
				else {
					for (int64_t l = 0; column + i + l < s->columns; l++)
						some[l] = src[from + l];
					v = load(some);
				}
				if (keep)
					v = choose(load_bytes(keep + from) == 0, (vf){}, v * s->scale);
				half[k] = BITS_BF16(v);
			}
			store((float *)word + i, (vf)(half[0] | half[1] << 16));
		}
	}
}

static BF16_TARGET void NAME(tile_pack)(const struct tile_pack *s, uint32_t *dst, const float *src, const uint8_t *keep) {
	const int64_t high = s->pair_columns ? 16 : 32, wide = s->pair_columns ? 32 : 16; // of a tile, in src
	for (int64_t r = 0; r < s->rows; r += high)
		for (int64_t c = 0; c < s->columns; c += wide) {
			uint32_t *to = dst + (s->pair_columns ? r / high * s->outer + c / wide * 256 : c / wide * s->outer + r / high * 256);
			if (!s->transposed) {
				NAME(tile_words)(s, r, c, src, keep, to);
				continue;
			}
			uint32_t word[256];
			NAME(tile_words)(s, r, c, src, keep, word);
			for (int i = 0; i < 16; i += 8)
				for (int j = 0; j < 16; j += 8)
					transpose_8x8((float *)to + 16 * j + i, (float *)word + 16 * i + j, 16, 16);
		}
}

// Eight pixels of two channels, as pairs; without a channel, 0.
INLINE v8i image_words(const float *even, const float *odd) {
	v8i word[2];
	for (int k = 0; k < 2; k++) {
		v8 x = {};
		const float *from = k ? odd : even;
		if (from)
			memcpy(&x, from, sizeof x);
		const v8i u = (v8i)x, nan = x != x;
		word[k] = ((u + 0x7fff + (u >> 16 & 1)) & ~nan) | ((u | 1 << 22) & nan);
	}
	return (word[0] >> 16 & 0xffff) | (word[1] & -65536);
}

KERNEL void NAME(tile_image)(const struct tile_image *s, const float *x, uint16_t *first, uint16_t *last) {
	const int64_t pixels = s->height * s->width;
	for (int64_t c = 0; c < s->in && first; c++)
		for (int64_t i = 0; i < s->height; i++) {
			const float *from = x + c * pixels + i * s->width;
			uint16_t *to = first + c * s->plane + s->border * (s->row + 1) + i * s->row;
			for (int64_t j = 0; j < s->width; j++)
				to[j] = bits_bf16(from[j]);
		}
	for (int64_t c = 0; c < s->in && last; c += 16)
		for (int64_t i = 0; i < s->height; i++) {
			uint16_t *to = last + ((s->border + i) * s->row + s->border) * s->channels + c;
			for (int64_t j = 0; j < s->width; j += 8) {
				if (s->width < 8) { // the pixels one by one
					for (; j < s->width; j++)
						for (int64_t k = 0; k < 16; k++)
							to[j * s->channels + k] = c + k < s->in ? bits_bf16(x[(c + k) * pixels + i * s->width + j]) : 0;
					break;
				}
				if (j + 8 > s->width)
					j = s->width - 8; // some of them again
				v8i word[8], out[8];
				for (int k = 0; k < 8; k++) {
					const float *from = x + (c + 2 * k) * pixels + i * s->width + j;
					word[k] = image_words(c + 2 * k < s->in ? from : 0, c + 2 * k + 1 < s->in ? from + pixels : 0);
				}
				transpose_8x8((float *)out, (float *)word, 8, 8);
				for (int k = 0; k < 8; k++)
					memcpy(to + (j + k) * s->channels, &out[k], sizeof out[k]);
			}
		}
}

static BF16_TARGET void NAME(tile_pool_backward)(const struct pool_shape *s, const float *z, const float *mean, const float *scale,
                                     const uint8_t *index, const float *dy, const float *k_z, const float *k_1, uint16_t *last,
                                     uint32_t *pairs, float *sum_dz) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t c = 0; c < s->channels; c += VL)
		store(sum_dz + c, (vf){});
	for (int64_t i = 0; i < s->height; i += 2)
		for (int64_t j = 0; j < s->width; j += 2)
			for (int64_t c = 0; c < s->channels; c += VL) {
				const vf mu = load(mean + c), kz = load(k_z + c), k1 = load(k_1 + c);
				const float *at = z + i * row + j * pixel + c;
				const int64_t from = ((i / 2) * (s->width / 2) + j / 2) * pixel + c;
				const vi which = load_bytes(index + from);
				const vf g = load(scale + c) * load(dy + from);
				vf sum = {};
#pragma GCC unroll 2
				for (int r = 0; r < 2; r++) {
					vf d[2];
#pragma GCC unroll 2
					for (int k = 0; k < 2; k++) {
						d[k] = choose(which == 2 * r + k, g, (vf){}) + (kz * (load(at + r * row + k * pixel) - mu) + k1);
						if (last)
							NARROW_BF16(last + (i + r) * s->out_row + (j + k) * s->out_pixel + c, d[k]);
						sum += d[k];
					}
					const vi word = BITS_BF16(d[0]) | BITS_BF16(d[1]) << 16;
					store((float *)pairs + ((i + r) * s->pair_row + j) / 2 * pixel + c, (vf)word);
				}
				store(sum_dz + c, load(sum_dz + c) + sum);
			}
}

// tanh with the reciprocal in place of the division, which would take as long as all the rest.
INLINE vf tanh_fast(vf x) {
	vf top, bottom;
	tanh_fraction(x, &top, &bottom);
	vf r = RECIPROCAL(bottom);
	r += r * (1 - bottom * r); // exact to 14 bits before, to all after
	return MIN(splat(1), MAX(splat(-1), top * r));
}

// The products of a step's rows with weights, to tiles of C.
INLINE void tiles_row(int64_t columns, const float *bias, int64_t terms1, const uint16_t *a1, const uint32_t *w1, int64_t terms2,
                      const uint16_t *a2, const uint32_t *w2, const int32_t *term_a, float *c) {
#define ROW(nc)                                                                                                                   \
	do {                                                                                                                      \
		struct NAME(tiles) s = { { a1 }, 64 * terms1, w1 + j * 256 * terms1, 64, 1024, 1024 * terms1, { c + 16 * j }, 64 * columns }; \
		tiles_begin(1, nc, bias ? ADD_BIAS : ADD_NOTHING, &s, bias ? bias + 16 * j : 0);                                             \
		tiles_add(1, nc, terms1, term_a, &s);                                                                             \
		s.a[0] = a2, s.row_a = 64 * terms2, s.b = w2 + j * 256 * terms2, s.column_b = 1024 * terms2;                      \
		tiles_add(1, nc, terms2, term_a, &s);                                                                             \
		tiles_end(1, nc, &s);                                                                                             \
	} while (0)
	for (int64_t j = 0; j < columns; j += 4)
		if (columns - j >= 4)
			ROW(4);
		else
			ROW(2); // hidden units are padded to 32
#undef ROW
}

static BF16_TARGET void NAME(tile_rnn_forward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih, const uint32_t *w_hh,
                                   const float *bias, const uint16_t *in, float *h, uint16_t *out, uint16_t *state,
                                   const struct rnn_dropout *dropout, uint8_t *keep) {
	const int64_t size = s->samples * s->hidden;
	TILE_ROWS(s->samples);
	for (int64_t t = 0; t < s->steps; t++, h += s->h_step, out += size, in += s->samples * s->in) {
		tiles_row(s->hidden / 16, bias, s->in / 32, in, w_ih, t > 0 ? s->hidden / 32 : 0, keep ? state : out - (t > 0 ? size : 0), w_hh, term_a, h);
		if (!keep) {
			for (int64_t i = 0; i < size; i += VL) {
				const vf v = tanh_fast(load(h + i));
				store(h + i, v);
				NARROW_BF16(out + i, v);
			}
			continue;
		}
		for (int64_t b = 0; b < s->samples; b++, keep += s->hidden) {
			dropout_row(dropout, (uint32_t)(((dropout->first + b) * s->steps + t) * dropout->blocks), keep);
			for (int64_t i = 0; i < s->hidden; i += VL) {
				const int64_t at = b * s->hidden + i;
				const vf v = tanh_fast(load(h + at));
				store(h + at, v);
				NARROW_BF16(state + at, v);
				NARROW_BF16(out + at, choose(load_bytes(keep + i) == 0, (vf){}, v * dropout->scale));
			}
		}
	}
	TILE_RELEASE();
}

static BF16_TARGET void NAME(tile_rnn_backward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_hh, const float *h,
                                    const uint8_t *keep, float scale, float *dz, uint16_t *dz16, float *dbias, float *step) {
	const int64_t size = s->samples * s->hidden;
	TILE_ROWS(s->samples);
	for (int64_t t = s->steps - 1; t >= 0; t--) {
		const int last = t == s->steps - 1;
		float *now = dz + t * size;
		if (!last) {
			fetch(now, 4 * size);
			fetch(h + t * size, 4 * size);
			if (keep)
				fetch(keep + t * size, size);
			tiles_row(s->hidden / 16, 0, s->hidden / 32, dz16 + (t + 1) * size, w_hh, 0, 0, 0, term_a, step);
		}
		for (int64_t b = 0; b < size; b += s->hidden)
			for (int64_t j = 0; j < s->hidden; j += VL) {
				const int64_t i = b + j;
				vf d = last || !s->last_only ? load(now + i) : (vf){};
				if (keep)
					d = choose(load_bytes(keep + t * size + i) == 0, (vf){}, d * scale);
				if (!last)
					d += load(step + i);
				vf v = load(h + t * size + i);
				d *= 1 - v * v;
				store(now + i, d);
				NARROW_BF16(dz16 + t * size + i, d);
				store(dbias + j, load(dbias + j) + d);
			}
	}
	TILE_RELEASE();
}

#endif
