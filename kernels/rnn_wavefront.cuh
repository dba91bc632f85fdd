// The RNN (rnn.cuh) as a wavefront on clusters of thread blocks (sm_90 on), for in and hidden <=
// TILE, with one of the products of rnn_product.cuh.
//
// A cluster takes SAMPLES samples; each of its blocks computes one layer. The weights stay in
// registers. In wave w, layer l computes step w - l, and hands the result on through the
// shared memory of the next layer's block. A barrier of the cluster ends each wave; nothing
// waits on global memory, so a cluster never waits for another one and cannot hang.
#pragma once

#include <cooperative_groups.h>

#include "rnn_product.cuh"

constexpr int SAMPLES = 3;

// The vectors of a wave are written in one wave and read in the next, so there are two of each.
template <class Product>
struct Shared {
    using Vectors = typename Product::Element[SAMPLES][Product::STRIDE];
    Vectors own[2];              // the layer's h of the step before; backward, its da of the step after
    Vectors in[2];               // forward, the layer's input
    float dh[2][SAMPLES][TILE];  // backward, the derivative by h from the layer above
    unsigned char keep[3][SAMPLES][TILE / 8];  // [wave % 3]: keep_bits of what is handed on
};

template <class Product>
static __device__ __forceinline__ void clear(Shared<Product> &s) {
    for (int i = threadIdx.x; i < 2 * SAMPLES * Product::STRIDE; i += blockDim.x)
        s.own[0][0][i] = s.in[0][0][i] = 0;
}

// make_masks writes the masks of a layer's output at step t of the block's samples.
static __device__ __forceinline__ void make_masks(unsigned char (*to)[TILE / 8], const Dropout &dropout,
                                                  int layer, int first, int t, const Sizes &sizes) {
    int s = threadIdx.x / (TILE / 8), block = threadIdx.x % (TILE / 8);
    if (dropout.threshold == 0 || s >= SAMPLES || t < 0 || t >= sizes.steps) return;
    unsigned row = (unsigned)(first + s) * sizes.steps + t;
    to[s][block] = keep_bits(dropout, layer, row * ((sizes.hidden + 7) / 8) + block);
}

