// architectures: 75

// The convolution as in textbooks: the im2col matrix is stored, then multiplied. The tests compare
// conv.cu and conv_mma.cu, which never store it, with these two kernels.

// im2col writes the matrix P [in kernel^2, n H W] of x [n,in,H,W]:
//
//     P[(c,u,v), (b,i,j)] = x[b,c,i+u-p,j+v-p]      (0 outside, p = (kernel-1)/2)
//
// Grid: x is n H W / 256 blocks, rounded up, of 256 threads, one per column; y is the rows.
extern "C" __global__ void __launch_bounds__(256)
im2col(const float *x, float *patches, int n, int in, int height, int width, int kernel) {
    int column = blockIdx.x * 256 + threadIdx.x, row = blockIdx.y;
    int columns = n * height * width;
    if (column >= columns) return;
    int b = column / (height * width), i = column / width % height, j = column % width;
    int c = row / (kernel * kernel), u = row / kernel % kernel, v = row % kernel;
    int y = i + u - kernel / 2, x0 = j + v - kernel / 2;
    bool inside = y >= 0 && y < height && x0 >= 0 && x0 < width;
    patches[(size_t)row * columns + column] = inside ? x[(((size_t)b * in + c) * height + y) * width + x0] : 0.0f;
}

// matmul computes C [m,n] = A [m,k] B [k,n]. Grid: x is n / 256 blocks, rounded up, of 256 threads, one
// per column; y is the rows.
extern "C" __global__ void __launch_bounds__(256)
matmul(const float *a, const float *b, float *c, int m, int n, int k) {
    int column = blockIdx.x * 256 + threadIdx.x, row = blockIdx.y;
    if (column >= n || row >= m) return;
    float sum = 0.0f;
    for (int i = 0; i < k; i++) sum += a[(size_t)row * k + i] * b[(size_t)i * n + column];
    c[(size_t)row * n + column] = sum;
}
