// The register tiles of matrix products, for one type of elements: part of body_matmul.h, which
// names it ELEMENT, and MULTIPLY_ADD(c,a,b) = c + *a · b for vectors b and c.

#define TILES PASTE(ELEMENT, ISA)
#define TILE(mr, nv, sums) PASTE(PASTE(PASTE(PASTE(ELEMENT, mr), nv), sums), ISA)

// A tile of mr x nv vectors. A vector has 1 or 2 sums, which take the terms in turn. A loaded element
// of B serves mr rows, an element of A nv * VL columns. row_b is the length of a row of B.
static inline __attribute__((always_inline)) TILE_TARGET void PASTE(TILES, of)(
	const int mr, const int nv, const int sums, const struct matmul_shape *s, int64_t row_b, const int32_t *a_offset,
	const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c) {
	vf acc[2][8][MAX_NV];
	const float *row[8];
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++) {
		row[i] = a + a_offset[i];
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++)
#pragma GCC unroll 2
			for (int q = 0; q < sums; q++)
				acc[q][i][j] = (vf){};
	}
	const int64_t step_a = s->stride_a[2], step_b = s->stride_b[2] * row_b;
	for (int64_t x = 0; x < s->count[0]; x++)
		for (int64_t y = 0; y < s->count[1]; y++) {
			int64_t at = x * s->stride_a[0] + y * s->stride_a[1];
			const float *from = b + (x * s->stride_b[0] + y * s->stride_b[1]) * row_b;
			for (int64_t k = s->count[2]; k > 0; k -= sums)
#pragma GCC unroll 2
				for (int q = 0; q < sums; q++) {
					if (q > 0 && k == 1)
						break; // the number of terms is odd
					vf bv[MAX_NV];
#pragma GCC unroll 4
					for (int j = 0; j < nv; j++)
						bv[j] = load(from + VL * j);
#pragma GCC unroll 16
					for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
						for (int j = 0; j < nv; j++)
							acc[q][i][j] = MULTIPLY_ADD(acc[q][i][j], row[i] + at, bv[j]);
					at += step_a;
					from += step_b;
				}
		}
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++) {
			float *to = c + c_offset[i] + VL * j;
			const vf sum = sums == 2 ? acc[0][i][j] + acc[1][i][j] : acc[0][i][j];
			store(to, s->add == ADD_C    ? load(to) + sum
			          : s->add == ADD_BIAS ? load(bias + VL * j) + sum
			                                 : sum);
		}
}

#define DEFINE(mr, nv, sums)                                                                                      \
	static TILE_TARGET __attribute__((noinline)) void TILE(mr, nv, sums)(                                     \
		const struct matmul_shape *s, int64_t row_b, const int32_t *ao, const int32_t *co, const float *a, \
		const float *b, const float *bias, float *c) {                                                     \
		PASTE(TILES, of)(mr, nv, sums, s, row_b, ao, co, a, b, bias, c);                                   \
	}
#define DEFINE_6(nv, sums) \
	DEFINE(1, nv, sums) DEFINE(2, nv, sums) DEFINE(3, nv, sums) DEFINE(4, nv, sums) DEFINE(5, nv, sums) DEFINE(6, nv, sums)
#define ROWS_6(nv, sums) \
	0, TILE(1, nv, sums), TILE(2, nv, sums), TILE(3, nv, sums), TILE(4, nv, sums), TILE(5, nv, sums), TILE(6, nv, sums)
#define DEFINE_8(nv) DEFINE_6(nv, 1) DEFINE(7, nv, 1) DEFINE(8, nv, 1)
#define ROWS_8(nv) ROWS_6(nv, 1), TILE(7, nv, 1), TILE(8, nv, 1)

// The functions, by sums, vectors and rows.
DEFINE_8(1)
DEFINE_6(1, 2)
#if MAX_NV == 2
DEFINE_6(2, 1)
static NAME(tile_function) *const TILES[][3][9] = { { { 0 }, { ROWS_8(1) }, { ROWS_6(2, 1) } },
                                                    { { 0 }, { ROWS_6(1, 2) } } };
#else
DEFINE_8(2)
DEFINE_8(3)
DEFINE_6(4, 1)
DEFINE_6(2, 2)
static NAME(tile_function) *const TILES[][5][9] = {
	{ { 0 }, { ROWS_8(1) }, { ROWS_8(2) }, { ROWS_8(3) }, { ROWS_6(4, 1) } },
	{ { 0 }, { ROWS_6(1, 2) }, { ROWS_6(2, 2) } },
};
#endif

#undef DEFINE
#undef DEFINE_6
#undef DEFINE_8
#undef ROWS_6
#undef ROWS_8
#undef TILE
#undef TILES
#undef ELEMENT
#undef TILE_TARGET
#undef MULTIPLY_ADD
