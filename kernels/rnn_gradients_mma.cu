// architectures: 80
#include "mma.cuh"
#include "rnn_gradients.cuh"

// Factors lie in shared memory as tensor cores read them. A word is one number in tf32, or two
// in bf16, from a row of the sequence and from the next. So the fragments of both precisions lie at
// the same places. The padding puts the words of a fragment into different banks.
constexpr int WORD_ROWS = 16;
constexpr int PAD = 8;

struct Factors {
    unsigned da[WORD_ROWS][TILE_I + PAD], in[WORD_ROWS][TILE_K + PAD];
};

// words rounds four numbers of a row to tf32, or of two rows to bf16.
template <bool bf16>
static __device__ __forceinline__ uint4 words(const float4 &row, const float4 &next) {
    if (bf16)
        return make_uint4(pack_bf16(row.x, next.x), pack_bf16(row.y, next.y), pack_bf16(row.z, next.z),
                          pack_bf16(row.w, next.w));
    return make_uint4(to_tf32(row.x), to_tf32(row.y), to_tf32(row.z), to_tf32(row.w));
}

// gradients computes a piece as rnn_gradients does. Each of the four warps has 64 x 32 of its
// 128 x 64 elements: 16 mma for 24 shared loads. Bias gradients add the numbers before rounding.
template <bool bf16>
static __device__ __forceinline__ void gradients(const RNNLayer *layers, const float *x, const float *h,
                                                 const float *da, float *parts, const Dropout &dropout,
                                                 const Shape &shape, int layer_count) {
    constexpr int OWN = bf16 ? 2 : 1;  // rows that a thread loads
    constexpr int DEPTH = OWN * WORD_ROWS;
    __shared__ __align__(16) Factors f;
    Piece p = piece(blockIdx.x, shape.in, shape.hidden);
    Source s = source(x, h, da, p, shape, dropout.threshold);
    int begin, end;
    part_of_rows(shape.n * shape.steps, DEPTH, begin, end);

    int tid = threadIdx.x, row = tid / 8, lane = tid % 8;
    int g = tid % 32 / 4, t = tid % 4;  // the lane's place in the fragments (mma.cuh)
    int i0 = tid / 64 * 64, k0 = tid / 32 % 2 * 32;
    float sum[4][4][4] = {};  // [rows i0 + 16 a][columns k0 + 8 b][fragment]
    float4 bias[4] = {};
    bool with_bias = p.recurrent && p.k0 == 0;
    Operands o[OWN];
#pragma unroll
    for (int i = 0; i < OWN; i++) load_operands(o[i], s, p, shape, dropout, begin + OWN * row + i, end);
    for (int m0 = begin; m0 < end; m0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int c = 0; c < 4; c++)
            *(uint4 *)&f.da[row][4 * lane + 32 * c] = words<bf16>(o[0].da[c], o[OWN - 1].da[c]);
#pragma unroll
        for (int c = 0; c < 2; c++)
            *(uint4 *)&f.in[row][8 * lane + 4 * c] = words<bf16>(o[0].in[c], o[OWN - 1].in[c]);
        if (with_bias) {
#pragma unroll
            for (int c = 0; c < 4; c++)
#pragma unroll
                for (int i = 0; i < OWN; i++) {
                    bias[c].x += o[i].da[c].x, bias[c].y += o[i].da[c].y, bias[c].z += o[i].da[c].z,
                        bias[c].w += o[i].da[c].w;
                }
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < OWN; i++)
            load_operands(o[i], s, p, shape, dropout, m0 + DEPTH + OWN * row + i, end);
#pragma unroll
        for (int m = 0; m < WORD_ROWS; m += 8) {
            unsigned a[4][4], b[4][2];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                a[i][0] = f.da[m + t][i0 + 16 * i + g], a[i][1] = f.da[m + t][i0 + 16 * i + g + 8];
                a[i][2] = f.da[m + t + 4][i0 + 16 * i + g], a[i][3] = f.da[m + t + 4][i0 + 16 * i + g + 8];
            }
#pragma unroll
            for (int k = 0; k < 4; k++)
                b[k][0] = f.in[m + t][k0 + 8 * k + g], b[k][1] = f.in[m + t + 4][k0 + 8 * k + g];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    if (bf16) mma_m16n8k16_bf16(sum[i][k], a[i], b[k]);
                    else mma_m16n8k8_tf32(sum[i][k], a[i], b[k]);
                }
        }
    }

    Target to = target(layers, parts, layer_count, p, shape.in, shape.hidden);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float two[2] = {sum[i][k][2 * e], sum[i][k][2 * e + 1]};
                to.put(p.i0 + i0 + 16 * i + g + 8 * e, p.k0 + k0 + 8 * k + 2 * t, two);
            }
    if (!with_bias) return;
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 4; c++) *(float4 *)&f.da[row][4 * lane + 32 * c] = bias[c];
    __syncthreads();
    float total = 0;
#pragma unroll
    for (int i = 0; i < WORD_ROWS; i++) total += __uint_as_float(f.da[i][tid]);
    if (p.i0 + tid < shape.hidden) to.bias[p.i0 + tid] = to.bias_too[p.i0 + tid] = total;
}

// rnn_gradients_tf32 is rnn_gradients with factors in tf32, sums in fp32. Grid: as for rnn_gradients.
// At batch 50, 0.44 G multiplications take 4 us at half of an H100's peak.
extern "C" __global__ void __launch_bounds__(128)
rnn_gradients_tf32(const RNNLayer *layers, const float *x, const float *h, const float *da,
                   float *parts, const Step *step, unsigned long long seed, unsigned threshold,
                   float keep_scale, int n, int steps, int in, int hidden, int layer_count) {
    gradients<false>(layers, x, h, da, parts, dropout_of(step, seed, threshold, keep_scale),
                     {n, steps, in, hidden}, layer_count);
}

// rnn_gradients_bf16 is rnn_gradients with factors in bf16, sums in fp32. Grid: as for rnn_gradients.
extern "C" __global__ void __launch_bounds__(128)
rnn_gradients_bf16(const RNNLayer *layers, const float *x, const float *h, const float *da,
                   float *parts, const Step *step, unsigned long long seed, unsigned threshold,
                   float keep_scale, int n, int steps, int in, int hidden, int layer_count) {
    gradients<true>(layers, x, h, da, parts, dropout_of(step, seed, threshold, keep_scale),
                    {n, steps, in, hidden}, layer_count);
}
