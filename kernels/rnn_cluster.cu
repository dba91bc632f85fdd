// architectures: 90
#include "rnn_wavefront.cuh"

// The RNN of five layers in fp32 as a wavefront.
//
// In a wave forward with hidden 128, each thread has 192 multiplications, 12 shared loads of
// 16 bytes, 12 exchanges between lanes and a tanh, some 350 instructions in all; backward some 400.
// Four warps share a scheduler: 1,400 and 1,600 cycles, plus some 250 of latency at the cluster's
// barrier. The recipe's 60 waves forward take 57 us at 1.75 GHz, its 65 waves backward 69 us.
// Batch 50 makes 17 clusters of 5 blocks, which an H100 holds at the same time.

// rnn_cluster_forward computes what rnn_forward does, for five layers, in and hidden <= 128.
// Grid: n / 3 clusters, rounded up, of 5 blocks: one cluster per three samples.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(512, 1)
rnn_cluster_forward(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
                    unsigned long long seed, unsigned threshold, float keep_scale, int n, int steps,
                    int in, int hidden) {
    wavefront_forward<Fp32<16>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale),
                                {n, steps, in, hidden, 5});
}

// rnn_cluster_backward computes what rnn_backward does, for five layers, in and hidden <= 128.
// Grid: as for rnn_cluster_forward.
extern "C" __global__ void __cluster_dims__(5, 1, 1) __launch_bounds__(512, 1)
rnn_cluster_backward(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
                     const Step *step, unsigned long long seed, unsigned threshold, float keep_scale,
                     int n, int steps, int in, int hidden) {
    wavefront_backward<Fp32<8>, 1>(layers, h, dy, da, dx, dropout_of(step, seed, threshold, keep_scale),
                                   {n, steps, in, hidden, 5});
}
