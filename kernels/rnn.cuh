// What the kernels of the RNN share: the table of layers, dropout masks, weight matrices.
//
// The network is the tanh RNN of several layers of model/backend.go:
//
//     a[l,b,t] = W_ih[l] in[l,b,t] + b_ih[l] + W_hh[l] h[l,b,t-1] + b_hh[l],   h[l,b,t] = tanh(a[l,b,t])
//     in[0] = x,   in[l] = h[l-1] * mask[l-1] * scale
//
// and backward, with d for the derivative of the loss,
//
//     da[l,b,t] = (dh[l,b,t] + W_hh[l]^T da[l,b,t+1]) * (1 - h[l,b,t]^2)
//     dh[l-1] = (W_ih[l]^T da[l]) * mask[l-1] * scale,   dx = W_ih[0]^T da[0]
//     dh of the last layer = dy at the last step, 0 before
//
// Sequences are [n,steps,width]; h and da [layers,n,steps,hidden]. Masks are never stored, but
// computed from Philox wherever they are needed.
#pragma once

#include "philox.cuh"
#include "step.cuh"

// Device addresses of one layer's parameters and gradients. in, the width of the layer's input,
// is the network's for layer 0, and hidden for all others.
struct RNNLayer {
    const float *weight_ih, *weight_hh, *bias_ih,
        *bias_hh;  // [hidden,in], [hidden,hidden], [hidden], [hidden]
    float *dweight_ih, *dweight_hh, *dbias_ih, *dbias_hh;
};

struct Sizes {
    int n, steps, in, hidden, layers;
};

// Dropout holds what determines the masks of a training step. Threshold 0 means no dropout.
struct Dropout {
    unsigned long long seed, step;
    unsigned threshold;  // an element is dropped if its 16-bit word is below it
    float scale;         // of the elements that are kept
    unsigned first;      // number of the first sample's first Philox block
};

static __device__ __forceinline__ Dropout dropout_of(const Step *step, unsigned long long seed, unsigned threshold,
                                                     float scale) {
    return {seed, step->dropout_step, threshold, scale, step->dropout_first};
}

// keep_bits returns eight elements of the mask of a layer's output: bit i is set if element
// 8 c + i of a row is kept. row is sample * steps + step, counted from the first sample here, and
// index is row * ceil(hidden/8) + c.
static __device__ __forceinline__ unsigned keep_bits(const Dropout &dropout, int layer, unsigned index) {
    uint4 random = philox(dropout.seed, DROPOUT | (unsigned)layer << 8, dropout.step, dropout.first + index);
    unsigned words[4] = {random.x, random.y, random.z, random.w};
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        bits |= (unsigned)((words[i] & 0xffff) >= dropout.threshold) << (2 * i);
        bits |= (unsigned)((words[i] >> 16) >= dropout.threshold) << (2 * i + 1);
    }
    return bits;
}

// masked returns v after dropout, given the keep_bits of its row.
static __device__ __forceinline__ float masked(float v, const unsigned char *bits, int column,
                                               float scale) {
    return bits[column / 8] >> column % 8 & 1 ? v * scale : 0;
}

// Matrix is a weight matrix W that maps inputs to outputs: forward it is W [outputs][inputs];
// backward it is transposed, W [inputs][outputs]. Outside of W all weights are zero.
template <bool transposed>
struct Matrix {
    const float *w;
    int outputs, inputs;

    __device__ __forceinline__ Matrix(const float *w, int outputs, int inputs)
        : w(w), outputs(outputs), inputs(inputs) {
    }

    // aligned says that four numbers at a multiple of 4 in a row of W can be read at once.
    __device__ __forceinline__ bool aligned() const {
        return (transposed ? outputs : inputs) % 4 == 0 && (size_t)w % 16 == 0;
    }

    // along4 returns four numbers of a row of W: of output j for inputs k to k+3, or, transposed, of
    // outputs j to j+3 for input k. The first is at a multiple of 4.
    template <bool aligned>
    __device__ __forceinline__ float4 along4(int j, int k) const {
        int row = transposed ? k : j, column = transposed ? j : k, width = transposed ? outputs : inputs;
        int left = row < (transposed ? inputs : outputs) ? width - column : 0;
        const float *p = w + ((size_t)row * width + column);
        float4 v = make_float4(0, 0, 0, 0);
        if (aligned) {
            if (left > 0) v = *(const float4 *)p;
            return v;
        }
        if (left > 0) v.x = p[0];
        if (left > 1) v.y = p[1];
        if (left > 2) v.z = p[2];
        if (left > 3) v.w = p[3];
        return v;
    }

    // inputs4 returns the weights of output j for inputs k to k+3, k a multiple of 4.
    template <bool aligned>
    __device__ __forceinline__ float4 inputs4(int j, int k) const {
        if (!transposed) return along4<aligned>(j, k);
        int left = j < outputs ? inputs - k : 0;
        const float *p = w + ((size_t)k * outputs + j);
        float4 v = make_float4(0, 0, 0, 0);
        if (left > 0) v.x = p[0];
        if (left > 1) v.y = p[outputs];
        if (left > 2) v.z = p[2 * (size_t)outputs];
        if (left > 3) v.w = p[3 * (size_t)outputs];
        return v;
    }
};
