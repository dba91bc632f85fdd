// For whatever the compiler targets by default: SSE2 on x86-64, any other processor.

#include <math.h>

#define ISA generic
#define NAME_STRING "generic"
#define TARGET
#define VL 4
#define MAX_NV 2 // of 16 registers
#define SQRT(v) ((vf){ sqrtf((v)[0]), sqrtf((v)[1]), sqrtf((v)[2]), sqrtf((v)[3]) })
#define MIN(a, b) choose((a) < (b), a, b)
#define MAX(a, b) choose((a) > (b), a, b)
#define MUL32(a, b) (((a) & 0xffffffffu) * ((b) & 0xffffffffu))
#define WIDEN(p) ((vi){ (p)[0], (p)[1], (p)[2], (p)[3] })
#define NARROW(p, v) ((p)[0] = (v)[0], (p)[1] = (v)[1], (p)[2] = (v)[2], (p)[3] = (v)[3])
#include "kernels_body.h"
