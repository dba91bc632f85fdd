// The register tiles of matrix products, for one type of elements: part of body_matmul.h, which
// names it ELEMENT, and MULTIPLY_ADD(c,a,b) = c + *a · b for vectors b and c.

#define TILES PASTE(ELEMENT, ISA)
#define TILE(mr, nv) PASTE(PASTE(PASTE(ELEMENT, mr), nv), ISA)

// A tile of mr x nv vectors: each element of B that is loaded serves mr rows, each element
// of A nv * VL columns. row_b is the length of a row of B.
static inline __attribute__((always_inline)) TILE_TARGET void PASTE(TILES, of)(
	const int mr, const int nv, const struct matmul_shape *s, int64_t row_b, const int32_t *a_offset,
	const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c) {
	vf acc[8][MAX_NV];
	const float *row[8];
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++) {
		row[i] = a + a_offset[i];
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++)
			acc[i][j] = (vf){};
	}
	const int64_t step_a = s->stride_a[2], step_b = s->stride_b[2] * row_b;
	for (int64_t x = 0; x < s->count[0]; x++)
		for (int64_t y = 0; y < s->count[1]; y++) {
			int64_t at = x * s->stride_a[0] + y * s->stride_a[1];
			const float *from = b + (x * s->stride_b[0] + y * s->stride_b[1]) * row_b;
			for (int64_t k = s->count[2]; k > 0; k--) {
				vf bv[MAX_NV];
#pragma GCC unroll 4
				for (int j = 0; j < nv; j++)
					bv[j] = load(from + VL * j);
#pragma GCC unroll 16
				for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
					for (int j = 0; j < nv; j++)
						acc[i][j] = MULTIPLY_ADD(acc[i][j], row[i] + at, bv[j]);
				at += step_a;
				from += step_b;
			}
		}
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++) {
			float *to = c + c_offset[i] + VL * j;
			store(to, s->add == ADD_C    ? load(to) + acc[i][j]
			          : s->add == ADD_BIAS ? load(bias + VL * j) + acc[i][j]
			                                 : acc[i][j]);
		}
}

#define DEFINE(mr, nv)                                                                                            \
	static TILE_TARGET __attribute__((noinline)) void TILE(mr, nv)(                                           \
		const struct matmul_shape *s, int64_t row_b, const int32_t *ao, const int32_t *co, const float *a, \
		const float *b, const float *bias, float *c) {                                                     \
		PASTE(TILES, of)(mr, nv, s, row_b, ao, co, a, b, bias, c);                                         \
	}
#define DEFINE_6(nv) DEFINE(1, nv) DEFINE(2, nv) DEFINE(3, nv) DEFINE(4, nv) DEFINE(5, nv) DEFINE(6, nv)
#define ROWS_6(nv) 0, TILE(1, nv), TILE(2, nv), TILE(3, nv), TILE(4, nv), TILE(5, nv), TILE(6, nv)
#define DEFINE_8(nv) DEFINE_6(nv) DEFINE(7, nv) DEFINE(8, nv)
#define ROWS_8(nv) ROWS_6(nv), TILE(7, nv), TILE(8, nv)

// By vectors and rows.
DEFINE_8(1)
#if MAX_NV == 2
DEFINE_6(2)
static NAME(tile_function) *const TILES[][9] = { { 0 }, { ROWS_8(1) }, { ROWS_6(2) } };
#else
DEFINE_8(2)
DEFINE_8(3)
DEFINE_6(4)
static NAME(tile_function) *const TILES[][9] = { { 0 }, { ROWS_8(1) }, { ROWS_8(2) }, { ROWS_8(3) }, { ROWS_6(4) } };
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
