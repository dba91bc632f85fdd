#include <immintrin.h>

#define ISA avx2
#define NAME_STRING "avx2"
#define TARGET __attribute__((target("avx2,fma")))
#define VL 8
#define MAX_NV 2 // of 16 registers
#define SQRT(v) ((vf)_mm256_sqrt_ps((__m256)(v)))
#define MIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define MAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MUL32(a, b) ((vu)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#define WIDEN(p) ((vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
#define NARROW(p, v) \
	do { \
		__m128i half = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)(v)), _mm256_extracti128_si256((__m256i)(v), 1)); \
		_mm_storel_epi64((__m128i *)(p), _mm_packus_epi16(half, half)); \
	} while (0)
#include "kernels_body.h"
