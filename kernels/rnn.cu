// architectures: 75
#include "rnn_layers.cuh"

// The RNN in fp32, for any size.
//
// A step of one sample with hidden 128: each thread of the eight warps has 64 multiplications,
// 4 shared loads of 16 bytes, 4 exchanges between lanes and, every other thread, a tanh: 140
// instructions in all. Two warps share a scheduler: 280 cycles, plus some 150 of latency, which
// further samples of the block hide. The input's part takes 200 cycles per row, and fetching weights
// and rows some 3,000 per layer. Batch 50 on a card with at least 50 multiprocessors, one sample per
// block: 5 x (56 x 630 + 3,000) cycles, 110 us at 1.75 GHz, and as long again backward.

// rnn_forward computes h [layers,n,steps,hidden] and y [n,hidden] = h[layers-1,:,steps-1] from
// x [n,steps,in], by the formulas of rnn.cuh. threshold is 0 for no dropout. Grid: n / samples
// blocks, rounded up; samples is 1, 2, 4 or 8.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_forward(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
            unsigned long long seed, unsigned threshold, float keep_scale, int samples, int n,
            int steps, int in, int hidden, int layer_count) {
    layers_forward<Fp32<8>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale), samples,
                            {n, steps, in, hidden, layer_count});
}

// rnn_backward computes da [layers,n,steps,hidden] and dx [n,steps,in] from dy [n,hidden] and
// the h of rnn_forward, by the formulas of rnn.cuh. Grid: as for rnn_forward.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_backward(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
             const Step *step, unsigned long long seed, unsigned threshold, float keep_scale,
             int samples, int n, int steps, int in, int hidden, int layer_count) {
    layers_backward<Fp32<8>>(layers, h, dy, da, dx, dropout_of(step, seed, threshold, keep_scale),
                             samples, {n, steps, in, hidden, layer_count});
}
