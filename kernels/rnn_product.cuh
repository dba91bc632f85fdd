// The product of a TILE x TILE piece of a weight matrix, held in the registers of a group of
// threads, with vectors in shared memory: here in fp32, in rnn_product_mma.cuh on tensor cores. A
// product has these parts:
//
//     THREADS          of a group; tid is a thread's number in it
//     GROUP            the best number of vectors to multiply at a time
//     Element, STRIDE  type of a vector's elements, and length of its row in shared memory
//     round            makes an Element
//     Weights, load    a thread's weights, for outputs from j0 and inputs from k0 on
//     Sum<N>           a thread's sums for N vectors, zero at first
//     accumulate       adds the products with N vectors
//     finish           adds the sums that threads share: for i < owned(N), total[i] is output number
//                      output<N>(tid, i) of vector number vector<N>(tid, i), if that is below N
#pragma once

#include "rnn.cuh"

constexpr int TILE = 128;  // outputs, and inputs

// Fp32 gives a thread four outputs, 4 (tid/Q) + r, and the inputs 4 (tid%Q) + 4 Q c + e, with r and
// e < 4: a shared load of 16 bytes serves 16 multiplications. Then Q threads exchange their sums,
// so that each has output tid/(Q/4) of every (Q/4)th vector. The order of a sum does not depend on
// N.
template <int Q>
struct Fp32 {
    static constexpr int THREADS = TILE / 4 * Q;
    static constexpr int GROUP = 4;
    static constexpr int COLUMNS = TILE / (4 * Q);
    static constexpr int SHARERS = Q / 4;
    using Element = float;
    static constexpr int STRIDE = TILE;

    struct Weights {
        float w[4][COLUMNS][4];  // [r][c][e]
    };
    template <int N>
    struct Sum {
        float v[N][4] = {};  // [vector][r]
    };

    static __device__ __forceinline__ float round(float v) {
        return v;
    }
    static constexpr __device__ int owned(int n) {
        return (n + SHARERS - 1) / SHARERS;
    }
    template <int N>
    static __device__ __forceinline__ int output(int tid, int) {
        return tid / SHARERS;
    }
    template <int N>
    static __device__ __forceinline__ int vector(int tid, int i) {
        return tid % SHARERS + SHARERS * i;
    }

    template <bool transposed>
    static __device__ __forceinline__ void load(Weights &weights, const Matrix<transposed> &m, int tid,
                                                int j0, int k0) {
        if (m.aligned()) read<true>(weights, m, tid, j0, k0);
        else read<false>(weights, m, tid, j0, k0);
    }

    template <bool aligned, bool transposed>
    static __device__ __forceinline__ void read(Weights &weights, const Matrix<transposed> &m, int tid,
                                                int j0, int k0) {
        int j = j0 + tid / Q * 4;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            int k = k0 + 4 * (tid % Q) + 4 * Q * c;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float4 v = transposed ? m.template along4<aligned>(j, k + i)
                                      : m.template along4<aligned>(j + i, k);
                float four[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
                for (int e = 0; e < 4; e++) weights.w[transposed ? e : i][c][transposed ? i : e] = four[e];
            }
        }
    }

    template <int N>
    static __device__ __forceinline__ void accumulate(Sum<N> &sum, const Weights &weights,
                                                      const Element (*vectors)[STRIDE], int tid) {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
#pragma unroll
            for (int n = 0; n < N; n++) {
                float4 v = *(const float4 *)&vectors[n][4 * (tid % Q) + 4 * Q * c];
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    sum.v[n][r] = fmaf(weights.w[r][c][0], v.x, sum.v[n][r]);
                    sum.v[n][r] = fmaf(weights.w[r][c][1], v.y, sum.v[n][r]);
                    sum.v[n][r] = fmaf(weights.w[r][c][2], v.z, sum.v[n][r]);
                    sum.v[n][r] = fmaf(weights.w[r][c][3], v.w, sum.v[n][r]);
                }
            }
        }
    }

    template <int N, int OWNED>
    static __device__ __forceinline__ void finish(const Sum<N> &sum, float (&total)[OWNED], int tid) {
        float v[OWNED * SHARERS] = {};  // of one output, by vector
#pragma unroll
        for (int n = 0; n < N; n++) {
            float low = exchange(sum.v[n][0], sum.v[n][2], tid, Q / 2);
            float high = exchange(sum.v[n][1], sum.v[n][3], tid, Q / 2);
            v[n] = exchange(low, high, tid, Q / 4);
        }
#pragma unroll
        for (int bit = SHARERS / 2; bit > 0; bit /= 2) {
#pragma unroll
            for (int n = 0; n < OWNED * SHARERS; n++) {
                if (n % (2 * bit) < bit && n % SHARERS < 2 * bit)
                    v[n] = exchange(v[n], v[n + bit], tid, bit);
            }
        }
#pragma unroll
        for (int i = 0; i < OWNED; i++) total[i] = v[SHARERS * i];
    }

    // exchange adds values of this thread and of the thread whose number differs in bit. The thread
    // without the bit gets the sum of the low values, the other thread the sum of the high values.
    static __device__ __forceinline__ float exchange(float low, float high, int tid, int bit) {
        bool upper = tid & bit;
        return (upper ? high : low) + __shfl_xor_sync(~0u, upper ? low : high, bit);
    }
};
