// architectures: 80
#include "rnn_layers.cuh"
#include "rnn_product_mma.cuh"

// The RNN of rnn.cu on tensor cores: the operands of its products are tf32 or bf16; sums, tanh and
// stored values are fp32. A step with hidden 128 is 16 mma per warp in tf32, 8 in bf16, for one
// sample or for eight: about 350 cycles, most of them latency. The input's part takes 25 cycles per
// row. At batch 50, counted as in rnn.cu: 5 x (56 x 375 + 3,000) cycles, 70 us.

// rnn_forward_tf32 is rnn_forward with products in tf32.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_forward_tf32(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
                 unsigned long long seed, unsigned threshold, float keep_scale, int samples, int n,
                 int steps, int in, int hidden, int layer_count) {
    layers_forward<Mma<false>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale), samples,
                               {n, steps, in, hidden, layer_count});
}

// rnn_backward_tf32 is rnn_backward with products in tf32.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_backward_tf32(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
                  const Step *step, unsigned long long seed, unsigned threshold, float keep_scale,
                  int samples, int n, int steps, int in, int hidden, int layer_count) {
    layers_backward<Mma<false>>(layers, h, dy, da, dx, dropout_of(step, seed, threshold, keep_scale),
                                samples, {n, steps, in, hidden, layer_count});
}

// rnn_forward_bf16 is rnn_forward with products in bf16.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_forward_bf16(const RNNLayer *layers, const float *x, float *h, float *y, const Step *step,
                 unsigned long long seed, unsigned threshold, float keep_scale, int samples, int n,
                 int steps, int in, int hidden, int layer_count) {
    layers_forward<Mma<true>>(layers, x, h, y, dropout_of(step, seed, threshold, keep_scale), samples,
                              {n, steps, in, hidden, layer_count});
}

// rnn_backward_bf16 is rnn_backward with products in bf16.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_backward_bf16(const RNNLayer *layers, const float *h, const float *dy, float *da, float *dx,
                  const Step *step, unsigned long long seed, unsigned threshold, float keep_scale,
                  int samples, int n, int steps, int in, int hidden, int layer_count) {
    layers_backward<Mma<true>>(layers, h, dy, da, dx, dropout_of(step, seed, threshold, keep_scale),
                               samples, {n, steps, in, hidden, layer_count});
}
