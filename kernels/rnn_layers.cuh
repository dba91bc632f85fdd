// The RNN (rnn.cuh) layer by layer, for any size, with one of the products of rnn_product.cuh.
//
// A block takes a few samples through all layers, so no block ever waits for another. In each
// layer it first computes the input's part of all steps, in which no step depends on another, then
// the steps. With hidden <= TILE the recurrent weights stay in registers for all steps; otherwise
// they come from L2 in every step.
#pragma once

#include "rnn_product.cuh"

constexpr int ROWS = 32;  // of a sequence, in shared memory at a time
constexpr int MAX_SAMPLES = 8;

static_assert(2 * MAX_SAMPLES <= ROWS, "the steps use the memory of the rows, twice");

template <class Product>
struct Shared {
    typename Product::Element vectors[ROWS][Product::STRIDE];
    unsigned char keep[ROWS][TILE / 8];  // keep_bits of the rows
};

// sequence_product multiplies all rows of a block's sequences with a layer's input weights:
// forward, dst [rows][hidden] = W src + bias_a + bias_b with dropout of src [rows][in];
// backward, dst [rows][in] = W^T src with dropout of dst, for src [rows][hidden]. Dropout uses
// the masks of masked_layer, -1 for none, from row first_row on.
template <class Product, bool backward>
static __device__ __forceinline__ void sequence_product(Shared<Product> &s, float *dst, const float *src,
                                                        const Matrix<backward> &m, const float *bias_a,
                                                        const float *bias_b, int rows,
                                                        const Dropout &dropout, int masked_layer,
                                                        unsigned first_row) {
    constexpr int N = Product::GROUP, OWNED = Product::owned(N);
    int tid = threadIdx.x;
    bool dropping = masked_layer >= 0 && dropout.threshold > 0;
    unsigned mask_blocks = ((backward ? m.outputs : m.inputs) + 7) / 8;
    for (int j0 = 0; j0 < m.outputs; j0 += TILE) {
        for (int k0 = 0; k0 < m.inputs; k0 += TILE) {
            typename Product::Weights w;
            Product::load(w, m, tid, j0, k0);
            for (int m0 = 0; m0 < rows; m0 += ROWS) {
                int count = min(ROWS, rows - m0);
                __syncthreads();
                if (dropping) {
                    unsigned first = (first_row + m0) * mask_blocks + (backward ? j0 : k0) / 8;
                    for (int i = tid; i < ROWS * TILE / 8; i += Product::THREADS) {
                        s.keep[0][i] = keep_bits(dropout, masked_layer,
                                                 first + i / (TILE / 8) * mask_blocks + i % (TILE / 8));
                    }
                    __syncthreads();
                }
                for (int i = tid; i < ROWS * TILE; i += Product::THREADS) {
                    int row = i / TILE, column = i % TILE;
                    float v = 0;
                    if (row < count && k0 + column < m.inputs) {
                        v = src[(size_t)(m0 + row) * m.inputs + k0 + column];
                        if (!backward && dropping) v = masked(v, s.keep[row], column, dropout.scale);
                    }
                    s.vectors[row][column] = Product::round(v);
                }
                __syncthreads();
#pragma unroll 1
                for (int n0 = 0; n0 < count; n0 += N) {
                    typename Product::template Sum<N> sum;
                    float total[OWNED];
                    Product::accumulate(sum, w, s.vectors + n0, tid);
                    Product::finish(sum, total, tid);
#pragma unroll
                    for (int i = 0; i < OWNED; i++) {
                        int row = n0 + Product::template vector<N>(tid, i),
                            column = Product::template output<N>(tid, i), j = j0 + column;
                        if (row >= count || j >= m.outputs) continue;
                        float v = total[i];
                        if (backward && dropping) v = masked(v, s.keep[row], column, dropout.scale);
                        float *p = dst + (size_t)(m0 + row) * m.outputs + j;
                        if (k0 > 0) v += *p;
                        else if (!backward) v += bias_a[j] + bias_b[j];
                        *p = v;
                    }
                }
            }
        }
    }
    __syncthreads();
}

// advance turns the sum of a step into its result: forward into h; backward, given h, into da.
template <bool backward>
static __device__ __forceinline__ float advance(float sum, float h) {
    return backward ? sum * (1 - h * h) : tanhf(sum);
}

