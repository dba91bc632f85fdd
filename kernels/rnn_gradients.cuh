// How the weight gradients of the RNN are divided among blocks, for the fp32 kernel and for the
// kernels on tensor cores.
//
//     dW_ih[l] = sum over rows m of da[l][m] in[l][m]^T
//     dW_hh[l] = sum over rows m of da[l][m] h[l][m-1]^T, without the first step of each sample
//     db_ih[l] = db_hh[l] = sum over rows m of da[l][m]
//
// A row m = sample * steps + step. A block computes one piece, TILE_I x TILE_K elements of one
// of these matrices, over a part of the rows. The sum goes to the part's slice of a scratch
// array, and rnn_gradients_sum adds the slices. A single part is written to the gradients directly.
#pragma once

#include "rnn.cuh"

constexpr int TILE_I = 128;  // hidden units: rows of the gradient
constexpr int TILE_K = 64;   // inputs: columns of the gradient
constexpr int GRADIENT_THREADS = 128;

struct Shape {
    int n, steps, in, hidden;
};

struct Piece {
    int layer;
    bool recurrent;  // of dW_hh, else of dW_ih
    int i0, k0;      // first row and column
};

// piece returns piece number index: layer by layer, dW_ih before dW_hh.
static __device__ __forceinline__ Piece piece(int index, int in, int hidden) {
    int down = (hidden + TILE_I - 1) / TILE_I, across = (hidden + TILE_K - 1) / TILE_K;
    int across_in = (in + TILE_K - 1) / TILE_K;
    int first = down * (across_in + across), others = 2 * down * across;
    Piece p;
    p.layer = index < first ? 0 : 1 + (index - first) / others;
    if (p.layer > 0) index = (index - first) % others, across_in = across;
    int column = index / down;
    p.recurrent = column >= across_in;
    p.i0 = index % down * TILE_I;
    p.k0 = (p.recurrent ? column - across_in : column) * TILE_K;
    return p;
}

// slice_offset returns where in a slice the gradients of a layer begin: dW_ih, dW_hh, then the bias.
static __device__ __forceinline__ size_t slice_offset(int layer, int in, int hidden) {
    if (layer == 0) return 0;
    return (size_t)hidden * (in + hidden + 1) + (size_t)(layer - 1) * hidden * (2 * hidden + 1);
}

// Target says where a piece's sums go.
struct Target {
    float *weight;  // [hidden][width]
    float *bias, *bias_too;
    int hidden, width;

    // put writes N elements of row i from column k on; N is 2 or 4 and k a multiple of it.
    template <int N>
    __device__ __forceinline__ void put(int i, int k, const float (&v)[N]) const {
        struct __align__(4 * N) Vector {
            float v[N];
        };
        if (i >= hidden) return;
        float *p = weight + (size_t)i * width + k;
        if (width % N == 0 && (size_t)weight % sizeof(Vector) == 0) {
            if (k < width) *(Vector *)p = *(const Vector *)v;
            return;
        }
#pragma unroll
        for (int c = 0; c < N; c++) {
            if (k + c < width) p[c] = v[c];
        }
    }
};

static __device__ __forceinline__ Target target(const RNNLayer *layers, float *parts, int layer_count,
                                                const Piece &p, int in, int hidden) {
    int width = p.layer == 0 ? in : hidden;
    Target t;
    t.hidden = hidden;
    t.width = p.recurrent ? hidden : width;
    if (gridDim.y == 1) {
        const RNNLayer &layer = layers[p.layer];
        t.weight = p.recurrent ? layer.dweight_hh : layer.dweight_ih;
        t.bias = layer.dbias_ih, t.bias_too = layer.dbias_hh;
        return t;
    }
    float *slice =
        parts + blockIdx.y * slice_offset(layer_count, in, hidden) + slice_offset(p.layer, in, hidden);
    t.weight = slice + (p.recurrent ? (size_t)hidden * width : 0);
    t.bias = t.bias_too = slice + (size_t)hidden * (width + hidden);
    return t;
}

