// The inner loops of the CPU backend in GCC vector extensions, which gcc and clang both
// compile. The including file names the instruction set:
//
//	ISA        suffix of the names
//	TARGET     attribute that lets the compiler use it
//	VL         float32 values in a vector: 4, 8 or 16
//	MAX_NV     vectors of columns in a matrix product's register tile: 2 or 4. With 6 rows,
//	           6 MAX_NV accumulators, MAX_NV vectors of B and one of A must fit
//	SQRT(v)    square roots
//	MIN(a,b)   the smaller of each a and b, b where either is NaN; MAX(a,b) the larger
//	MUL32(a,b) products of the low 32 bits of each 64-bit lane
//	HIGH32(v)  the high 32 bits of each 64-bit lane in its low ones, unless a shift is as good
//	WIDEN(p)   VL bytes at p as 32-bit lanes
//	NARROW(p,v) writes the low bytes of v's lanes to p
//
// The last two replace plain vector conversions, which gcc takes apart into bytes. Where there are
// instructions for bfloat16, which only some processors with the set have, it also names
//
//	BF16_TARGET       like TARGET, with them
//	DOT_BF16(c,a,b)   c + products of the pairs in the 32-bit lanes of a and b
//	NARROW_BF16(p,v)  writes v as bfloat16 to p
//	BITS_BF16(v)      v as bfloat16, in the low halves of 32-bit lanes that are zero above
//
// and, where there are tiles, the macros of body_amx.h.
//
// Loads and stores need no alignment. Nothing here depends on the number of threads.
#include "kernels.h"

#include <string.h>

#ifndef HIGH32
#define HIGH32(v) ((v) >> 32)
#endif
#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(f) PASTE(f, ISA)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define KERNEL static TARGET

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint64_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 4)));
typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));

#ifdef __clang__
#define SHUFFLE8(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE8(a, b, ...) __builtin_shuffle(a, b, (v8i){ __VA_ARGS__ })
#endif

INLINE vf load(const float *p) {
	vf v;
	memcpy(&v, p, sizeof v);
	return v;
}
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vi load_bytes(const uint8_t *p) { return WIDEN(p); }
INLINE void store_bytes(uint8_t *p, vi v) { NARROW(p, v); }
INLINE int32_t word(const void *p) {
	int32_t w;
	memcpy(&w, p, sizeof w);
	return w;
}
INLINE vf splat(float x) { return x - (vf){}; }
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }

_Static_assert(LANES % VL == 0, "the padding fills vectors");

#include "body_bf16.h"
#include "body_matmul.h"
#include "body_conv.h"
#include "body_winograd.h"
#include "body_rnn.h"
#include "body_amx.h"

KERNEL void NAME(sum_rows)(float *sum, const float *a, int64_t rows, int64_t stride, int64_t n) {
	for (int64_t i = 0; i < n; i += VL) {
		vf v = load(sum + i);
		for (int64_t r = 0; r < rows; r++)
			v += load(a + r * stride + i);
		store(sum + i, v);
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

KERNEL int64_t NAME(multiply_adds)(int64_t n) {
	enum { COUNT = 6 * MAX_NV }; // as many as in a register tile
	vf a[COUNT];
	const vf half = splat(0.5f), one = splat(1);
	volatile float different = 0; // otherwise the compiler sees that all sums are equal
	for (int i = 0; i < COUNT; i++)
		a[i] = splat(different);
	for (int64_t k = 0; k < n; k++)
#pragma GCC unroll 24
		for (int i = 0; i < COUNT; i++)
			a[i] = a[i] * half + one;
	for (int i = 1; i < COUNT; i++)
		a[0] += a[i];
	volatile float spent = a[0][0];
	(void)spent;
	return n * 2 * VL * COUNT;
}

const struct kernels NAME(crnn_kernels) = {
	.name = NAME_STRING,
#include "kernels_table_gen.h"
};
