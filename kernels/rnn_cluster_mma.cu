// architectures: 90
#include "rnn_product_mma.cuh"
#include "rnn_wavefront.cuh"

// The RNN of five layers as a wavefront, as in rnn_cluster.cu, on tensor cores: the operands of its
// products are tf32 or bf16; sums, tanh and stored values are fp32.
//
// In a wave, each of the eight warps has 32 mma in tf32, 16 in bf16, and some 330 instructions in all.
// Two warps share a scheduler: 660 cycles, plus some 250 of latency. 60 waves forward take 31 us at
// 1.75 GHz, 65 backward 34 us.

// rnn_cluster_forward_tf32 is rnn_cluster_forward with products in tf32.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(256, 1)
rnn_cluster_forward_tf32(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
                         unsigned long long seed, unsigned threshold, float keep_scale, int n,
                         int steps, int in, int hidden) {
    wavefront_forward<Mma<false>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale),
                                  {n, steps, in, hidden, 5});
}

// rnn_cluster_backward_tf32 is rnn_cluster_backward with products in tf32.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(256, 1)
rnn_cluster_backward_tf32(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
                          const Step *step, unsigned long long seed, unsigned threshold,
                          float keep_scale, int n, int steps, int in, int hidden) {
    wavefront_backward<Mma<false>, 2>(layers, h, dy, da, dx,
                                      dropout_of(step, seed, threshold, keep_scale),
                                      {n, steps, in, hidden, 5});
}

// rnn_cluster_forward_bf16 is rnn_cluster_forward with products in bf16.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(256, 1)
rnn_cluster_forward_bf16(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
                         unsigned long long seed, unsigned threshold, float keep_scale, int n,
                         int steps, int in, int hidden) {
    wavefront_forward<Mma<true>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale),
                                 {n, steps, in, hidden, 5});
}

// rnn_cluster_backward_bf16 is rnn_cluster_backward with products in bf16.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(256, 1)
rnn_cluster_backward_bf16(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
                          const Step *step, unsigned long long seed, unsigned threshold,
                          float keep_scale, int n, int steps, int in, int hidden) {
    wavefront_backward<Mma<true>, 2>(layers, h, dy, da, dx,
                                     dropout_of(step, seed, threshold, keep_scale),
                                     {n, steps, in, hidden, 5});
}
