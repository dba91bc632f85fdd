// architectures: 75

// conv_backward_weight_sum adds what conv_backward_weight left for every share of the pixels,
// partials [shares,count], to dweight [count], and the sums of dz that batchnorm_backward left,
// dz_sums [bias_shares,out], to dbias [out]. Grid: count / 32 blocks, rounded up, and then out / 32,
// rounded up, of 256 threads: a block adds 32 neighbouring elements, of which each of its eight
// warps takes an eighth of the shares; their sums are then added in the warps' order.
extern "C" __global__ void __launch_bounds__(256)
conv_backward_weight_sum(const float *partials, const float *dz_sums, float *dweight, float *dbias,
                         int shares, int count, int bias_shares, int out) {
    __shared__ float eighths[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, blocks = (count + 31) / 32;
    bool bias = blockIdx.x >= blocks;
    const float *from = bias ? dz_sums : partials;
    int rows = bias ? bias_shares : shares, columns = bias ? out : count;
    int column = (bias ? blockIdx.x - blocks : blockIdx.x) * 32 + lane;
    float sum = 0.0f;
    if (column < columns) {
#pragma unroll 4
        for (int row = warp; row < rows; row += 8) sum += from[(size_t)row * columns + column];
    }
    eighths[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (int w = 1; w < 8; w++) sum += eighths[w][lane];
    (bias ? dbias : dweight)[column] = sum;
}
