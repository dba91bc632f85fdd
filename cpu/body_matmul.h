// Matrix products: part of kernels_body.h.

typedef void NAME(tile_function)(const struct matmul_shape *s, int64_t row_b, const int32_t *a_offset,
                                 const int32_t *c_offset, const float *a, const float *b, const float *bias, float *c);

#define ELEMENT fp32
#define TILE_TARGET TARGET
#define MULTIPLY_ADD(c, a, b) ((c) + splat(*(a)) * (b))
#include "body_tile.h"

#ifdef BF16_TARGET
#define ELEMENT bf16
#define TILE_TARGET BF16_TARGET
#define MULTIPLY_ADD(c, a, b) DOT_BF16(c, (vi){} + word(a), b)
#include "body_tile.h"
#endif

KERNEL void NAME(matmul)(const struct matmul_shape *s, const int32_t *a_offset, const int32_t *c_offset,
                         const float *a, const float *b, const float *bias, float *c) {
	NAME(tile_function) *const(*tiles)[9] = NAME(fp32)[s->two_sums];
#ifdef BF16_TARGET
	if (s->bf16)
		tiles = NAME(bf16)[s->two_sums];
#endif
	const int64_t max_nv = s->two_sums ? MAX_NV / 2 : MAX_NV;
	for (int64_t i = 0; i < s->batch; i++, a += s->batch_a, b += s->batch_b, c += s->batch_c)
		for (int64_t panel = 0; panel < s->n; panel += PANEL_WIDTH) {
			// Columns outside, rows inside: the columns of B in use stay in the nearest cache.
			const int64_t width = s->n - panel < PANEL_WIDTH ? s->n - panel : PANEL_WIDTH;
			const float *from = b + (s->panel_rows ? panel * s->panel_rows : panel);
			const int64_t row_b = s->panel_rows ? width : s->row_b;
			for (int64_t n = 0; n < width;) {
				int64_t nv = (width - n) / VL;
				if (nv > max_nv) nv = max_nv;
				int64_t max = nv == max_nv || s->two_sums ? 6 : 8, count = (s->m + max - 1) / max;
				for (int64_t t = 0; t < count; t++) {
					// As even tiles as possible: the last one would otherwise be thin and slow.
					int64_t first = t * s->m / count, rows = (t + 1) * s->m / count - first;
					tiles[nv][rows](s, row_b, a_offset + first, c_offset + first, a, from + n,
					                bias ? bias + panel + n : 0, c + panel + n);
				}
				n += nv * VL;
			}
		}
}
