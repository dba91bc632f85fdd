#include <immintrin.h>

#define ISA avx512
#define NAME_STRING "avx512"
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define VL 16
#define MAX_NV 4 // of 32 registers
#define SQRT(v) ((vf)_mm512_sqrt_ps((__m512)(v)))
#define MUL32(a, b) ((vu)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#include "kernels_body.h"
