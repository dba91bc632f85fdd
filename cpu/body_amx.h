// Products of bfloat16 in tiles of Intel's AMX, and the functions around them: part of kernels_body.h.
// The including file names the instructions:
//
//	TILE_CONFIGURE(n)    configures the tiles: C and A have n rows, of 16 float32 and of 32 bfloat16;
//	                     B has 16 rows, of 16 pairs
//	TILE_RELEASE()       releases them: the configuration is a thread's own, and Go changes threads between calls
//	TILE_ZERO(t)         sets tile t to 0
//	TILE_LOAD(t,p,n)     loads rows from p, n bytes apart
//	TILE_STORE(t,p,n)    stores them
//	TILE_DOT(c,a,b)      c += a b: each element has a sum of the even and one of the odd terms, added at the end
//
//	PAIR_BF16(a,b)       a and b as pairs of bfloat16, a in the low halves
//	LOAD_SOME(p,n)       a vector of the n < VL values at p, then zeros; there is a plain version
//	WIDEN_HALVES(p)      VL 16-bit values at p as 32-bit lanes
//	RECIPROCAL(v)        1/v, exact to 14 bits at least
//
// Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B.
#ifdef TILE_DOT

_Static_assert(TILE_ROWS == 16 && TILE_TERMS == 32 && TILE_SIZE == 256, "the tiles of AMX, as written out below");

#define BF16_KERNEL static BF16_TARGET
#define BF16_INLINE BF16_KERNEL inline __attribute__((always_inline))

