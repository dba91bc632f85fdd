#include <arm_neon.h>

#define ISA neon
#define NAME_STRING "neon"
#define TARGET
#define VL 4
#define MAX_NV 4 // of 32 registers
#define SQRT(v) ((vf)vsqrtq_f32((float32x4_t)(v)))
#define MIN(a, b) choose((a) < (b), a, b)
#define MAX(a, b) choose((a) > (b), a, b)
#define MUL32(a, b) ((vu)vmull_u32(vmovn_u64((uint64x2_t)(a)), vmovn_u64((uint64x2_t)(b))))
#define WIDEN(p) ((vi){ (p)[0], (p)[1], (p)[2], (p)[3] })
#define NARROW(p, v) ((p)[0] = (v)[0], (p)[1] = (v)[1], (p)[2] = (v)[2], (p)[3] = (v)[3])
#define BF16_TARGET __attribute__((target("arch=armv8.2-a+bf16")))
#define DOT_BF16(c, a, b) ((vf)vbfdotq_f32((float32x4_t)(c), (bfloat16x8_t)(a), (bfloat16x8_t)(b)))
#define NARROW_BF16(p, v) vst1_bf16((bfloat16_t *)(p), vcvt_bf16_f32((float32x4_t)(v)))
#define BITS_BF16(v) ((vi)vmovl_u16((uint16x4_t)vcvt_bf16_f32((float32x4_t)(v))))
#include "kernels_body.h"
