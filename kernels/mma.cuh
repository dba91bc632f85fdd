// Matrix products of a warp on tensor cores (sm_80 on), D = A B + D with A [16,K], B [K,8] and D
// [16,8], accumulated in fp32. The three matrices are spread over the registers of the warp's
// 32 lanes; with g = lane / 4 and t = lane % 4 a lane holds
//
//	D: d[0], d[1] = D[g][2t], D[g][2t+1]      d[2], d[3] = D[g+8][2t], D[g+8][2t+1]
//
//	K = 8, tf32, one value per register:
//	A: a[0] = A[g][t]    a[1] = A[g+8][t]    a[2] = A[g][t+4]    a[3] = A[g+8][t+4]
//	B: b[0] = B[t][g]    b[1] = B[t+4][g]
//
//	K = 16, bf16, two values per register, the one with the lower k in the lower half:
//	A: a[0] = A[g][2t..]    a[1] = A[g+8][2t..]    a[2] = A[g][2t+8..]    a[3] = A[g+8][2t+8..]
//	B: b[0] = B[2t..][g]    b[1] = B[2t+8..][g]
//
// All lanes of the warp must call these together (PTX ISA, "Matrix multiply-accumulate
// instructions: mma").
#pragma once

static __device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4],
                                                         const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// to_tf32 rounds to tf32 (10 bits of mantissa, to nearest, ties away from zero).
static __device__ __forceinline__ unsigned to_tf32(float v) {
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
    return r;
}

// pack_bf16 rounds two values to bf16 (7 bits of mantissa, to nearest even), with low in the lower half.
static __device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