// recurrence runs the steps of a layer for S samples, with all of its recurrent weights; only count
// samples exist. Forward, seq [S][steps][hidden] holds the input's part of a and becomes h;
// backward, from the last step to the first, it holds dh and becomes da, given h.
template <class Product, int S, bool backward>
static __device__ __forceinline__ void recurrence(Shared<Product> &s, float *seq, const float *h,
                                                  const typename Product::Weights &w, int count, int steps,
                                                  int hidden) {
    constexpr int OWNED = Product::owned(S);
    int tid = threadIdx.x;
    for (int i = tid; i < 2 * S * Product::STRIDE; i += Product::THREADS) s.vectors[0][i] = 0;
    bool valid[OWNED];
    size_t at[OWNED];  // index in seq of this thread's element of the current step
    float start[OWNED], state[OWNED];
#pragma unroll
    for (int i = 0; i < OWNED; i++) {
        int sample = Product::template vector<S>(tid, i), j = Product::template output<S>(tid, i);
        valid[i] = sample < min(S, count) && j < hidden;
        at[i] = ((size_t)sample * steps + (backward ? steps - 1 : 0)) * hidden + j;
        start[i] = valid[i] ? seq[at[i]] : 0;
        state[i] = backward && valid[i] ? h[at[i]] : 0;
    }
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        auto now = s.vectors + step % 2 * S, next = s.vectors + (step + 1) % 2 * S;
        typename Product::template Sum<S> sum;
        float total[OWNED], next_start[OWNED], next_state[OWNED];
#pragma unroll
        for (int i = 0; i < OWNED; i++) {  // early, so that the product hides the latency
            size_t ahead = backward ? at[i] - hidden : at[i] + hidden;
            bool more = valid[i] && step + 1 < steps;
            next_start[i] = more ? seq[ahead] : 0;
            next_state[i] = backward && more ? h[ahead] : 0;
        }
        Product::accumulate(sum, w, now, tid);
        Product::finish(sum, total, tid);
#pragma unroll
        for (int i = 0; i < OWNED; i++) {
            if (valid[i]) {
                float v = advance<backward>(start[i] + total[i], state[i]);
                next[Product::template vector<S>(tid, i)][Product::template output<S>(tid, i)] =
                    Product::round(v);
                seq[at[i]] = v;
            }
            at[i] = backward ? at[i] - hidden : at[i] + hidden;
            start[i] = next_start[i], state[i] = next_state[i];
        }
        __syncthreads();
    }
}

// streamed_recurrence is recurrence for hidden > TILE: it reads the weights anew in every step.
template <class Product, bool backward>
static __device__ __forceinline__ void streamed_recurrence(Shared<Product> &s, float *seq, const float *h,
                                                           const Matrix<backward> &m, int count,
                                                           int steps) {
    constexpr int S = MAX_SAMPLES, OWNED = Product::owned(S);
    int tid = threadIdx.x, hidden = m.outputs;
    size_t stride = (size_t)steps * hidden;  // of samples
    for (int step = 0; step < steps; step++) {
        float *now = seq + (size_t)(backward ? steps - 1 - step : step) * hidden;
        const float *before = backward ? now + hidden : now - hidden;
        const float *state = backward ? h + (now - seq) : nullptr;
        for (int j0 = 0; j0 < hidden; j0 += TILE) {
            typename Product::template Sum<S> sum;
            float total[OWNED];
            for (int k0 = 0; step > 0 && k0 < hidden; k0 += TILE) {
                __syncthreads();
                for (int i = tid; i < S * TILE; i += Product::THREADS) {
                    int sample = i / TILE, k = i % TILE;
                    s.vectors[sample][k] = Product::round(
                        sample < count && k0 + k < hidden ? before[sample * stride + k0 + k] : 0);
                }
                typename Product::Weights w;
                Product::load(w, m, tid, j0, k0);
                __syncthreads();
                Product::accumulate(sum, w, s.vectors, tid);
            }
            Product::finish(sum, total, tid);
#pragma unroll
            for (int i = 0; i < OWNED; i++) {
                int sample = Product::template vector<S>(tid, i),
                    j = j0 + Product::template output<S>(tid, i);
                if (sample >= count || j >= hidden) continue;
                size_t at = sample * stride + j;
                now[at] = advance<backward>(now[at] + total[i], backward ? state[at] : 0);
            }
        }
        __syncthreads();
    }
}

