// architectures: 75

// conv_backward_weight_sum adds up the shares of dweight [count] and dbias [out]:
//
//     dweight[e] = sum over s of partials[s,e]        dbias[o] = sum over s of dz_sums[s,o]
//
// partials [shares,count] come from conv_backward_weight_32 or one of its variants, dz_sums
// [bias_shares,out] from batchnorm_backward. Grid: count / 32 blocks of 256 threads, rounded up, for
// dweight, then out / 32, rounded up, for dbias. A block computes 32 neighbouring elements: each of
// its eight warps adds an eighth of the shares, then the warps' sums are added in order.
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