// load4 returns p[0..3], zero from p[left] on; aligned says that p is a multiple of 16 bytes.
static __device__ __forceinline__ float4 load4(const float *p, int left, bool aligned) {
    float4 v = make_float4(0, 0, 0, 0);
    if (aligned && left >= 4) return *(const float4 *)p;
    if (left > 0) v.x = p[0];
    if (left > 1) v.y = p[1];
    if (left > 2) v.z = p[2];
    if (left > 3) v.w = p[3];
    return v;
}

// Operands are a thread's part of one row of the two factors of a piece.
struct Operands {
    float4 da[4];  // columns i0 + 4 (thread % 8) + 32 c
    float4 in[2];  // columns k0 + 8 (thread % 8) + 4 c, after dropout
};

// Source says where a piece's factors come from.
struct Source {
    const float *da, *in;  // rows, from columns i0 and k0 on
    int da_left, in_left;  // columns that exist from there on
    int in_width;
    bool da_aligned, in_aligned;
    int masked_layer;  // in is the output of this layer; -1 for no dropout
};

static __device__ __forceinline__ Source source(const float *x, const float *h, const float *da,
                                                const Piece &p, const Shape &shape, unsigned threshold) {
    size_t layer_size = (size_t)shape.n * shape.steps * shape.hidden;
    bool below = p.layer > 0 && !p.recurrent;
    Source s;
    s.in_width = p.layer == 0 && !p.recurrent ? shape.in : shape.hidden;
    s.in = p.recurrent ? h + p.layer * layer_size : below ? h + (p.layer - 1) * layer_size : x;
    s.in_aligned = s.in_width % 4 == 0 && (size_t)s.in % 16 == 0;
    s.in += p.k0;
    s.in_left = s.in_width - p.k0;
    s.da = da + p.layer * layer_size;
    s.da_aligned = shape.hidden % 4 == 0 && (size_t)s.da % 16 == 0;
    s.da += p.i0;
    s.da_left = shape.hidden - p.i0;
    s.masked_layer = below && threshold > 0 ? p.layer - 1 : -1;
    return s;
}

// load_operands reads this thread's part of row m, zero unless m < end.
static __device__ __forceinline__ void load_operands(Operands &o, const Source &s, const Piece &p,
                                                     const Shape &shape, const Dropout &dropout, int m,
                                                     int end) {
    int lane = threadIdx.x % 8;
    const float *da = s.da + (size_t)m * shape.hidden;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        int i = 4 * lane + 32 * c;
        o.da[c] = load4(da + i, m < end ? s.da_left - i : 0, s.da_aligned);
    }
    bool used = m < end && !(p.recurrent && m % shape.steps == 0);
    const float *in = s.in + ((ptrdiff_t)m - p.recurrent) * s.in_width + 8 * lane;
    o.in[0] = load4(in, used ? s.in_left - 8 * lane : 0, s.in_aligned);
    o.in[1] = load4(in + 4, used ? s.in_left - 8 * lane - 4 : 0, s.in_aligned);
    if (s.masked_layer < 0) return;
    unsigned blocks = (s.in_width + 7) / 8;
    unsigned bits = keep_bits(dropout, s.masked_layer, (unsigned)m * blocks + p.k0 / 8 + lane);
#pragma unroll
    for (int c = 0; c < 2; c++) {
        o.in[c].x = bits >> (4 * c) & 1 ? o.in[c].x * dropout.scale : 0;
        o.in[c].y = bits >> (4 * c + 1) & 1 ? o.in[c].y * dropout.scale : 0;
        o.in[c].z = bits >> (4 * c + 2) & 1 ? o.in[c].z * dropout.scale : 0;
        o.in[c].w = bits >> (4 * c + 3) & 1 ? o.in[c].w * dropout.scale : 0;
    }
}

// part_of_rows returns in begin and end the rows of this block's part. Parts are as equal as
// possible, and multiples of depth, except the last.
static __device__ __forceinline__ void part_of_rows(int rows, int depth, int &begin, int &end) {
    long long chunks = (rows + depth - 1) / depth;
    begin = (int)(chunks * blockIdx.y / gridDim.y) * depth;
    end = min(rows, (int)(chunks * (blockIdx.y + 1) / gridDim.y) * depth);
}
