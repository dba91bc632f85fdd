// architectures: 80
#include "conv.cuh"
#include "mma.cuh"

// The kernels of conv.cu on tensor cores: values are rounded to tf32 or bf16 on their way into
// shared memory, and multiplied by mma.sync with sums in fp32. Arrays, formulas and grids are the same
// as in conv.cu. Any size works, since tiles are padded with zeros.
//
// In the recipe's second convolution at batch 50, a warp has 25 steps of 300 instructions forward in
// tf32, and 13 steps of 400 in bf16. 20 instructions of a step are mma.sync; most of the others form
// patches. By the model of conv.cu, forward, data gradient and weight gradient take 13, 24 and 14 us in
// tf32 and 11, 14 and 8 us in bf16, against 29, 34 and 26 us in fp32.

// TensorCores multiplies words of tf32 or bf16 by mma.sync. A warp's 32 x 40 tile is 2 x 5 tiles
// of 16 x 8, for which each lane reads 18 words. A word of bf16 holds two neighbouring depths, so
// the fragments of both instructions have the same layout in shared memory.
template <class Words> struct TensorCores {
    using Word = unsigned;
    static constexpr int STEPS = 4;
    static constexpr int WARPS_N = 2;
    static constexpr int COUNT = 40;

    static __device__ __forceinline__ void accumulate(float (&sum)[40], const unsigned *a, int a_pitch,
                                                      const unsigned *b, int b_pitch) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        a += t * a_pitch + g;
        b += t * b_pitch + g;
        unsigned av[2][4], bv[5][2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            av[i][0] = a[16 * i];
            av[i][1] = a[16 * i + 8];
            av[i][2] = a[4 * a_pitch + 16 * i];
            av[i][3] = a[4 * a_pitch + 16 * i + 8];
        }
#pragma unroll
        for (int j = 0; j < 5; j++) {
            bv[j][0] = b[8 * j];
            bv[j][1] = b[4 * b_pitch + 8 * j];
        }
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 5; j++) Words::mma(*(float(*)[4])(sum + 4 * (5 * i + j)), av[i], bv[j]);
    }

    static __device__ __forceinline__ void write(const float (&sum)[40], float *c, int pitch) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 5; j++) {
                const float *d = sum + 4 * (5 * i + j);
                *(float2 *)(c + (16 * i + g) * pitch + 8 * j + 2 * t) = make_float2(d[0], d[1]);
                *(float2 *)(c + (16 * i + g + 8) * pitch + 8 * j + 2 * t) = make_float2(d[2], d[3]);
            }
    }
};

struct Tf32 : TensorCores<Tf32> {
    static constexpr int PACK = 1;
    static constexpr int DEPTH = 32;
    static __device__ __forceinline__ unsigned word(const float (&v)[1]) { return to_tf32(v[0]); }
    static __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
        mma_m16n8k8_tf32(d, a, b);
    }
};

struct Bf16 : TensorCores<Bf16> {
    static constexpr int PACK = 2;
    static constexpr int DEPTH = 64;
    static __device__ __forceinline__ unsigned word(const float (&v)[2]) { return pack_bf16(v[0], v[1]); }
    static __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
        mma_m16n8k16_bf16(d, a, b);
    }
};

// conv_forward_32_tf32 is conv_forward_32 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward_32_tf32(const float *x, const float *weight, const float *bias, const Tap *taps, float *z,
                     Moments *moments, int n, int in, int out, int height, int width, int kernel) {
    forward<Tf32, 32>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_forward_64_tf32 is conv_forward_64 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward_64_tf32(const float *x, const float *weight, const float *bias, const Tap *taps, float *z,
                     Moments *moments, int n, int in, int out, int height, int width, int kernel) {
    forward<Tf32, 64>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_backward_data_32_tf32 is conv_backward_data_32 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_data_32_tf32(const float *dz, const float *weight, const Tap *taps, float *dx,
                           int n, int in, int out, int height, int width, int kernel) {
    backward_data<Tf32, 32>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_data_64_tf32 is conv_backward_data_64 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_data_64_tf32(const float *dz, const float *weight, const Tap *taps, float *dx,
                           int n, int in, int out, int height, int width, int kernel) {
    backward_data<Tf32, 64>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_weight_32_tf32 is conv_backward_weight_32 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_weight_32_tf32(const float *x, const float *dz, const Tap *taps, float *partials,
                             int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Tf32, 32>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}

// conv_backward_weight_64_tf32 is conv_backward_weight_64 in tf32.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_weight_64_tf32(const float *x, const float *dz, const Tap *taps, float *partials,
                             int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Tf32, 64>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}

// conv_forward_32_bf16 is conv_forward_32 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward_32_bf16(const float *x, const float *weight, const float *bias, const Tap *taps, float *z,
                     Moments *moments, int n, int in, int out, int height, int width, int kernel) {
    forward<Bf16, 32>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_forward_64_bf16 is conv_forward_64 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward_64_bf16(const float *x, const float *weight, const float *bias, const Tap *taps, float *z,
                     Moments *moments, int n, int in, int out, int height, int width, int kernel) {
    forward<Bf16, 64>(x, weight, bias, taps, z, moments, n, in, out, height, width, kernel);
}

// conv_backward_data_32_bf16 is conv_backward_data_32 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_data_32_bf16(const float *dz, const float *weight, const Tap *taps, float *dx,
                           int n, int in, int out, int height, int width, int kernel) {
    backward_data<Bf16, 32>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_data_64_bf16 is conv_backward_data_64 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_data_64_bf16(const float *dz, const float *weight, const Tap *taps, float *dx,
                           int n, int in, int out, int height, int width, int kernel) {
    backward_data<Bf16, 64>(dz, weight, taps, dx, n, in, out, height, width, kernel);
}

// conv_backward_weight_32_bf16 is conv_backward_weight_32 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_weight_32_bf16(const float *x, const float *dz, const Tap *taps, float *partials,
                             int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Bf16, 32>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}

// conv_backward_weight_64_bf16 is conv_backward_weight_64 in bf16.
extern "C" __global__ void __launch_bounds__(256, 2)
conv_backward_weight_64_bf16(const float *x, const float *dz, const Tap *taps, float *partials,
                             int n, int in, int out, int height, int width, int kernel, int share) {
    backward_weight<Bf16, 64>(x, dz, taps, partials, n, in, out, height, width, kernel, share);
}