// wavefront_forward is a block of rnn_forward with Product::THREADS threads.
template <class Product>
static __device__ __forceinline__ void wavefront_forward(const RNNLayer *layers, const float *x, float *h,
                                                         float *y, const Dropout &dropout,
                                                         const Sizes &sizes) {
    constexpr int OWNED = Product::owned(SAMPLES),
                  FETCHED = (SAMPLES * TILE + Product::THREADS - 1) / Product::THREADS;
    __shared__ __align__(16) Shared<Product> s;
    auto cluster = cooperative_groups::this_cluster();
    const int l = cluster.block_rank(), tid = threadIdx.x, hidden = sizes.hidden;
    const int first = blockIdx.x / sizes.layers * SAMPLES;
    const RNNLayer &layer = layers[l];
    Shared<Product> *above = l + 1 < sizes.layers ? cluster.map_shared_rank(&s, l + 1) : nullptr;

    typename Product::Weights w_in, w_hidden;
    Product::load(w_in, Matrix<false>(layer.weight_ih, hidden, l == 0 ? sizes.in : hidden), tid, 0, 0);
    Product::load(w_hidden, Matrix<false>(layer.weight_hh, hidden, hidden), tid, 0, 0);
    float bias[OWNED];
    bool owner[OWNED];
    size_t base[OWNED];  // index of a thread's element at step 0 in h
#pragma unroll
    for (int i = 0; i < OWNED; i++) {
        int sample = Product::template vector<SAMPLES>(tid, i),
            j = Product::template output<SAMPLES>(tid, i);
        owner[i] = sample < min(SAMPLES, sizes.n - first) && j < hidden;
        bias[i] = j < hidden ? layer.bias_ih[j] + layer.bias_hh[j] : 0;
        base[i] = ((size_t)l * sizes.n + first + sample) * sizes.steps * hidden + j;
    }
    clear(s);
    __syncthreads();

    // Layer 0 fetches the network's input: element e of a step is input e % TILE of sample e / TILE.
    auto fetch = [&](float (&to)[FETCHED], int t) {
#pragma unroll
        for (int i = 0; i < FETCHED; i++) {
            int e = tid + i * Product::THREADS, sample = e / TILE, k = e % TILE;
            bool exists = sample < min(SAMPLES, sizes.n - first) && k < sizes.in && t < sizes.steps;
            to[i] = exists ? x[((size_t)(first + sample) * sizes.steps + t) * sizes.in + k] : 0;
        }
    };
    auto place = [&](const float (&from)[FETCHED], int parity) {
#pragma unroll
        for (int i = 0; i < FETCHED; i++) {
            int e = tid + i * Product::THREADS;
            if (e < SAMPLES * TILE) s.in[parity][e / TILE][e % TILE] = Product::round(from[i]);
        }
    };
    float fetched[FETCHED];
    if (l == 0) {
        fetch(fetched, 0);
        place(fetched, 0);
    }
    if (above) {
        make_masks(s.keep[0], dropout, l, first, 0 - l, sizes);
        make_masks(s.keep[1], dropout, l, first, 1 - l, sizes);
    }
    cluster.sync();

    for (int wave = 0; wave < sizes.steps + sizes.layers - 1; wave++) {
        const int t = wave - l, now = wave % 2, next = 1 - now;
        const bool active = t >= 0 && t < sizes.steps;
        float value[OWNED];
        if (l == 0) fetch(fetched, t + 1);
        if (active) {
            typename Product::template Sum<SAMPLES> sum;
            Product::accumulate(sum, w_in, s.in[now], tid);
            Product::accumulate(sum, w_hidden, s.own[now], tid);
            Product::finish(sum, value, tid);
#pragma unroll
            for (int i = 0; i < OWNED; i++) {
                if (!owner[i]) continue;
                int sample = Product::template vector<SAMPLES>(tid, i),
                    j = Product::template output<SAMPLES>(tid, i);
                value[i] = tanhf(value[i] + bias[i]);
                s.own[next][sample][j] = Product::round(value[i]);
                if (above) {
                    float kept = dropout.threshold == 0
                                     ? value[i]
                                     : masked(value[i], s.keep[wave % 3][sample], j, dropout.scale);
                    above->in[next][sample][j] = Product::round(kept);
                }
            }
        }
        if (l == 0) place(fetched, next);
        // What the next wave does not need is done while the others come to the barrier.
        cluster.barrier_arrive();
#pragma unroll
        for (int i = 0; i < OWNED; i++) {
            if (!active || !owner[i]) continue;
            h[base[i] + (size_t)t * hidden] = value[i];
            if (!above && t == sizes.steps - 1) {
                y[(size_t)(first + Product::template vector<SAMPLES>(tid, i)) * hidden +
                  Product::template output<SAMPLES>(tid, i)] = value[i];
            }
        }
        if (above) make_masks(s.keep[(wave + 2) % 3], dropout, l, first, t + 2, sizes);
        cluster.barrier_wait();
    }
}

// BackwardPart is a thread's part of one of the two products of a layer backward.
template <class Product>
struct BackwardPart {
    static constexpr int OWNED = Product::owned(SAMPLES);
    bool recurrent;  // W_hh^T da, from which da of the step before follows; else W_ih^T da
    typename Product::Weights w;
    bool owner[OWNED];
    size_t base[OWNED];  // index of a thread's element at step 0 in da, or dx
    float state[OWNED];  // recurrent: h at step t
    float value[OWNED];
};

