// Matrix products: part of kernels_body.h.

// A register tile of mr x nv vectors: each element of B that is loaded serves mr rows,
// each element of A nv * VL columns. row_b is the length of a row of B.
INLINE void tile(const int mr, const int nv, const struct matmul_shape *s, int64_t row_b, const int32_t *a_offset,
                 const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c) {
	vf acc[8][MAX_NV];
	const float *row[8];
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++) {
		row[i] = a + a_offset[i];
#pragma GCC unroll 4
		for (int j = 0; j < nv; j++)
			acc[i][j] = s->init == INIT_BIAS ? load(bias + VL * j) : (vf){};
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
		for (int j = 0; j < nv; j++) {
			float *to = c + c_offset[i] + VL * j;
			store(to, s->init == INIT_SUM ? load(to) + acc[i][j] : acc[i][j]);
		}
}

#define TILE_ARGS const struct matmul_shape *s, int64_t row_b, const int32_t *ao, const int32_t *co, const float *a, \
	const float *b, const float *bias, float *c
#define TILE(mr, nv) \
	KERNEL __attribute__((noinline)) void NAME(tile_##mr##_##nv)(TILE_ARGS) { tile(mr, nv, s, row_b, ao, co, a, b, bias, c); }
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
	for (int64_t i = 0; i < s->batch; i++, a += s->batch_a, b += s->batch_b, c += s->batch_c)
		for (int64_t panel = 0; panel < s->n; panel += PANEL_WIDTH) {
			// Columns outside, rows inside: the columns of B in use stay in the nearest cache.
			const int64_t width = s->n - panel < PANEL_WIDTH ? s->n - panel : PANEL_WIDTH;
			const float *from = b + (s->panel_rows ? panel * s->panel_rows : panel);
			const int64_t row_b = s->panel_rows ? width : s->row_b;
			for (int64_t n = 0; n < width;) {
				int64_t nv = (width - n) / VL;
				if (nv > MAX_NV) nv = MAX_NV;
				int64_t max = nv == MAX_NV ? 6 : 8, tiles = (s->m + max - 1) / max;
				for (int64_t t = 0; t < tiles; t++) {
					// As even tiles as possible: the last one would otherwise be thin and slow.
					int64_t first = t * s->m / tiles, rows = (t + 1) * s->m / tiles - first;
					NAME(tiles)[nv][rows](s, row_b, a_offset + first, c_offset + first, a, from + n,
					                      bias ? bias + panel + n : 0, c + panel + n);
				}
				n += nv * VL;
			}
		}
}
