#include <arm_neon.h>

#define ISA neon
#define NAME_STRING "neon"
#define TARGET
#define VL 4
#define MAX_NV 4 // of 32 registers
#define SQRT(v) ((vf)vsqrtq_f32((float32x4_t)(v)))
#define MUL32(a, b) ((vu)vmull_u32(vmovn_u64((uint64x2_t)(a)), vmovn_u64((uint64x2_t)(b))))
#include "kernels_body.h"
