// architectures: 75
#include "rnn_gradients.cuh"

// rnn_gradients_sum adds the slices of parts [count,elements of a slice] and writes the gradients of
// all layers. It moves 4 bytes per element and slice. Grid: elements of a slice / 256, rounded up.
extern "C" __global__ void __launch_bounds__(256)
rnn_gradients_sum(const RNNLayer *layers, const float *parts, int count, int in, int hidden,
                  int layer_count) {
    size_t e = (size_t)blockIdx.x * 256 + threadIdx.x, size = slice_offset(layer_count, in, hidden);
    if (e >= size) return;
    float sum = 0;
#pragma unroll 4
    for (int i = 0; i < count; i++) sum += parts[i * size + e];

    size_t first = slice_offset(1, in, hidden), others = (size_t)hidden * (2 * hidden + 1);
    int l = e < first ? 0 : 1 + (int)((e - first) / others);
    size_t at = e - slice_offset(l, in, hidden), weights = (size_t)hidden * (l == 0 ? in : hidden);
    const RNNLayer &layer = layers[l];
    if (at < weights) {
        layer.dweight_ih[at] = sum;
    } else if (at < weights + (size_t)hidden * hidden) {
        layer.dweight_hh[at - weights] = sum;
    } else {
        at -= weights + (size_t)hidden * hidden;
        layer.dbias_ih[at] = layer.dbias_hh[at] = sum;
    }
}
