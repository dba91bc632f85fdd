#include <immintrin.h>
#include <stdint.h>

#define ISA avx512
#define NAME_STRING "avx512"
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define VL 16
#define MAX_NV 4 // of 32 registers
#define SQRT(v) ((vf)_mm512_sqrt_ps((__m512)(v)))
#define MIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define MAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MUL32(a, b) ((vu)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#define HIGH32(v) ((vu)_mm512_shuffle_epi32((__m512i)(v), _MM_PERM_DDBB))
#define WIDEN(p) ((vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define NARROW(p, v) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8((__m512i)(v)))
#define BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))
#define DOT_BF16(c, a, b) ((vf)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(a), (__m512bh)(b)))
#define NARROW_BF16(p, v) _mm256_storeu_si256((__m256i *)(p), (__m256i)_mm512_cvtneps_pbh((__m512)(v)))
#define BITS_BF16(v) ((vi)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)(v))))

// The tiles, which the Go side offers where the processor and the system have them.
struct tile_config {
	uint8_t palette, start, zero[14];
	uint16_t bytes[16];
	uint8_t rows[16];
};

static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512bf16"))) __m512
pair_bf16(__m512 low, __m512 high) {
	__m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
	                                 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
	return (__m512)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

static inline void tile_rows(int64_t n) {
	struct tile_config config = { .palette = 1 };
	for (int t = 0; t < 8; t++) {
		config.bytes[t] = 64;
		config.rows[t] = t < 6 ? n : 16;
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(config));
}
#define WIDEN_HALVES(p) ((vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))))
#define PAIR_BF16(low, high) pair_bf16((__m512)(low), (__m512)(high))
#define LOAD_SOME(p, n) ((vf)_mm512_maskz_loadu_ps((1u << (n)) - 1, p))
#define TILE_CONFIGURE(n) tile_rows(n)
#define TILE_RELEASE() __asm__ volatile("tilerelease" : : : "memory")
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_LOAD(t, p, n) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"((int64_t)(n)) : "memory")
#define TILE_STORE(t, p, n) \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"((int64_t)(n)) : "memory")
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define RECIPROCAL(v) ((vf)_mm512_rcp14_ps((__m512)(v)))
#include "kernels_body.h"
