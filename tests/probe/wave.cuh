// Empty waves: the RNN's wavefront (kernels/rnn_wavefront.cuh) without its products. In a chain of
// LAYERS blocks, each passes WIDTH words per step to the next; the ways of doing so differ.
//
// In step t, thread i < WIDTH of block l computes, modulo 2^32,
//     h_l(t)[i] = 31 h_l(t-1)[(i+33) % WIDTH] + h_{l-1}(t)[(i+65) % WIDTH],
//     h_l(-1) = 0,  h_{-1}(t)[i] = seed + WIDTH t + i,
// and h_{LAYERS-1}(steps-1) is the result. Each step multiplies the earlier ones by 31, so a vector
// that is lost, stale, early or out of order changes it. Each word comes from another warp.
//
// "SASS" above a kernel lists the machine instructions of a wave's hand-over, by ptxas 12.9, the same
// on sm_90, 100 and 120. MEMBAR.ALL.GPU is a round trip to the L2 cache; CCTL.IVALL empties the L1.
#pragma once

constexpr int LAYERS = 5, THREADS = 512;
constexpr int WIDTH = 3 * 128;  // three samples of 128 hidden units
constexpr int SLOTS = 4;        // vectors that a block may be ahead of the next one

// After this many tries in vain, a wait ends the kernel: a lost hand-over is an error, not a hang.
constexpr unsigned PATIENCE = 1 << 20;

static __device__ __forceinline__ unsigned input(unsigned seed, int t, int i) { return seed + WIDTH * t + i; }

static __device__ __forceinline__ unsigned next(const unsigned *own, unsigned in, int i) {
    return 31 * own[(i + 33) % WIDTH] + in;
}

static __device__ __forceinline__ int from(int i) { return (i + 65) % WIDTH; }

// Ballast takes registers like the RNN's weights, so that a multiprocessor holds one block, as with
// the RNN. The compiler cannot know that they are never stored.
struct Ballast {
    unsigned word[64];

    __device__ __forceinline__ void load(const volatile unsigned *from) {
#pragma unroll
        for (int k = 0; k < 64; k++) word[k] = from[k];
    }
    __device__ __forceinline__ void store(volatile unsigned *to, int steps) const {
        if (steps >= 0) return;
#pragma unroll
        for (int k = 0; k < 64; k++) to[k] = word[k];
    }
};

// chain is a block of a chain linked by Way. Step t uses slot t % SLOTS. In way,
//   arrived(t)         returns when the block's input of step t has arrived
//   in(t)              is that input
//   room(t)            returns when the next block has read the slot's earlier content
//   hand(t, i, value)  sends word i to the next block
//   handed(t)          is called after a barrier of the block: the whole vector has been sent
//   read(t)            is called after the same barrier: the block has read its input
template <class Way>
static __device__ __forceinline__ void chain(Way &way, unsigned (&own)[SLOTS][WIDTH], int l, unsigned *out,
                                             unsigned seed, int steps) {
    const int i = threadIdx.x;
    const bool owner = i < WIDTH, first = l == 0, last = l == LAYERS - 1;
    Ballast ballast;
    ballast.load(out);
    if (owner) own[SLOTS - 1][i] = 0;
    __syncthreads();
    for (int t = 0; t < steps; t++) {
        if (!first) way.arrived(t);
        unsigned value = 0;
        if (owner) {
            unsigned in = first ? input(seed, t, from(i)) : way.in(t)[from(i)];
            value = next(own[(t + SLOTS - 1) % SLOTS], in, i);
        }
        if (!last) way.room(t);
        if (owner) {
            own[t % SLOTS][i] = value;
            if (!last) way.hand(t, i, value);
            if (last && t == steps - 1) out[i] = value;
        }
        __syncthreads();
        if (!last) way.handed(t);
        if (!first) way.read(t);
    }
    ballast.store(out, steps);
}
