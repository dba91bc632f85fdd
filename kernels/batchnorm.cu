// architectures: 75
#include "moments.cuh"

// Batch normalisation, ReLU and 2x2 max pooling as one operator, over z [n,channels,H,W]:
//
//     u = gamma (z - mean) rstd + beta,   rstd = 1 / sqrt(var + eps)
//     y[b,c,i,j] = max(0, max of u[b,c,2i+r,2j+s] over r, s in {0,1})
//
// and backward, with N = n H W and g = dloss/du. g is dy at the first largest u of a pool, if
// that u is above 0; elsewhere it is 0:
//
//     dbeta = sum g,   dgamma = sum g zhat,   zhat = (z - mean) rstd
//     dz = gamma rstd (g - dbeta/N - zhat dgamma/N)
//
// Neither u nor the place of the largest is stored: backward computes them again from z, by
// the same instructions and so with the same bits.
//
// Every kernel here has the same grid: x is the shares of `samples` samples, y the channels. A
// block of 256 threads goes through the pools of one channel of its share, which lie next to
// each other within a sample. A last odd row or column of z is in no pool: y does not have it, g is
// 0 there, and dz is not.
//
// The kernels move 4 bytes per z, and that bounds their time; at batch 50, so does the latency of
// two or three memory accesses in a row. Therefore every block adds up the few hundred partial sums
// of its channel itself, instead of waiting for another launch to do so. All blocks of a channel
// add them in the same order.

constexpr int THREADS = 256;

// Mean and rstd of a channel, which the forward pass leaves for the backward one.
struct Statistics {
    float mean, rstd;
};

// block_sum returns the sum of v over the block, in every thread.
inline __device__ float block_sum(float v) {
    __shared__ float warps[THREADS / 32];
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(~0u, v, lane);
    __syncthreads();  // every thread has read the last call's sums
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = 0.0f;
    for (int w = 0; w < THREADS / 32; w++) sum += warps[w];
    return sum;
}

// Share is the work of a block: the pools of one channel of some samples.
struct Share {
    int first, count, channels, height, width;  // first sample; pools in all
    int pools, rest;                            // of a sample: pools, and elements of z in none

    __device__ Share(int n, int channels, int height, int width, int samples)
        : first(blockIdx.x * samples), channels(channels), height(height), width(width),
          pools(height / 2 * (width / 2)), rest(height * width - 4 * pools) {
        count = min(samples, n - first) * pools;
    }

    // plane returns the index of a sample's channel among those of [n,channels].
    __device__ size_t plane(int sample) const { return (size_t)(first + sample) * channels + blockIdx.y; }

    // y returns the index of pool e in [n,channels,H/2,W/2], z the index of its first element in
    // [n,channels,H,W].
    __device__ size_t y(int e) const { return plane(e / pools) * pools + e % pools; }
    __device__ size_t z(int e) const {
        int pool = e % pools, row = pool / (width / 2), column = pool % (width / 2);
        return plane(e / pools) * (height * width) + 2 * row * width + 2 * column;
    }

    // outside returns the index of an element of z in no pool, for e from 0 to samples * rest - 1:
    // the elements of a last odd column first, then those of a last odd row.
    __device__ size_t outside(int e) const {
        int at = e % rest, column = width % 2 * height;
        at = at < column ? at * width + width - 1 : (height - 1) * width + at - column;
        return plane(e / rest) * (height * width) + at;
    }
};

// Pool is a 2x2 window of z in row-major order, and the first largest of its four u. As in
// PyTorch, a NaN is larger than anything.
struct Pool {
    float z[4];
    float u, at;  // the largest u, and its z
    int largest;  // its place in the window

    __device__ Pool(const float *from, int width, float mean, float scale, float beta) {
        if (width % 2 == 0) {
            float2 top = *(const float2 *)from, bottom = *(const float2 *)(from + width);
            z[0] = top.x, z[1] = top.y, z[2] = bottom.x, z[3] = bottom.y;
        } else {  // every other row begins between two places for a float2
            z[0] = from[0], z[1] = from[1], z[2] = from[width], z[3] = from[width + 1];
        }
        u = fmaf(z[0] - mean, scale, beta), at = z[0], largest = 0;
#pragma unroll
        for (int r = 1; r < 4; r++) {
            float other = fmaf(z[r] - mean, scale, beta);
            if (other > u || isnan(other)) u = other, at = z[r], largest = r;
        }
    }

    // gradient returns g at the largest, given dy.
    __device__ float gradient(float dy) const { return u <= 0.0f ? 0.0f : dy; }
};

// batch_statistics returns mean and rstd of the block's channel over the batch, from the moments
// [channels,tiles], and moves the running statistics. It combines moments as Chan, Golub and
// LeVeque do ("Updating formulae and a pairwise algorithm for computing sample variances", 1979):
// a variance that is small compared with the mean keeps its digits.
static __device__ Statistics batch_statistics(const Moments *moments, float *running_mean, float *running_var,
                                              int pixels, float eps, float momentum) {
    int tiles = (pixels + TILE_PIXELS - 1) / TILE_PIXELS, c = blockIdx.y;
    moments += (size_t)c * tiles;
    double origin = moments[0].mean;
    float sum = 0.0f, m2 = 0.0f;
    for (int t = threadIdx.x; t < tiles; t += THREADS)
        sum += min(TILE_PIXELS, pixels - t * TILE_PIXELS) * (float)(moments[t].mean - origin);
    float shift = block_sum(sum) / pixels;
    for (int t = threadIdx.x; t < tiles; t += THREADS) {
        float d = (float)(moments[t].mean - origin) - shift;
        m2 += moments[t].m2 + min(TILE_PIXELS, pixels - t * TILE_PIXELS) * (d * d);
    }
    m2 = block_sum(m2);
    float mean = (float)(origin + shift);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        running_mean[c] = (1.0f - momentum) * running_mean[c] + momentum * mean;
        running_var[c] = (1.0f - momentum) * running_var[c] + momentum * (m2 / (pixels - 1));
    }
    return {mean, 1.0f / sqrtf(m2 / pixels + eps)};
}

