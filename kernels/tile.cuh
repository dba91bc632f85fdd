// The tiled matrix product of the convolutions: a block of 256 threads computes a tile of
// C = A B with BM rows (32 or 64) and 80 columns.
//
// Why 80 columns: at batch 50 the second convolution of the recipe has 64 x 9,800 outputs, which
// are 123 tiles of 64 x 80 for the 132 multiprocessors of an H100 (64 columns would make 154
// tiles, and so two rounds), and the gradient of its 64 x 800 weights is 10 tiles exactly.
//
// With one tile per multiprocessor, each of its four schedulers has two warps. A thread also needs
// a large register tile, since shared memory delivers 32 values per cycle for 128 multiplications.
// Both are possible only if warps share the depth of the product: BM/32 rows of warps (times
// Math::WARPS_N columns) cover the tile, and each of the GROUPS sets of such warps takes a part of
// every step of depth. Their sums are added in a fixed order at the end.
//
// A and B come through shared memory, a step of Math::DEPTH at a time, while the registers
// already fetch the next step (double buffering: one barrier per step). Both lie there with the
// depth as the row, in words: a word is one value, or two of neighbouring depth for bf16. Rows
// are BM+8 and 88 words apart, 8 and 24 modulo the 32 banks: a warp that reads four rows
// of eight words, as the fragments of mma.sync do, meets 32 different banks.
#pragma once

constexpr int THREADS = 256;
constexpr int BN = 80;
constexpr int B_PITCH = 88;
constexpr int ROWS = 32;  // words of depth in shared memory

template <class Math, int BM> struct Tile {
    using Word = typename Math::Word;
    static constexpr int GROUPS = 8 / (BM / 32) / Math::WARPS_N;
    static_assert(Math::STEPS % GROUPS == 0, "every group has work in every step");

    union Shared {
        struct {
            Word a[2][ROWS][BM + 8];
            Word b[2][ROWS][B_PITCH];
        } step;
        float4 sums[GROUPS / 2][Math::COUNT / 4][THREADS / GROUPS]; // of groups, to be added
        float c[BM][BN];
    };

    // multiply leaves A B in shared.c, for depths k to end. A and B fetch a step of depth into
    // registers (load) and copy it from there into shared memory (store).
    //
    // With LOADS_PAST_END they also load the step beyond the end, which reads nothing. With a branch
    // around the loads, the assembler puts the loads of conv_forward and conv_backward_data, in fp32, after
    // the products, where nothing hides their latency. Without the branch, the code for sm_80, sm_90
    // and sm_120 has them before the products or among the first half. Only the taps (conv.cuh) may
    // come last.
    template <class A, class B>
    static __device__ __forceinline__ void multiply(Shared &shared, A &a, B &b, int k, int end) {
        const int warp = threadIdx.x / 32;
        const int group = warp % GROUPS;
        const int m = warp / GROUPS % (BM / 32) * 32;
        const int n = warp / GROUPS / (BM / 32) * (BN / Math::WARPS_N);
        float sum[Math::COUNT] = {};

        a.load(k, end);
        b.load(k, end);
        a.store(shared.step.a[0]);
        b.store(shared.step.b[0]);
        __syncthreads();
        for (int buffer = 0;; buffer ^= 1) {
            k += Math::DEPTH;
            if (B::LOADS_PAST_END || k < end) {
                a.load(k, end);
                b.load(k, end);
            }
#pragma unroll
            for (int step = 0; step < Math::STEPS / GROUPS; step++) {
                const int row = (step * GROUPS + group) * (ROWS / Math::STEPS);
                Math::accumulate(sum, &shared.step.a[buffer][row][m], BM + 8, &shared.step.b[buffer][row][n], B_PITCH);
            }
            if (k >= end) break;
            a.store(shared.step.a[buffer ^ 1]);
            b.store(shared.step.b[buffer ^ 1]);
            __syncthreads();
        }

        // Groups g and g + half hold sums of the same elements, in the same lanes.
        const int thread = warp / GROUPS * 32 + threadIdx.x % 32;
#pragma unroll
        for (int half = GROUPS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (group >= half && group < 2 * half) {
#pragma unroll
                for (int i = 0; i < Math::COUNT / 4; i++)
                    shared.sums[group - half][i][thread] =
                        make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
            }
            __syncthreads();
            if (group < half) {
#pragma unroll
                for (int i = 0; i < Math::COUNT / 4; i++) {
                    const float4 other = shared.sums[group][i][thread];
                    sum[4 * i] += other.x;
                    sum[4 * i + 1] += other.y;
                    sum[4 * i + 2] += other.z;
                    sum[4 * i + 3] += other.w;
                }
            }
        }
        __syncthreads();
        if (group == 0) Math::write(sum, &shared.c[m][n], BN);
        __syncthreads();
    }
};

// Fp32 multiplies in fp32: a lane of a warp's 32 x 80 tile has 8 rows and 10 columns. Eight lanes
// read 128 neighbouring bytes of B at once, and the four different addresses of A are broadcast.
struct Fp32 {
    using Word = float;
    static constexpr int PACK = 1;    // values in a word
    static constexpr int DEPTH = 32;  // values of depth in shared memory
    static constexpr int STEPS = 32;  // calls of accumulate for that depth
    static constexpr int WARPS_N = 1; // warps side by side
    static constexpr int COUNT = 80;  // sums of a thread

    static __device__ __forceinline__ float word(const float (&v)[1]) { return v[0]; }

    static __device__ __forceinline__ void accumulate(float (&sum)[80], const float *a, int, const float *b, int) {
        const int y = threadIdx.x % 32 / 8 * 4, x = threadIdx.x % 8;
        const float4 a0 = *(const float4 *)(a + y), a1 = *(const float4 *)(a + 16 + y);
        const float4 b0 = *(const float4 *)(b + 4 * x), b1 = *(const float4 *)(b + 32 + 4 * x);
        const float2 b2 = *(const float2 *)(b + 64 + 2 * x);
        const float av[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
        const float bv[10] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w, b2.x, b2.y};
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 10; j++) sum[10 * i + j] = fmaf(av[i], bv[j], sum[10 * i + j]);
    }

    static __device__ __forceinline__ void write(const float (&sum)[80], float *c, int pitch) {
        const int y = threadIdx.x % 32 / 8 * 4, x = threadIdx.x % 8;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float *s = sum + 10 * i;
            float *row = c + (i / 4 * 16 + y + i % 4) * pitch;
            *(float4 *)(row + 4 * x) = make_float4(s[0], s[1], s[2], s[3]);
            *(float4 *)(row + 32 + 4 * x) = make_float4(s[4], s[5], s[6], s[7]);
            *(float2 *)(row + 64 + 2 * x) = make_float2(s[8], s[9]);
        }
    }
};
