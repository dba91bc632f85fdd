// architectures: 75
#include "conv.cuh"

// The convolution forward, its data gradient and its weight gradient in fp32: tiled matrix products
// (conv.cuh), in blocks of 256 threads. Kernels with the ending _32 compute tiles of 32 rows, for at
// most 32 channels; kernels with the ending _64, tiles of 64 rows.
//
// The recipe's second convolution at batch 50 is 1.0 GFLOP in each of the three, 15 us at an
// H100's peak. In a step of depth 32, a warp of the 64-row kernels has 640 multiplications among
// 900 instructions, a warp of the 32-row kernels 320 among 510. Most of the others form patches.
//
// A model of the time: two warps per scheduler, stalls as in the machine code for sm_90, and 280
// cycles per load. A step then takes 2,310 cycles forward, 2,140 for the weight gradient, and 1,340
// for the data gradient, which has 32 rows. In 25, 24 and 50 steps that is 29, 26 and 34 us at
// 1.98 GHz. The first convolution is only 0.06 GFLOP, but its depth of 25 is a single step: its 490
// tiles spend more time around the product than in it. They take some 12 us, twice as long as a
// kernel made for this convolution would.

// conv_forward_32 computes z [n,out,H,W] and the moments [out,tiles] of its tiles from x [n,in,H,W], weight
// [out,in,kernel,kernel], bias [out] and the taps of x:
//
//     z[b,o,i,j] = bias[o] + sum over c, u, v of weight[o,c,u,v] x[b,c,i+u-p,j+v-p]
//
// p = (kernel-1)/2, and x is 0 outside. Grid: x is the tiles of 80 pixels, n H W / 80 rounded up; y is
// out / 32, rounded up.
extern "C" __global__ void __launch_bounds__(256)
conv_forward_32(const float *x, const float *weight, const float *bias, const Tap *taps, float *z, Moments *moments,
                int n, int in, int out, int height, int width, int kernel) {
    forward<Fp32, 32>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_forward_64 is conv_forward_32 with tiles of 64 rows.
extern "C" __global__ void __launch_bounds__(256)
conv_forward_64(const float *x, const float *weight, const float *bias, const Tap *taps, float *z, Moments *moments,
                int n, int in, int out, int height, int width, int kernel) {
    forward<Fp32, 64>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_backward_data_32 computes dx [n,in,H,W] from dz [n,out,H,W], weight and the taps of dz:
//
//     dx[b,c,i,j] = sum over o, u, v of weight[o,c,kernel-1-u,kernel-1-v] dz[b,o,i+u-p,j+v-p]
//
// Grid: x is the tiles of 80 pixels; y is in / 32, rounded up.
extern "C" __global__ void __launch_bounds__(256)
conv_backward_data_32(const float *dz, const float *weight, const Tap *taps, float *dx,
                      int n, int in, int out, int height, int width, int kernel) {
    backward_data<Fp32, 32>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_data_64 is conv_backward_data_32 with tiles of 64 rows.
extern "C" __global__ void __launch_bounds__(256)
conv_backward_data_64(const float *dz, const float *weight, const Tap *taps, float *dx,
                      int n, int in, int out, int height, int width, int kernel) {
    backward_data<Fp32, 64>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_weight_32 computes dweight for each share of the pixels, partials
// [shares,out,in,kernel,kernel], from x, dz and the taps of x:
//
//     dweight[o,c,u,v] = sum over the share's b, i, j of dz[b,o,i,j] x[b,c,i+u-p,j+v-p]
//
// A share is `share` pixels, a multiple of 64. Grid: x is in kernel^2 / 80, y is out / 32, both
// rounded up, z the shares.
extern "C" __global__ void __launch_bounds__(256)
conv_backward_weight_32(const float *x, const float *dz, const Tap *taps, float *partials,
                        int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Fp32, 32>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}

// conv_backward_weight_64 is conv_backward_weight_32 with tiles of 64 rows.
extern "C" __global__ void __launch_bounds__(256)
conv_backward_weight_64(const float *x, const float *dz, const Tap *taps, float *partials,
                        int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Fp32, 64>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}
