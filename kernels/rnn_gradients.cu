// architectures: 75
#include "rnn_gradients.cuh"

constexpr int DEPTH = 16;  // rows of a sequence in shared memory at a time

// rnn_gradients computes the gradients of all layers' weights and biases (rnn_gradients.cuh)
// from x [n,steps,in] and the h and da [layers,n,steps,hidden] of rnn_forward and rnn_backward,
// in fp32. parts is scratch for gridDim.y slices of all gradients. Grid: x is the pieces, y the
// parts of the rows.
//
// A piece is 128 x 64, 8 x 8 elements per thread: 64 multiplications for 4 shared loads of
// 16 bytes, so the multiplications bound the time. Hidden 128 and 5 layers make 19 pieces, so
// 13 parts give each of 132 multiprocessors nearly two blocks. At batch 50 they are 0.88 GFLOP,
// 14 us at the peak of an H100 and 18 us at 80 % of it.
extern "C" __global__ void __launch_bounds__(128)
rnn_gradients(const RNNLayer *layers, const float *x, const float *h, const float *da, float *parts,
              const Step *step, unsigned long long seed, unsigned threshold, float keep_scale, int n,
              int steps, int in, int hidden, int layer_count) {
    __shared__ __align__(16) float shared_da[DEPTH][TILE_I], shared_in[DEPTH][TILE_K];
    Dropout dropout = dropout_of(step, seed, threshold, keep_scale);
    Shape shape = {n, steps, in, hidden};
    Piece p = piece(blockIdx.x, in, hidden);
    Source s = source(x, h, da, p, shape, threshold);
    int begin, end;
    part_of_rows(n * steps, DEPTH, begin, end);

    int tid = threadIdx.x, row = tid / 8, lane = tid % 8;
    int ti = 4 * (tid / 8), tk = 4 * (tid % 8);  // this thread's elements: ti + 64 a + r by tk + 32 b + c
    float sum[8][8] = {}, bias = 0;
    bool with_bias = p.recurrent && p.k0 == 0;
    Operands o;
    load_operands(o, s, p, shape, dropout, begin + row, end);
    for (int m0 = begin; m0 < end; m0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int c = 0; c < 4; c++) *(float4 *)&shared_da[row][4 * lane + 32 * c] = o.da[c];
#pragma unroll
        for (int c = 0; c < 2; c++) *(float4 *)&shared_in[row][8 * lane + 4 * c] = o.in[c];
        __syncthreads();
        load_operands(o, s, p, shape, dropout, m0 + DEPTH + row, end);
        if (with_bias) {
#pragma unroll
            for (int m = 0; m < DEPTH; m++) bias += shared_da[m][tid];
        }
#pragma unroll 4
        for (int m = 0; m < DEPTH; m++) {
            float left[8], right[8];
            *(float4 *)&left[0] = *(const float4 *)&shared_da[m][ti];
            *(float4 *)&left[4] = *(const float4 *)&shared_da[m][ti + 64];
            *(float4 *)&right[0] = *(const float4 *)&shared_in[m][tk];
            *(float4 *)&right[4] = *(const float4 *)&shared_in[m][tk + 32];
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int k = 0; k < 8; k++) sum[i][k] = fmaf(left[i], right[k], sum[i][k]);
        }
    }

    Target t = target(layers, parts, layer_count, p, in, hidden);
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int b = 0; b < 2; b++) {
            float four[4] = {sum[i][4 * b], sum[i][4 * b + 1], sum[i][4 * b + 2], sum[i][4 * b + 3]};
            t.put(p.i0 + ti + i % 4 + i / 4 * 64, p.k0 + tk + 32 * b, four);
        }
    if (with_bias && p.i0 + tid < hidden) t.bias[p.i0 + tid] = t.bias_too[p.i0 + tid] = bias;
}
