#include <immintrin.h>

#define ISA avx2
#define NAME_STRING "avx2"
#define TARGET __attribute__((target("avx2,fma")))
#define VL 8
#define MAX_NV 2 // of 16 registers
#define SQRT(v) ((vf)_mm256_sqrt_ps((__m256)(v)))
#define MUL32(a, b) ((vu)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#include "kernels_body.h"
