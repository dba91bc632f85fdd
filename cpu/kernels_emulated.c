//go:build emulateamx

// The stand-in for Intel's AMX in tests: six functions that do the work of the instructions, so that the
// kernels of body_amx.h run on any processor. No program is built with it.

#include <math.h>
#include <stdint.h>
#include <string.h>

static _Thread_local struct {
	int rows[8];
	union {
		float f[16][16];
		uint32_t pair[16][16];
	} tile[8];
} unit;

void crnn_emulated_rows(int64_t n) {
	memset(&unit, 0, sizeof unit);
	for (int t = 0; t < 8; t++)
		unit.rows[t] = t < 6 ? n : 16;
}

void crnn_emulated_release(void) { memset(&unit, 0, sizeof unit); }

void crnn_emulated_zero(int t) { memset(&unit.tile[t], 0, sizeof unit.tile[t]); }

void crnn_emulated_load(int t, const void *p, int64_t row) {
	crnn_emulated_zero(t);
	for (int r = 0; r < unit.rows[t]; r++)
		memcpy(unit.tile[t].f[r], (const char *)p + r * row, 64);
}

void crnn_emulated_store(int t, void *p, int64_t row) {
	for (int r = 0; r < unit.rows[t]; r++)
		memcpy((char *)p + r * row, unit.tile[t].f[r], 64);
}

// Denormal operands and sums count as zero; sums are rounded to nearest even. A product is exact in
// float64, and rounding a sum to float64 first does not change it in float32. A sum is a denormal if it is
// below 2^-126 after rounding with unlimited exponents, so a sum just below 2^-126 may round up and be none.
static float bits(uint32_t u) {
	float x;
	u &= u & 0x7f800000 ? 0xffffffff : 0x80000000;
	memcpy(&x, &u, sizeof x);
	return x;
}

static float rounded(double sum) {
	const float x = (float)sum, larger = (float)(sum * 0x1p64);
	if (larger < 0x1p-62f && larger > -0x1p-62f)
		return sum < 0 || (sum == 0 && 1 / sum < 0) ? -0.0f : 0.0f;
	return x;
}

void crnn_emulated_dot(int c, int a, int b) {
	for (int m = 0; m < unit.rows[c]; m++) {
		float sum[2][16] = {}; // of even and of odd terms
		for (int k = 0; k < 16; k++)
			for (int odd = 0; odd < 2; odd++) {
				const double u = bits(unit.tile[a].pair[m][k] >> 16 * odd << 16);
				for (int n = 0; n < 16; n++)
					sum[odd][n] = rounded(sum[odd][n] + u * bits(unit.tile[b].pair[k][n] >> 16 * odd << 16));
			}
		for (int n = 0; n < 16; n++) {
			float *to = &unit.tile[c].f[m][n];
			*to = rounded((double)rounded(*to) + rounded((double)sum[0][n] + sum[1][n]));
		}
	}
}

#define ISA emulated
#define NAME_STRING "emulated"
#define TARGET
#define VL 4
#define MAX_NV 2
#define SQRT(v) ((vf){ sqrtf((v)[0]), sqrtf((v)[1]), sqrtf((v)[2]), sqrtf((v)[3]) })
#define MIN(a, b) choose((a) < (b), a, b)
#define MAX(a, b) choose((a) > (b), a, b)
#define MUL32(a, b) (((a) & 0xffffffffu) * ((b) & 0xffffffffu))
#define WIDEN(p) ((vi){ (p)[0], (p)[1], (p)[2], (p)[3] })
#define NARROW(p, v) ((p)[0] = (v)[0], (p)[1] = (v)[1], (p)[2] = (v)[2], (p)[3] = (v)[3])
#define BF16_TARGET
#define DOT_BF16(c, a, b) \
	((c) + (vf)((vi)(a) & -65536) * (vf)((vi)(b) & -65536) + (vf)((vi)(a) << 16) * (vf)((vi)(b) << 16))
#define ROUND_BF16(u) (((u) + 0x7fff + ((u) >> 16 & 1)) >> 16 & 0xffff)
#define BITS_BF16(v) ((((v) != (v)) & (((vi)(v) >> 16 & 0xffff) | 1 << 6)) | (((v) == (v)) & ROUND_BF16((vi)(v))))
#define NARROW_BF16(p, v)                                 \
	do {                                              \
		const vi narrow_ = BITS_BF16(v);          \
		for (int lane_ = 0; lane_ < VL; lane_++)  \
			(p)[lane_] = narrow_[lane_];      \
	} while (0)
#define WIDEN_HALVES(p) ((vi){ (p)[0], (p)[1], (p)[2], (p)[3] })
#define PAIR_BF16(low, high) (BITS_BF16(low) | BITS_BF16(high) << 16)
#define TILE_CONFIGURE(n) crnn_emulated_rows(n)
#define TILE_RELEASE() crnn_emulated_release()
#define TILE_ZERO(t) crnn_emulated_zero(t)
#define TILE_LOAD(t, p, n) crnn_emulated_load(t, p, n)
#define TILE_STORE(t, p, n) crnn_emulated_store(t, p, n)
#define TILE_DOT(c, a, b) crnn_emulated_dot(c, a, b)
#define RECIPROCAL(v) (1 / (v))
#include "kernels_body.h"