// batchnorm_pool_forward computes y [n,channels,H/2,W/2] from z [n,channels,H,W]:
//
//     y = max(0, max over a 2x2 pool of gamma (z - mean) / sqrt(var + eps) + beta)
//
// With train set it computes mean and var of the batch from moments [channels,tiles], moves
// running_mean and running_var [channels] by momentum (the variance with divisor N-1), and leaves
// statistics [channels] for the backward pass. Otherwise it uses the running ones. Grid: x is the
// shares of `samples` samples, y the channels.
extern "C" __global__ void __launch_bounds__(256)
batchnorm_pool_forward(const float *z, const Moments *moments, const float *gamma, const float *beta,
                       float *running_mean, float *running_var, Statistics *statistics, float *y, int n,
                       int channels, int height, int width, int samples, float eps, float momentum, int train) {
    int c = blockIdx.y;
    Statistics s;
    if (train) {
        s = batch_statistics(moments, running_mean, running_var, n * height * width, eps, momentum);
        if (blockIdx.x == 0 && threadIdx.x == 0) statistics[c] = s;
    } else {
        s = {running_mean[c], 1.0f / sqrtf(running_var[c] + eps)};
    }
    Share share(n, channels, height, width, samples);
    float scale = gamma[c] * s.rstd, shift = beta[c];
    for (int e = threadIdx.x; e < share.count; e += THREADS) {
        Pool pool(z + share.z(e), width, s.mean, scale, shift);
        y[share.y(e)] = pool.u <= 0.0f ? 0.0f : pool.u;
    }
}

// Sums of a share's pools: of g, and of g (z - mean).
struct GradientSums {
    float g, gz;
};

// batchnorm_pool_sums computes the partial sums of dbeta and dgamma, sums [shares,channels]: of
// g = dloss/du, and of g (z - mean). Grid: as for batchnorm_pool_forward.
extern "C" __global__ void __launch_bounds__(256)
batchnorm_pool_sums(const float *z, const float *dy, const Statistics *statistics, const float *gamma,
                    const float *beta, GradientSums *sums, int n, int channels, int height, int width,
                    int samples) {
    int c = blockIdx.y;
    Share share(n, channels, height, width, samples);
    Statistics s = statistics[c];
    float scale = gamma[c] * s.rstd, shift = beta[c];
    float g = 0.0f, gz = 0.0f;
    for (int e = threadIdx.x; e < share.count; e += THREADS) {
        Pool pool(z + share.z(e), width, s.mean, scale, shift);
        float d = pool.gradient(dy[share.y(e)]);
        g += d;
        gz += d * (pool.at - s.mean);
    }
    g = block_sum(g);
    gz = block_sum(gz);
    if (threadIdx.x == 0) sums[blockIdx.x * channels + c] = {g, gz};
}

// batchnorm_backward computes dgamma and dbeta [channels] from sums [shares,channels], then dz
// [n,channels,H,W]:
//
//     dz = gamma rstd (g - dbeta/N - zhat dgamma/N),   N = n H W
//
// and the partial sums of the convolution's dbias: the sums of dz, dz_sums [shares,channels]. Grid:
// as for batchnorm_pool_forward.
extern "C" __global__ void __launch_bounds__(256)
batchnorm_backward(const float *z, const float *dy, const Statistics *statistics, const float *gamma,
                   const float *beta, const GradientSums *sums, float *dgamma, float *dbeta, float *dz,
                   float *dz_sums, int n, int channels, int height, int width, int samples) {
    int c = blockIdx.y, shares = gridDim.x;
    Statistics s = statistics[c];
    float g = 0.0f, gz = 0.0f;
    for (int i = threadIdx.x; i < shares; i += THREADS) {
        GradientSums part = sums[i * channels + c];
        g += part.g;
        gz += part.gz;
    }
    g = block_sum(g);
    gz = block_sum(gz);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        dbeta[c] = g;
        dgamma[c] = gz * s.rstd;
    }

    // dz = scale g + slope (z - mean) + constant
    float scale = gamma[c] * s.rstd, shift = beta[c], pixels = (float)n * height * width;
    float constant = -scale * (g / pixels), slope = -scale * s.rstd * s.rstd * (gz / pixels);
    Share share(n, channels, height, width, samples);
    float sum = 0.0f;
    for (int e = threadIdx.x; e < share.count; e += THREADS) {
        size_t place = share.z(e);
        Pool pool(z + place, width, s.mean, scale, shift);
        float at_largest = scale * pool.gradient(dy[share.y(e)]), d[4];
#pragma unroll
        for (int r = 0; r < 4; r++)
            d[r] = fmaf(slope, pool.z[r] - s.mean, constant) + (r == pool.largest ? at_largest : 0.0f);
        if (width % 2 == 0) {
            *(float2 *)(dz + place) = make_float2(d[0], d[1]);
            *(float2 *)(dz + place + width) = make_float2(d[2], d[3]);
        } else {
            dz[place] = d[0], dz[place + 1] = d[1], dz[place + width] = d[2], dz[place + width + 1] = d[3];
        }
        sum += (d[0] + d[1]) + (d[2] + d[3]);
    }
    for (int e = threadIdx.x; e < share.count / share.pools * share.rest; e += THREADS) {
        size_t place = share.outside(e);
        float d = fmaf(slope, z[place] - s.mean, constant);
        dz[place] = d;
        sum += d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dz_sums[blockIdx.x * channels + c] = sum;
}
