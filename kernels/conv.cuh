// The convolutions as tiled matrix products (tile.cuh), in every arithmetic. P is the im2col matrix
// of an array x [n,C,H,W]; only its current tile ever exists:
//
//     P[(c,u,v), (b,i,j)] = x[b,c,i+u-p,j+v-p]      (0 outside, p = (kernel-1)/2)
//
//     z       = weight P(x)        [out, n H W]          weight as [out, in kernel^2]
//     dx      = turned P(dz)       [in, n H W]           turned[c,(o,u,v)] = weight[o,c,kernel-1-u,kernel-1-v]
//     dweight = dz P(x)^T          [out, in kernel^2]    dz as [out, n H W]
//
// Columns of P are the pixels of all samples, (b H + i) W + j, so a tile may begin in one sample
// and end in another. Every array has less than 2^31 elements.
#pragma once

#include "moments.cuh"
#include "tile.cuh"

static_assert(BN == TILE_PIXELS, "moments are those of a tile's columns");

// load_if returns *p if that exists, otherwise 0 without reading. The compiler would turn
// `exists ? *p : 0` into a branch, and the assembler that into a chain of addresses and loads under
// one predicate, each waiting for the one before. With predicated loads, the addresses of all can be
// computed in parallel; volatile keeps the loads in the order of the program.
static __device__ __forceinline__ float load_if(bool exists, const float *p) {
    float v;
    asm volatile("{ .reg .pred q; setp.ne.u32 q, %2, 0; mov.f32 %0, 0f00000000; @q ld.global.f32 %0, [%1]; }"
                 : "=f"(v) : "l"(p), "r"((unsigned)exists));
    return v;
}

// A place is a pixel's row and column in 16 bits each, both counted from 2^14: row and column stay
// apart when a tap's place, which may be negative, is added. Rows and columns are below 2^13.
constexpr int ORIGIN = 0x40004000;
constexpr int OUTSIDE = -(0x2000 << 16);  // added to a place, it leaves every image

// inside says whether a place is in an image. In either half, bit 14 of place is set if the
// coordinate is not negative, and bit 14 of limit - place if it is not beyond the last.
static __device__ __forceinline__ bool inside(int place, int height, int width) {
    unsigned limit = 0x80008000u + ((height - 1) << 16) + (width - 1);
    return (~(place & (limit - place)) & 0x40004000u) == 0;
}

// Tap describes row (c,u,v) of P: where its elements' pixels lie relative to pixel (b,0,i,j). A
// table of taps spares every element three divisions. After the last come 80 more that are OUTSIDE,
// since the tiles' depths and columns are rounded up.
struct __align__(16) Tap {
    int offset;   // (c H + u-p) W + v-p
    int place;    // (u-p << 16) + v-p
    int channel;  // c
};

// Pixel describes column (b,i,j) of P.
struct Pixel {
    int from;   // (b C H + i) W + j: its index in x
    int to;     // (b M H + i) W + j: its index in a product of M channels
    int place;  // of (i,j), OUTSIDE beyond the last sample
};

// Along is an operand, SIZE rows of A or columns of B, that lies in memory along the depth. Eight
// threads read eight words of a row (a sector of 32 bytes), the block STRIDE rows at once.
template <class Math, int SIZE, int PITCH> struct Along {
    static constexpr int STRIDE = THREADS / ROWS;
    static constexpr int COUNT = SIZE / STRIDE;
    float v[COUNT][Math::PACK];

    static __device__ __forceinline__ int row() { return threadIdx.x / 128 * 4 + threadIdx.x % 32 / 8; }
    static __device__ __forceinline__ int word() { return threadIdx.x / 32 % 4 * 8 + threadIdx.x % 8; }
    static __device__ __forceinline__ int offset() { return word() * Math::PACK; }

    __device__ __forceinline__ void store(typename Math::Word (*to)[PITCH]) {
#pragma unroll
        for (int r = 0; r < COUNT; r++) to[word()][row() + r * STRIDE] = Math::word(v[r]);
    }
};

template <class Math, int BM> using AlongA = Along<Math, BM, BM + 8>;
template <class Math> using AlongB = Along<Math, BN, B_PITCH>;

