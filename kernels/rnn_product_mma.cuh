// The product of rnn_product.cuh on tensor cores (sm_80 on), operands in tf32 or bf16, sums in fp32.
#pragma once

#include "mma.cuh"
#include "rnn_product.cuh"

template <bool bf16>
struct ElementOf {
    using Type = unsigned;
};
template <>
struct ElementOf<true> {
    using Type = unsigned short;
};

// Mma gives each of eight warps 16 outputs; the vectors, eight at the most, are the columns of
// the right factor. A word of shared memory is one input in tf32, two in bf16. A lane reads four
// words at a time, from 16 p + 4 t on (g and t: mma.cuh), for the right factors of two mma. The
// inputs may have any order, as long as the weights have the same. STRIDE puts the words of
// different vectors into different banks.
template <bool bf16>
struct Mma {
    static constexpr int THREADS = 256;
    static constexpr int MAX = 8;  // vectors at a time
    static constexpr int GROUP = MAX;
    static constexpr int WORDS = bf16 ? TILE / 2 : TILE;
    static constexpr int PAIRS = WORDS / 16;  // of mma
    using Element = typename ElementOf<bf16>::Type;
    static constexpr int STRIDE = (WORDS + 16) * (bf16 ? 2 : 1);

    struct Weights {
        unsigned a[2 * PAIRS][4];
    };
    template <int N>
    struct Sum {
        float d[4][4] = {};  // one of every fourth mma, so that no mma waits for the one before
    };

    static __device__ __forceinline__ Element round(float v) {
        return bf16 ? (Element)pack_bf16(v, 0) : (Element)to_tf32(v);
    }

    // With four vectors or fewer, the lanes without a vector take over the second output of the
    // other lanes.
    static constexpr __device__ int owned(int n) {
        return n == 1 ? 1 : n <= 4 ? 2 : 4;
    }
    template <int N>
    static __device__ __forceinline__ int output(int tid, int i) {
        int second = N <= 4 ? tid % 4 / 2 : i / 2;
        return tid / 32 * 16 + tid % 32 / 4 + 8 * second;
    }
    template <int N>
    static __device__ __forceinline__ int vector(int tid, int i) {
        return 2 * (tid % (N <= 4 ? 2 : 4)) + i % 2;
    }

    template <bool transposed>
    static __device__ __forceinline__ void load(Weights &weights, const Matrix<transposed> &m, int tid,
                                                int j0, int k0) {
        if (!transposed && m.aligned()) read<true>(weights, m, tid, j0, k0);
        else read<false>(weights, m, tid, j0, k0);
    }

    template <bool aligned, bool transposed>
    static __device__ __forceinline__ void read(Weights &weights, const Matrix<transposed> &m, int tid,
                                                int j0, int k0) {
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int j = j0 + output<MAX>(tid, 2 * half), k = k0 + (16 * p + 4 * (tid % 4)) * (bf16 ? 2 : 1);
                float4 v = m.template inputs4<aligned>(j, k);
                unsigned word[4];
                if (bf16) {
                    float4 u = m.template inputs4<aligned>(j, k + 4);
                    word[0] = pack_bf16(v.x, v.y), word[1] = pack_bf16(v.z, v.w);
                    word[2] = pack_bf16(u.x, u.y), word[3] = pack_bf16(u.z, u.w);
                } else {
                    word[0] = to_tf32(v.x), word[1] = to_tf32(v.y), word[2] = to_tf32(v.z),
                    word[3] = to_tf32(v.w);
                }
#pragma unroll
                for (int i = 0; i < 4; i++) weights.a[2 * p + i / 2][i % 2 * 2 + half] = word[i];
            }
        }
    }

    template <int N>
    static __device__ __forceinline__ void accumulate(Sum<N> &sum, const Weights &weights,
                                                      const Element (*vectors)[STRIDE], int tid) {
        int g = tid % 32 / 4, t = tid % 4;
        // Columns without a vector may hold anything, since no other depends on them.
        const uint4 *vector = (const uint4 *)vectors[min(g, N - 1)];
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
            uint4 v = vector[4 * p + t];
            unsigned even[2] = {v.x, v.y}, odd[2] = {v.z, v.w};
            auto &d_even = sum.d[p % 2 * 2], &d_odd = sum.d[p % 2 * 2 + 1];
            if (bf16) {
                mma_m16n8k16_bf16(d_even, weights.a[2 * p], even);
                mma_m16n8k16_bf16(d_odd, weights.a[2 * p + 1], odd);
            } else {
                mma_m16n8k8_tf32(d_even, weights.a[2 * p], even);
                mma_m16n8k8_tf32(d_odd, weights.a[2 * p + 1], odd);
            }
        }
    }

    template <int N, int OWNED>
    static __device__ __forceinline__ void finish(const Sum<N> &sum, float (&total)[OWNED], int tid) {
        float d[4];
#pragma unroll
        for (int i = 0; i < 4; i++) d[i] = (sum.d[0][i] + sum.d[1][i]) + (sum.d[2][i] + sum.d[3][i]);
#pragma unroll
        for (int i = 0; i < OWNED; i++) {
            total[i] = d[i];
            if (N <= 4) {
                float second = __shfl_xor_sync(~0u, d[i + 2], 2);
                if (tid % 4 >= 2) total[i] = second;
            }
        }
    }
};