// wavefront_backward is a block of rnn_backward. In wave w, layer l is at step
// t = steps - 1 - (w - 2 (layers - 1 - l)), and its da[t+1] is known. It computes W_hh^T da[t+1], and
// from that da[t]; and W_ih^T da[t+1], which it hands on to the layer below, or writes as dx[t+1].
// PARTS is 1 if each product has Product::THREADS threads of its own, 2 if they share the threads.
template <class Product, int PARTS>
static __device__ __forceinline__ void wavefront_backward(const RNNLayer *layers, const float *h,
                                                          const float *dy, float *da, float *dx,
                                                          const Dropout &dropout, const Sizes &sizes) {
    constexpr int OWNED = Product::owned(SAMPLES);
    __shared__ __align__(16) Shared<Product> s;
    auto cluster = cooperative_groups::this_cluster();
    const int l = cluster.block_rank(), tid = threadIdx.x % Product::THREADS, hidden = sizes.hidden;
    const int first = blockIdx.x / sizes.layers * SAMPLES, lag = 2 * (sizes.layers - 1 - l),
              last = sizes.steps - 1;
    const bool top = l == sizes.layers - 1;
    const RNNLayer &layer = layers[l];
    Shared<Product> *below = l > 0 ? cluster.map_shared_rank(&s, l - 1) : nullptr;

    BackwardPart<Product> parts[PARTS];
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        BackwardPart<Product> &p = parts[i];
        p.recurrent = PARTS == 2 ? i == 0 : threadIdx.x < Product::THREADS;
        const int outputs = p.recurrent || below ? hidden : sizes.in;
        Product::load(p.w, Matrix<true>(p.recurrent ? layer.weight_hh : layer.weight_ih, outputs, hidden),
                      tid, 0, 0);
#pragma unroll
        for (int o = 0; o < OWNED; o++) {
            int sample = Product::template vector<SAMPLES>(tid, o),
                j = Product::template output<SAMPLES>(tid, o);
            p.owner[o] = sample < min(SAMPLES, sizes.n - first) && j < outputs;
            p.base[o] =
                ((size_t)(p.recurrent ? l * sizes.n : 0) + first + sample) * sizes.steps * outputs + j;
            p.state[o] = p.owner[o] && p.recurrent ? h[p.base[o] + (size_t)last * hidden] : 0;
        }
    }
    clear(s);
    for (int i = threadIdx.x; top && i < SAMPLES * TILE; i += blockDim.x) {
        int sample = i / TILE, j = i % TILE;
        bool exists = sample < sizes.n - first && j < hidden;
        s.dh[0][sample][j] = exists ? dy[(size_t)(first + sample) * hidden + j] : 0;  // of wave 0 only
    }
    if (below) {
        make_masks(s.keep[0], dropout, l - 1, first, last + 1 + lag, sizes);
        make_masks(s.keep[1], dropout, l - 1, first, last + lag, sizes);
    }
    cluster.sync();

    for (int wave = 0; wave < sizes.steps + 2 * sizes.layers - 1; wave++) {
        const int t = last - (wave - lag), now = wave % 2, next = 1 - now;
        const bool busy = t >= -1 && t <= last;
        if (busy) {
#pragma unroll
            for (int i = 0; i < PARTS; i++) {
                typename Product::template Sum<SAMPLES> sum;
                Product::accumulate(sum, parts[i].w, s.own[now], tid);
                Product::finish(sum, parts[i].value, tid);
            }
#pragma unroll
            for (int i = 0; i < PARTS; i++) {
                BackwardPart<Product> &p = parts[i];
#pragma unroll
                for (int o = 0; o < OWNED; o++) {
                    int sample = Product::template vector<SAMPLES>(tid, o),
                        j = Product::template output<SAMPLES>(tid, o);
                    float &value = p.value[o];
                    if (!p.owner[o]) continue;
                    if (p.recurrent && t >= 0) {
                        float dh = top && t < last ? 0 : s.dh[now][sample][j];
                        value = (dh + value) * (1 - p.state[o] * p.state[o]);
                        s.own[next][sample][j] = Product::round(value);
                    } else if (!p.recurrent && below && t < last) {
                        if (dropout.threshold > 0)
                            value = masked(value, s.keep[wave % 3][sample], j, dropout.scale);
                        below->dh[next][sample][j] = value;
                    }
                }
            }
        }
        // What the next wave does not need is done while the others come to the barrier.
        cluster.barrier_arrive();
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            BackwardPart<Product> &p = parts[i];
#pragma unroll
            for (int o = 0; o < OWNED; o++) {
                if (!busy || !p.owner[o]) continue;
                if (p.recurrent && t >= 0) {
                    da[p.base[o] + (size_t)t * hidden] = p.value[o];
                    if (t > 0) p.state[o] = h[p.base[o] + (size_t)(t - 1) * hidden];
                } else if (!p.recurrent && !below && t < last) {
                    dx[p.base[o] + (size_t)(t + 1) * sizes.in] = p.value[o];
                }
            }
        }
        if (below) make_masks(s.keep[(wave + 2) % 3], dropout, l - 1, first, t - 1, sizes);
        cluster.barrier_wait();
    }
}