INLINE uint32_t bits_bf16(float x) { // rounds to nearest even
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return x != x ? u >> 16 | 1 << 6 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// The operands of a product in tiles, for up to 2 blocks of rows and 4 tiles of columns. C has at most
// 4 tiles: tile j·blocks + i belongs to block i and columns j.
struct NAME(tiles) {
	const uint16_t *a[2];
	int64_t row_a;              // bytes, as all distances below
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

INLINE void tiles_product(const int mr, const int nc, const struct tile_shape *s, const int32_t *a_offset,
		const int32_t *c_offset, const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias,
		float *c) {
	const struct NAME(tiles) tiles = {
		{ a + a_offset[0], a + a_offset[mr - 1] }, 2 * s->row_a, b, 4 * s->row_b, 4 * s->term_b, 4 * s->column_b,
		{ c + c_offset[0], c + c_offset[mr - 1] }, 4 * s->row_c,
	};
	tiles_begin(mr, nc, s->add, &tiles, bias);
	tiles_add(mr, nc, s->terms, term_a, &tiles);
	tiles_end(mr, nc, &tiles);
}

INLINE void tiles_all(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
		const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
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

KERNEL void NAME(tile_product)(const struct tile_shape *s, const int32_t *a_offset, const int32_t *c_offset,
		const int32_t *term_a, const uint16_t *a, const uint32_t *b, const float *bias, float *c) {
	TILE_CONFIGURE(s->rows);
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
	TILE_CONFIGURE(s->rows);
	for (int64_t i = 0; i + two.blocks <= s->blocks; i += two.blocks, y += pool->width / 2 * pool->channels) {
		tiles_all(&two, a_offset + i, c_offset, term_a, a, b, bias, z);
		NAME(bn_relu_pool)(&windows, z, mean, scale, beta, y, 0, 0);
	}
	TILE_RELEASE();
}

// An element of a matrix that becomes tiles, as bits of bfloat16; 0 outside.
INLINE uint32_t pack_bits(const struct tile_pack *s, const void *src, const uint8_t *keep, int64_t row,
		int64_t column) {
	const int64_t at = (row - s->zero_rows) * s->src_row + column;
	if (row < s->zero_rows || row >= s->rows || column >= s->columns)
		return 0;
	if (s->narrow)
		return ((const uint16_t *)src)[at];
	const float v = ((const float *)src)[at];
	return keep && !keep[at] ? 0 : bits_bf16(keep ? v * s->scale : v);
}

// A vector of pairs, each of an element and the one below it; all lie inside the matrix.
BF16_INLINE vf NAME(pack_pairs)(const struct tile_pack *s, const void *src, const uint8_t *keep,
		int64_t at) {
	const int64_t below = at + s->src_row;
	if (s->narrow)
		return (vf)(WIDEN_HALVES((const uint16_t *)src + at) | WIDEN_HALVES((const uint16_t *)src + below) << 16);
	vf first = load((const float *)src + at), second = load((const float *)src + below);
	if (keep) {
		first = choose(load_bytes(keep + at) == 0, (vf){}, first * s->scale);
		second = choose(load_bytes(keep + below) == 0, (vf){}, second * s->scale);
	}
	return (vf)PAIR_BF16(first, second);
}

// The 16 x 16 pairs of the tile that begins at row and column of the matrix.
BF16_INLINE void NAME(tile_words)(const struct tile_pack *s, int64_t row, int64_t column,
		const void *src, const uint8_t *keep, uint32_t *word) {
	const int64_t down = s->pair_columns ? 1 : 2, right = s->pair_columns ? 2 : 1; // from a pair to the next
	if (row < s->zero_rows || row + 16 * down > s->rows || column + 16 * right > s->columns) {
		for (int64_t r = 0; r < 16; r++)
			for (int64_t i = 0; i < 16; i++) {
				const int64_t y = row + r * down, x = column + i * right;
				word[16 * r + i] = pack_bits(s, src, keep, y, x) | pack_bits(s, src, keep, y + down - 1, x + right - 1) << 16;
			}
		return;
	}
	for (int64_t r = 0; r < 16; r++) {
		const int64_t at = (row + r * down - s->zero_rows) * s->src_row + column;
#pragma GCC unroll 8
		for (int64_t i = 0; i < 16; i += VL)
			if (s->pair_columns) {
				NARROW_BF16((uint16_t *)(word + 16 * r + i), load((const float *)src + at + 2 * i));
				NARROW_BF16((uint16_t *)(word + 16 * r + i) + VL, load((const float *)src + at + 2 * i + VL));
			} else
				store((float *)word + 16 * r + i, NAME(pack_pairs)(s, src, keep, at + i));
	}
}

BF16_KERNEL void NAME(tile_pack)(const struct tile_pack *s, uint32_t *dst, const float *src, const uint8_t *keep) {
	const int64_t high = s->pair_columns ? 16 : 32, wide = s->pair_columns ? 32 : 16; // of a tile, in src
	for (int64_t r = 0; r < s->rows; r += high) {
		if (!s->transposed && !s->pair_columns && r >= s->zero_rows && r + high <= s->rows && s->columns % 16 == 0) {
			// All tiles of these rows at once, along the rows.
			for (int64_t i = 0; i < 16; i++) {
				uint32_t *to = dst + r / high * 256 + 16 * i;
				const int64_t at = (r + 2 * i - s->zero_rows) * s->src_row;
				for (int64_t c = 0; c < s->columns; c += 16, to += s->outer)
#pragma GCC unroll 8
					for (int64_t l = 0; l < 16; l += VL)
						store((float *)to + l, NAME(pack_pairs)(s, src, keep, at + c + l));
			}
			continue;
		}
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
}

// Eight pixels of two channels as pairs; a missing channel counts as 0.
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

#ifndef LOAD_SOME
INLINE vf load_some(const float *p, int64_t n) {
	float some[VL] = { 0 };
	for (int64_t i = 0; i < n; i++)
		some[i] = p[i];
	return load(some);
}
#define LOAD_SOME(p, n) load_some(p, n)
#endif

BF16_KERNEL void NAME(tile_image)(const struct tile_image *s, const float *x, uint16_t *first, uint16_t *last) {
	const int64_t pixels = s->height * s->width;
	for (int64_t c = 0; c < s->in && first; c++)
		for (int64_t i = 0; i < s->height; i++) {
			const float *from = x + c * pixels + i * s->width;
			uint16_t *to = first + c * s->plane + s->border * (s->row + 1) + i * s->row;
			int64_t j = 0;
			for (; j + VL <= s->width; j += VL)
				NARROW_BF16(to + j, load(from + j));
			if (j < s->width) {
				uint16_t some[VL];
				NARROW_BF16(some, LOAD_SOME(from + j, s->width - j));
				for (; j < s->width; j += 2) // width is even
					memcpy(to + j, some + j % VL, 4);
			}
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

BF16_KERNEL void NAME(tile_pool_backward)(const struct pool_shape *s, const float *z, const float *mean,
		const float *scale, const uint8_t *index, const float *dy, const float *k_z, const float *k_1,
		uint16_t *last, uint32_t *pairs, float *sum_dz) {
	const int64_t pixel = s->channels, row = s->width * pixel;
	for (int64_t c = 0; c < s->channels; c += VL)
		store(sum_dz + c, (vf){});
	for (int64_t i = 0; i + 1 < s->height; i += 2)
		for (int64_t j = 0; j + 1 < s->width; j += 2)
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
					store((float *)pairs + ((i + r) * s->pair_row + j) / 2 * pixel + c, (vf)PAIR_BF16(d[0], d[1]));
				}
				store(sum_dz + c, load(sum_dz + c) + sum);
			}
	POOL_EACH_REST (s, i, j, c) {
		const vf mu = load(mean + c), kz = load(k_z + c), k1 = load(k_1 + c);
		const float *at = z + i * row + j * pixel + c;
		const vf d = kz * (load(at) - mu) + k1;
		if (last)
			NARROW_BF16(last + i * s->out_row + j * s->out_pixel + c, d);
		if (j % 2 == 0) {
			const vf right = j + 1 < s->width ? kz * (load(at + pixel) - mu) + k1 : (vf){};
			store((float *)pairs + (i * s->pair_row + j) / 2 * pixel + c, (vf)PAIR_BF16(d, right));
		}
		store(sum_dz + c, load(sum_dz + c) + d);
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

// A layer on its way through time: the work of the vectors, which goes on while the tiles multiply.
struct NAME(tile_layer) {
	const struct tile_rnn *s;
	const int32_t *term_a;
	int64_t size, t;            // elements of a step; the current step
	// forward
	const float *sum;           // the argument of tanh
	float *h;
	uint16_t *state, *out;
	const struct rnn_dropout *dropout;
	struct NAME(masks) masks;
	uint8_t *keep;
	// backward
	const float *dy, *from_next, *state_h;
	const uint8_t *kept;
	float scale, *dbias;
	uint16_t *dz;
};

// Work interleaved with products: none, masks of dropout, tanh, or its gradient.
enum { WORK_NONE, WORK_MASKS, WORK_TANH, WORK_GRADIENT };

// A part of that work: some rows of masks, or some vectors of a step.
BF16_INLINE void NAME(tile_work)(const int kind, struct NAME(tile_layer) *l, int64_t from,
		int64_t to) {
	const struct tile_rnn *s = l->s;
	if (kind == WORK_MASKS)
		for (int64_t b = from; b < to; b++)
			dropout_row(l->dropout, &l->masks, (uint32_t)(((l->dropout->first + b) * s->steps + l->t) * l->dropout->blocks),
			            l->keep + b * s->hidden);
	if (kind == WORK_TANH) {
		const float *sum = l->sum;
		float *h = l->h;
		uint16_t *state = l->state, *out = l->out;
		const uint8_t *keep = l->keep;
		const vf scale = splat(keep ? l->dropout->scale : 1);
		for (int64_t i = from * VL; i < to * VL; i += VL) {
			const vf v = tanh_fast(load(sum + i));
			store(h + i, v);
			NARROW_BF16(state + i, v);
			if (keep)
				NARROW_BF16(out + i, choose(load_bytes(keep + i) == 0, (vf){}, v * scale));
		}
	}
	if (kind == WORK_GRADIENT) {
		const int64_t at = l->t * l->size;
		const float *dy = l->dy + at, *h = l->state_h + at, *from_next = l->from_next;
		const uint8_t *kept = l->kept ? l->kept + at : 0;
		const int reads = !s->last_only || l->t == s->steps - 1, back = l->t > 0;
		int64_t j = from * VL % s->hidden;
		for (int64_t i = from * VL; i < to * VL; i += VL) {
			if (back) { // the processor does not foresee steps back in time
				__builtin_prefetch(dy + i - l->size);
				__builtin_prefetch(h + i - l->size);
				if (kept && i % 64 == 0)
					__builtin_prefetch(kept + i - l->size);
			}
			vf d = reads ? load(dy + i) : (vf){};
			if (kept)
				d = choose(load_bytes(kept + i) == 0, (vf){}, d * l->scale);
			if (from_next)
				d += load(from_next + i);
			const vf v = load(h + i);
			d *= 1 - v * v;
			NARROW_BF16(l->dz + at + i, d);
			store(l->dbias + j, load(l->dbias + j) + d);
			j = j + VL == s->hidden ? 0 : j + VL;
		}
	}
}

// The products of a step's rows with weights, and n parts of work in between.
BF16_INLINE void NAME(tile_step)(const int kind, struct NAME(tile_layer) *l, int64_t n, int64_t add,
		const float *bias, int64_t columns, int64_t terms,
		const uint16_t *a, const uint32_t *w, float *c) {
	int64_t done = 0, slot = 0;
	const int64_t slots = (columns + 3) / 4 * terms;
#define ROW(nc)                                                                         \
	do {                                                                            \
		const struct NAME(tiles) s = {                                          \
			{ a }, 64 * terms, w + j * 256 * terms, 64, 1024, 1024 * terms, \
			{ c + 16 * j }, 64 * columns,                                   \
		};                                                                      \
		tiles_begin(1, nc, add, &s, bias ? bias + 16 * j : 0);                  \
		for (int64_t t = 0; t < terms; t++) {                                   \
			struct NAME(tiles) one = s;                                     \
			one.b += t * 256;                                               \
			tiles_add(1, nc, 1, l->term_a + t, &one);                       \
			const int64_t end = kind == WORK_NONE ? 0 : n * ++slot / slots; \
			NAME(tile_work)(kind, l, done, end);                            \
			done = end;                                                     \
		}                                                                       \
		tiles_end(1, nc, &s);                                                   \
	} while (0)
	for (int64_t j = 0; j < columns; j += 4)
		if (columns - j >= 4)
			ROW(4);
		else
			ROW(2); // columns are even: hidden units and inputs are padded to 32
#undef ROW
}

BF16_KERNEL void NAME(tile_rnn_forward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih,
		const uint32_t *w_hh, const float *bias, const uint16_t *in, float *h, uint16_t *out, uint16_t *state,
		float *step, const struct rnn_dropout *dropout, uint8_t *keep) {
	struct NAME(tile_layer) l = {
		.s = s, .term_a = term_a, .size = s->samples * s->hidden, .h = h, .out = out, .dropout = dropout, .keep = keep,
	};
	const int64_t vectors = l.size / VL, columns = s->hidden / 16, terms = s->hidden / 32;
	if (keep)
		dropout_begin(dropout, &l.masks);
	TILE_CONFIGURE(s->samples);
	NAME(tile_step)(WORK_NONE, &l, 0, ADD_BIAS, bias, columns, s->in / 32, in, w_ih, step);
	for (; l.t < s->steps; l.t++) {
		// One half of step holds the sums of this step, the other half those that begin the next.
		float *now = step + (l.t & 1) * l.size, *next = step + (~l.t & 1) * l.size;
		const int masks = keep && dropout->blocks > 0;
		if (l.t == 0) {
			if (masks)
				NAME(tile_work)(WORK_MASKS, &l, 0, s->samples);
		} else if (masks)
			NAME(tile_step)(WORK_MASKS, &l, s->samples, ADD_C, 0, columns, terms, l.state, w_hh, now);
		else
			NAME(tile_step)(WORK_NONE, &l, 0, ADD_C, 0, columns, terms, l.state, w_hh, now);
		l.sum = now;
		l.state = keep ? state : l.out;
		in += s->samples * s->in;
		if (l.t + 1 < s->steps)
			NAME(tile_step)(WORK_TANH, &l, vectors, ADD_BIAS, bias, columns, s->in / 32, in, w_ih, next);
		else
			NAME(tile_work)(WORK_TANH, &l, 0, vectors);
		l.h += s->h_step;
		l.out += l.size;
		if (keep)
			l.keep += l.size;
	}
	TILE_RELEASE();
}

BF16_KERNEL void NAME(tile_rnn_backward)(const struct tile_rnn *s, const int32_t *term_a, const uint32_t *w_ih,
		const uint32_t *w_hh, const float *h, const uint8_t *keep, float scale, const float *dy, uint16_t *dz,
		float *dx, float *dbias, float *step) {
	struct NAME(tile_layer) l = {
		.s = s, .term_a = term_a, .size = s->samples * s->hidden, .dy = dy, .state_h = h, .kept = keep, .scale = scale,
		.dbias = dbias, .dz = dz,
	};
	const int64_t vectors = l.size / VL, terms = s->hidden / 32, in = s->samples * s->in;
	TILE_CONFIGURE(s->samples);
	l.t = s->steps - 1;
	NAME(tile_work)(WORK_GRADIENT, &l, 0, vectors);
	for (l.from_next = step; --l.t >= 0;) {
		const int64_t next = l.t + 1;
		NAME(tile_step)(WORK_NONE, &l, 0, ADD_NOTHING, 0, s->hidden / 16, terms, dz + next * l.size, w_hh, step);
		NAME(tile_step)(WORK_GRADIENT, &l, vectors, ADD_NOTHING, 0, s->in / 16, terms, dz + next * l.size, w_ih,
		                dx + next * in);
	}
	NAME(tile_step)(WORK_NONE, &l, 0, ADD_NOTHING, 0, s->in / 16, terms, dz, w_ih, dx);
	TILE_RELEASE();
}

#endif