// Weights are rows m0 ... of weight [out, depth], as A.
template <class Math, int BM> struct Weights : AlongA<Math, BM> {
    using Base = AlongA<Math, BM>;
    const float *weight;
    int depth, first, rows;  // start of the thread's first row, and the rows from it to the last

    __device__ __forceinline__ Weights(const float *weight, int m0, int out, int depth)
        : weight(weight), depth(depth), first((m0 + Base::row()) * depth), rows(out - m0 - Base::row()) {}

    __device__ __forceinline__ void load(int k, int) {
#pragma unroll
        for (int e = 0; e < Math::PACK; e++) {
            int at = k + Base::offset() + e;
            bool exists = at < depth;
#pragma unroll
            for (int r = 0; r < Base::COUNT; r++)
                this->v[r][e] = load_if(exists & r * Base::STRIDE < rows,
                                        weight + (first + at + r * Base::STRIDE * depth));
        }
    }
};

// Turned are rows m0 ... of turned [in, out kernel^2], as A.
template <class Math, int BM> struct Turned : AlongA<Math, BM> {
    using Base = AlongA<Math, BM>;
    const float *weight;
    const Tap *taps;
    int in, area, first, rows;  // end of the thread's first row for o = 0, and the rows from it to the last

    __device__ __forceinline__ Turned(const float *weight, const Tap *taps, int m0, int in, int area)
        : weight(weight), taps(taps), in(in), area(area), first((m0 + Base::row() + 1) * area - 1),
          rows(in - m0 - Base::row()) {}

    __device__ __forceinline__ void load(int k, int end) {
#pragma unroll
        for (int e = 0; e < Math::PACK; e++) {
            int tap = k + Base::offset() + e;
            bool exists = tap < end;
            // A step beyond the end would leave the table.
            int at = first + taps[min(tap, end)].channel * (in + 1) * area - tap;
#pragma unroll
            for (int r = 0; r < Base::COUNT; r++)
                this->v[r][e] = load_if(exists & r * Base::STRIDE < rows, weight + (at + r * Base::STRIDE * area));
        }
    }
};

// Patches are columns of P, as B. Sixteen threads read sixteen neighbouring pixels; a thread keeps its
// five pixels and takes two rows of P in every step (four for bf16). The taps are fetched one step
// ahead; otherwise each step would wait for its taps before it could request its pixels.
template <class Math> struct Patches {
    static constexpr bool LOADS_PAST_END = true;
    static constexpr int COUNT = BN / 16;
    static constexpr int PASSES = ROWS / 16;
    const float *x;
    const Tap *taps;
    int height, width;
    int from[COUNT], place[COUNT];
    int offset[PASSES][Math::PACK], shift[PASSES][Math::PACK];  // offset and place of the next taps
    float v[PASSES][COUNT][Math::PACK];

    __device__ __forceinline__ Patches(const Pixel (&pixels)[BN], const float *x, const Tap *taps, int height,
                                       int width)
        : x(x), taps(taps), height(height), width(width) {
#pragma unroll
        for (int c = 0; c < COUNT; c++) {
            Pixel p = pixels[threadIdx.x % 16 + 16 * c];
            from[c] = p.from;
            place[c] = p.place;
        }
        fetch_taps(0);
    }

    // row returns the thread's row of shared memory in a pass. The two rows of a warp are two
    // apart: 176 words, 16 modulo the 32 banks, so that their 2 x 16 pixels meet different banks.
    static __device__ __forceinline__ int row(int pass) {
        int warp = threadIdx.x / 32, half = threadIdx.x / 16 % 2;
        return pass * 16 + warp / 2 * 4 + warp % 2 + half * 2;
    }

    __device__ __forceinline__ void fetch_taps(int k) {
#pragma unroll
        for (int pass = 0; pass < PASSES; pass++)
#pragma unroll
            for (int e = 0; e < Math::PACK; e++) {
                Tap tap = taps[k + row(pass) * Math::PACK + e];
                offset[pass][e] = tap.offset;
                shift[pass][e] = tap.place;
            }
    }

    // load takes the steps in order, since it fetches the taps of the next one. Taps from end on are OUTSIDE.
    __device__ __forceinline__ void load(int k, int end) {
#pragma unroll
        for (int pass = 0; pass < PASSES; pass++)
#pragma unroll
            for (int e = 0; e < Math::PACK; e++)
#pragma unroll
                for (int c = 0; c < COUNT; c++)
                    v[pass][c][e] = load_if(inside(place[c] + shift[pass][e], height, width),
                                            x + (from[c] + offset[pass][e]));
        fetch_taps(min(k + Math::DEPTH, end));
    }

    __device__ __forceinline__ void store(typename Math::Word (*to)[B_PITCH]) {
#pragma unroll
        for (int pass = 0; pass < PASSES; pass++)
#pragma unroll
            for (int c = 0; c < COUNT; c++) to[row(pass)][threadIdx.x % 16 + 16 * c] = Math::word(v[pass][c]);
    }
};