// steps_of_layer runs the steps of a layer for a block of 1, 2, 4 or 8 samples; only count samples
// exist.
template <class Product, bool backward>
static __device__ __forceinline__ void steps_of_layer(Shared<Product> &s, float *seq, const float *h,
                                                      const float *weight_hh, int samples, int count,
                                                      int steps, int hidden) {
    Matrix<backward> m(weight_hh, hidden, hidden);
    if (hidden > TILE) {
        streamed_recurrence(s, seq, h, m, count, steps);
        return;
    }
    typename Product::Weights w;
    Product::load(w, m, threadIdx.x, 0, 0);
    switch (samples) {
    case 1: return recurrence<Product, 1, backward>(s, seq, h, w, count, steps, hidden);
    case 2: return recurrence<Product, 2, backward>(s, seq, h, w, count, steps, hidden);
    case 4: return recurrence<Product, 4, backward>(s, seq, h, w, count, steps, hidden);
    default: return recurrence<Product, 8, backward>(s, seq, h, w, count, steps, hidden);
    }
}

// layers_forward is a block of rnn_forward.
template <class Product>
static __device__ __forceinline__ void layers_forward(const RNNLayer *layers, const float *x, float *h,
                                                      float *y, const Dropout &dropout, int samples,
                                                      const Sizes &sizes) {
    __shared__ __align__(16) Shared<Product> s;
    int first = blockIdx.x * samples, count = min(samples, sizes.n - first), hidden = sizes.hidden;
    const float *src = x + (size_t)first * sizes.steps * sizes.in;
    float *dst = h + (size_t)first * sizes.steps * hidden;
    for (int l = 0; l < sizes.layers; l++) {
        const RNNLayer &layer = layers[l];
        Matrix<false> m(layer.weight_ih, hidden, l == 0 ? sizes.in : hidden);
        sequence_product(s, dst, src, m, layer.bias_ih, layer.bias_hh, count * sizes.steps, dropout, l - 1,
                         (unsigned)first * sizes.steps);
        steps_of_layer<Product, false>(s, dst, nullptr, layer.weight_hh, samples, count, sizes.steps,
                                       hidden);
        src = dst;
        dst += (size_t)sizes.n * sizes.steps * hidden;
    }
    for (int i = threadIdx.x; i < count * hidden; i += Product::THREADS) {
        int sample = i / hidden, j = i % hidden;
        y[(size_t)(first + sample) * hidden + j] =
            src[((size_t)(sample + 1) * sizes.steps - 1) * hidden + j];
    }
}

// layers_backward is a block of rnn_backward.
template <class Product>
static __device__ __forceinline__ void layers_backward(const RNNLayer *layers, const float *h,
                                                       const float *dy, float *da, float *dx,
                                                       const Dropout &dropout, int samples,
                                                       const Sizes &sizes) {
    __shared__ __align__(16) Shared<Product> s;
    int first = blockIdx.x * samples, count = min(samples, sizes.n - first), rows = count * sizes.steps,
        hidden = sizes.hidden;
    size_t layer_size = (size_t)sizes.n * sizes.steps * hidden;
    size_t at = (sizes.layers - 1) * layer_size +
                (size_t)first * sizes.steps * hidden;  // of the block's part of a layer
    for (int row = threadIdx.x / 32; row < rows; row += Product::THREADS / 32) {
        int sample = row / sizes.steps;
        bool last = row % sizes.steps == sizes.steps - 1;
        for (int j = threadIdx.x % 32; j < hidden; j += 32) {
            da[at + (size_t)row * hidden + j] = last ? dy[(size_t)(first + sample) * hidden + j] : 0;
        }
    }
    __syncthreads();
    for (int l = sizes.layers - 1; l >= 0; l--, at -= layer_size) {
        const RNNLayer &layer = layers[l];
        steps_of_layer<Product, true>(s, da + at, h + at, layer.weight_hh, samples, count, sizes.steps,
                                      hidden);
        Matrix<true> m(layer.weight_ih, l == 0 ? sizes.in : hidden, hidden);
        float *below = l == 0 ? dx + (size_t)first * sizes.steps * sizes.in : da + at - layer_size;
        sequence_product(s, below, da + at, m, nullptr, nullptr, rows, dropout, l - 1,
                         (unsigned)first * sizes.steps);
    }
}
