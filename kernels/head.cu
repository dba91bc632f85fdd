// architectures: 75

// The linear layer with cross-entropy. Its arithmetic is a thousandth of a step's, so the
// kernels aim at few launches and short chains of instructions.

// Sums over all samples since the totals were last set.
struct Totals {
    double loss;
    long long hits, count;
};

// warp_sum returns the sum of v over a warp, in every lane.
static __device__ float warp_sum(float v) {
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(~0u, v, lane);
    return v;
}

struct Softmax {
    float largest, sum;  // of exp(z - largest)
    int first;           // index of the largest
};

// softmax returns the parts of the softmax of z [classes].
static __device__ Softmax softmax(const float *z, int classes) {
    Softmax s = {z[0], 0.0f, 0};
    for (int j = 1; j < classes; j++)
        if (z[j] > s.largest) s.largest = z[j], s.first = j;
    for (int j = 0; j < classes; j++) s.sum += expf(z[j] - s.largest);
    return s;
}

// gradient returns the derivative of the mean loss, over a batch of `whole` samples, by a logit z.
static __device__ float gradient(const Softmax &s, float z, bool is_label, int whole) {
    return (expf(z - s.largest) / s.sum - (is_label ? 1.0f : 0.0f)) / whole;
}

// head_forward computes logits [n,classes] = x weight^T + bias from x [n,in], weight
// [classes,in] and bias [classes]. Grid: n blocks, one per sample; a warp takes every fourth class.
extern "C" __global__ void __launch_bounds__(128)
head_forward(const float *x, const float *weight, const float *bias, float *logits, int in, int classes) {
    int b = blockIdx.x, lane = threadIdx.x % 32;
    for (int j = threadIdx.x / 32; j < classes; j += 4) {
        float sum = 0.0f;
        for (int i = lane; i < in; i += 32) sum += x[(size_t)b * in + i] * weight[(size_t)j * in + i];
        sum = warp_sum(sum);
        if (lane == 0) logits[(size_t)b * classes + j] = sum + bias[j];
    }
}

// head_loss adds to the totals, for each sample b with label k:
//
//     loss = log sum_j exp(logits[b,j]) - logits[b,k]
//     hit  = 1 if k is the first largest of logits[b,:], else 0
//
// logits [n,classes], labels [n]. Grid: one block, so that the order of the sum is fixed. The sum is
// fp64, since it runs over an epoch.
extern "C" __global__ void __launch_bounds__(256)
head_loss(const float *logits, const unsigned char *labels, Totals *totals, int n, int classes) {
    __shared__ double loss[256];
    __shared__ int hits[256];
    int t = threadIdx.x;
    double sum = 0.0;
    int hit = 0;
    for (int b = t; b < n; b += 256) {
        const float *z = logits + (size_t)b * classes;
        Softmax s = softmax(z, classes);
        sum += logf(s.sum) + (s.largest - z[labels[b]]);
        hit += s.first == labels[b];
    }
    loss[t] = sum;
    hits[t] = hit;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) {
            loss[t] += loss[t + half];
            hits[t] += hits[t + half];
        }
    }
    if (t == 0) {
        totals->loss += loss[0];
        totals->hits += hits[0];
        totals->count += n;
    }
}

// head_backward computes the gradients of the mean loss of a batch of `whole` samples, from n of them. With
//
//     d[b,j] = (softmax(logits[b,:])[j] - [j = labels[b]]) / whole
//
// they are dweight [classes,in] = d^T x, dbias [classes] = sum_b d[b,:] and dx [n,in] = d weight.
// Grid: n blocks for dx, one per sample; then in / 32 blocks, rounded up, per class, each for 32
// columns of dweight. Every block computes the d that it needs: a launch for d would cost more.
extern "C" __global__ void __launch_bounds__(256)
head_backward(const float *x, const float *logits, const unsigned char *labels, const float *weight,
              float *dx, float *dweight, float *dbias, int n, int whole, int in, int classes) {
    __shared__ float d[256];        // of one sample for all classes, or of 256 samples for one class
    __shared__ float part[2][256];  // sums over every eighth sample, of dweight and dbias
    int t = threadIdx.x;
    if (blockIdx.x < n) {
        int b = blockIdx.x;
        const float *z = logits + (size_t)b * classes;
        Softmax s = softmax(z, classes);
        if (t < classes) d[t] = gradient(s, z[t], t == labels[b], whole);
        __syncthreads();
        for (int i = t; i < in; i += 256) {
            float sum = 0.0f;
            for (int j = 0; j < classes; j++) sum += d[j] * weight[(size_t)j * in + i];
            dx[(size_t)b * in + i] = sum;
        }
        return;
    }
    int columns = (in + 31) / 32;
    int j = (blockIdx.x - n) / columns, first = (blockIdx.x - n) % columns * 32;
    int i = first + t % 32, group = t / 32;
    float sum = 0.0f, bias = 0.0f;
    for (int start = 0; start < n; start += 256) {
        if (start + t < n) {
            const float *z = logits + (size_t)(start + t) * classes;
            d[t] = gradient(softmax(z, classes), z[j], j == labels[start + t], whole);
        }
        __syncthreads();
        int count = min(256, n - start);
        for (int b = group; b < count; b += 8) {
            if (i < in) sum += d[b] * x[(size_t)(start + b) * in + i];
            bias += d[b];
        }
        __syncthreads();
    }
    part[0][t] = sum;
    part[1][t] = bias;
    __syncthreads();
    if (group > 0) return;
    sum = bias = 0.0f;
    for (int g = 0; g < 8; g++) {
        sum += part[0][g * 32 + t];
        bias += part[1][g * 32 + t];
    }
    if (i < in) dweight[(size_t)j * in + i] = sum;
    if (i == 0) dbias[j] = bias;
}
