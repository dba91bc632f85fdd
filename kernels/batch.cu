// architectures: 75

// gather_batch copies the images and labels of a batch out of the data set:
//
//     x[b,i] = pixels[indices[b],i] / 255        labels[b] = classes[indices[b]]
//
// pixels [count,size] and classes [count] are the data set, indices [n], x [n,size], labels [n].
// If size is a multiple of 4, four values move at once. Grid: n blocks, one per sample.
extern "C" __global__ void __launch_bounds__(256)
gather_batch(const unsigned char *pixels, const unsigned char *classes, const int *indices,
             float *x, unsigned char *labels, int size) {
    int b = blockIdx.x;
    size_t image = indices[b];
    pixels += image * size;
    x += (size_t)b * size;
    // A true division: v * (1 / 255) would round some of the 256 values differently.
    if (size % 4 == 0) {
        const uchar4 *from = reinterpret_cast<const uchar4 *>(pixels);
        float4 *to = reinterpret_cast<float4 *>(x);
        for (int i = threadIdx.x; i < size / 4; i += 256) {
            uchar4 v = from[i];
            to[i] = make_float4(v.x / 255.0f, v.y / 255.0f, v.z / 255.0f, v.w / 255.0f);
        }
    } else {
        for (int i = threadIdx.x; i < size; i += 256) x[i] = pixels[i] / 255.0f;
    }
    if (threadIdx.x == 0) labels[b] = classes[image];
}