// Walk goes over the pixels of all samples in steps of Math::DEPTH, for products whose depth is the
// pixels. It stands at the thread's first pixel of a step. For bf16 the second pixel is the right
// neighbour: the width and all bounds must be even.
template <class Math> struct Walk {
    int p, b, i, j;

    // load is load_if. For bf16 the compiler's branch is faster: one test and one address serve two
    // neighbours of dz.
    static __device__ __forceinline__ float load(bool exists, const float *p) {
        if (Math::PACK == 1) return load_if(exists, p);
        return exists ? *p : 0.0f;
    }

    __device__ __forceinline__ Walk(int p0, int height, int width) {
        p = p0 + AlongB<Math>::offset();
        b = p / (height * width);
        i = p / width % height;
        j = p % width;
    }

    __device__ __forceinline__ void advance(int height, int width, int rows, int columns) {
        p += Math::DEPTH;
        i += rows;
        j += columns;
        if (j >= width) j -= width, i++;
        while (i >= height) i -= height, b++;
    }
};

// Gradients are rows m0 ... of dz as [out, n H W], as A, and TransposedPatches columns k0 ... of P^T,
// as B: a thread keeps its rows of dz and of P and goes from pixel to pixel.
template <class Math, int BM> struct Gradients : AlongA<Math, BM> {
    using Base = AlongA<Math, BM>;
    const float *dz;
    const Walk<Math> &at;
    int out, height, width, m;  // the thread's first row

    __device__ __forceinline__ Gradients(const float *dz, const Walk<Math> &at, int m0, int out, int height, int width)
        : dz(dz), at(at), out(out), height(height), width(width), m(m0 + Base::row()) {}

    __device__ __forceinline__ void load(int, int end) {
        int first = ((at.b * out + m) * height + at.i) * width + at.j;
        bool exists = at.p < end;
#pragma unroll
        for (int r = 0; r < Base::COUNT; r++)
#pragma unroll
            for (int e = 0; e < Math::PACK; e++)
                this->v[r][e] = Walk<Math>::load(exists & m + r * Base::STRIDE < out,
                                                 dz + (first + r * Base::STRIDE * height * width + e));
    }
};

template <class Math> struct TransposedPatches : AlongB<Math> {
    using Base = AlongB<Math>;
    static constexpr bool LOADS_PAST_END = false;
    const float *x;
    Walk<Math> &at;
    int channels, height, width;
    int rows, columns;  // Math::DEPTH pixels as rows, and columns of another
    int offset[Base::COUNT], place[Base::COUNT];

    __device__ __forceinline__ TransposedPatches(const float *x, const Tap *taps, int k0, Walk<Math> &at, int channels,
                                                 int height, int width)
        : x(x), at(at), channels(channels), height(height), width(width), rows(Math::DEPTH / width),
          columns(Math::DEPTH % width) {
#pragma unroll
        for (int c = 0; c < Base::COUNT; c++) {
            Tap tap = taps[k0 + Base::row() + c * Base::STRIDE];
            offset[c] = tap.offset;
            place[c] = tap.place;
        }
    }

    // load also advances the walk, so it comes after Gradients::load.
    __device__ __forceinline__ void load(int, int end) {
        int first = (at.b * channels * height + at.i) * width + at.j;
        int here = ORIGIN + (at.i << 16) + at.j + (at.p < end ? 0 : OUTSIDE);
#pragma unroll
        for (int c = 0; c < Base::COUNT; c++)
#pragma unroll
            for (int e = 0; e < Math::PACK; e++)
                this->v[c][e] = Walk<Math>::load(inside(here + e + place[c], height, width),
                                                 x + (first + e + offset[c]));
        at.advance(height, width, rows, columns);
    }
};

// describe_pixels describes the columns p0 ... of P of x [n,C,H,W], for a product [M, n H W].
static __device__ __forceinline__ void describe_pixels(Pixel (&pixels)[BN], int p0, int n, int C, int M, int height,
                                                       int width) {
    if (threadIdx.x < BN) {
        int size = height * width, p = p0 + threadIdx.x, b = p / size, pixel = p % size;
        int place = ORIGIN + (pixel / width << 16) + pixel % width + (b < n ? 0 : OUTSIDE);
        pixels[threadIdx.x] = {b * C * size + pixel, b * M * size + pixel, place};
    }
    __syncthreads();
}

// eighth_sum returns the sum over the eight threads whose numbers differ in the lowest three bits.
static __device__ __forceinline__ float eighth_sum(float v) {
#pragma unroll
    for (int lane = 4; lane > 0; lane /= 2) v += __shfl_xor_sync(~0u, v, lane);
    return v;
}

