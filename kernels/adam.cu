// architectures: 75
#include "step.cuh"

// adam applies one step of Adam (Kingma and Ba, 2015) to parameters p, given their gradients
// g and the moments m and v, all [n]:
//
//     m = m + (1 - beta1) (g - m)        v = beta2 v + (1 - beta2) g^2
//     p = p - step_size m / (sqrt(v) / root_correction2 + eps)
//
// step_size and root_correction2 change with the step and come from step. 1 - beta1 and
// 1 - beta2 are arguments, since 1 - 0.999 in fp32 is off by 1.3e-5. The kernel moves 28 bytes
// per element, and that bounds its time. Grid: n / 256 blocks, rounded up.
extern "C" __global__ void __launch_bounds__(256)
adam(float *p, const float *g, float *m, float *v, const Step *step, float one_minus_beta1,
     float beta2, float one_minus_beta2, float eps, int n) {
    int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    float gradient = g[i], first = m[i], second = v[i];
    first += one_minus_beta1 * (gradient - first);
    second = beta2 * second + one_minus_beta2 * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    p[i] -= step->step_size * (first / (sqrtf(second) / step->root_correction2 + eps));
}