// write_pixels writes tile c to rows m0 ... and columns p0 ... of an array [n,channels,H,W], and adds
// each channel's bias unless bias is null. Eight threads take a row: sectors of 32 bytes, and three
// shuffles per sum. With MOMENTS it also writes the moments [channels,tiles].
template <bool MOMENTS, int BM>
static __device__ __forceinline__ void write_pixels(const float (&c)[BM][BN], const Pixel (&pixels)[BN],
                                                    const float *bias, float *array, Moments *moments, int m0, int p0,
                                                    int n, int channels, int size) {
    int x = threadIdx.x % 8, count = min(n * size - p0, BN);
#pragma unroll 1
    for (int row = threadIdx.x / 8; row < BM; row += THREADS / 8) {
        int m = m0 + row;
        float add = bias && m < channels ? bias[m] : 0.0f;
        // Differences from one of the values: where the mean is large compared with the deviations,
        // their sum keeps digits that a sum of the values would lose.
        float origin = c[row][0] + add, sum = 0.0f, m2 = 0.0f;
#pragma unroll
        for (int s = 0; s < BN; s += 8) {
            Pixel to = pixels[s + x];
            float v = c[row][s + x] + add;
            bool exists = s + x < count;
            if (exists & m < channels) array[to.to + m * size] = v;
            sum += exists ? v - origin : 0.0f;
        }
        if (!MOMENTS) continue;
        float mean = eighth_sum(sum) / count;
#pragma unroll
        for (int s = 0; s < BN; s += 8) {
            float d = c[row][s + x] + add - origin - mean;
            m2 += s + x < count ? d * d : 0.0f;
        }
        m2 = eighth_sum(m2);
        if (x == 0 && m < channels) moments[m * gridDim.x + blockIdx.x] = {(double)origin + mean, m2};
    }
}

template <class Math, int BM>
__device__ __forceinline__ void forward(const float *x, const float *weight, const float *bias, const Tap *taps,
                                        float *z, Moments *moments, int n, int in, int out, int height, int width,
                                        int kernel) {
    __shared__ typename Tile<Math, BM>::Shared shared;
    __shared__ Pixel pixels[BN];
    int m0 = blockIdx.y * BM, p0 = blockIdx.x * BN, depth = in * kernel * kernel;
    describe_pixels(pixels, p0, n, in, out, height, width);
    Weights<Math, BM> a(weight, m0, out, depth);
    Patches<Math> b(pixels, x, taps, height, width);
    Tile<Math, BM>::multiply(shared, a, b, 0, depth);
    write_pixels<true>(shared.c, pixels, bias, z, moments, m0, p0, n, out, height * width);
}

template <class Math, int BM>
__device__ __forceinline__ void backward_data(const float *dz, const float *weight, const Tap *taps, float *dx,
                                              int n, int in, int out, int height, int width, int kernel) {
    __shared__ typename Tile<Math, BM>::Shared shared;
    __shared__ Pixel pixels[BN];
    int m0 = blockIdx.y * BM, p0 = blockIdx.x * BN;
    describe_pixels(pixels, p0, n, out, in, height, width);
    Turned<Math, BM> a(weight, taps, m0, in, kernel * kernel);
    Patches<Math> b(pixels, dz, taps, height, width);
    Tile<Math, BM>::multiply(shared, a, b, 0, out * kernel * kernel);
    write_pixels<false>(shared.c, pixels, nullptr, dx, nullptr, m0, p0, n, in, height * width);
}

template <class Math, int BM>
__device__ __forceinline__ void backward_weight(const float *x, const float *dz, const Tap *taps, float *partials,
                                                int n, int in, int out, int height, int width, int kernel, int share) {
    __shared__ typename Tile<Math, BM>::Shared shared;
    int k0 = blockIdx.x * BN, m0 = blockIdx.y * BM, depth = in * kernel * kernel;
    int p0 = blockIdx.z * share, end = min(p0 + share, n * height * width);
    Walk<Math> at(p0, height, width);
    Gradients<Math, BM> a(dz, at, m0, out, height, width);
    TransposedPatches<Math> b(x, taps, k0, at, in, height, width);
    Tile<Math, BM>::multiply(shared, a, b, p0, end);
    partials += (size_t)blockIdx.z * out * depth;
    for (int e = threadIdx.x; e < BM * BN; e += THREADS) {
        int m = m0 + e / BN, k = k0 + e % BN;
        if (m < out && k < depth) partials[m * depth + k] = shared.c[e / BN][e % BN];
    }
}
