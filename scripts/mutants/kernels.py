"""Mistakes in the CUDA kernels, for scripts/mutations."""

# (file, text as it stands, text with the mistake, what the mistake is)
MUTATIONS = [
    ("kernels/batch.cu", "v.x / 255.0f", "v.x / 256.0f", "gather: the first of four pixels is divided by 256"),
    ("kernels/batch.cu", "i < size / 4; i += 256", "i < size / 4 - 1; i += 256", "gather: the last four pixels are left out"),
    ("kernels/philox.cuh", "k1 += 0xBB67AE85u;", "k1 += 0xBB67AE84u;", "dropout: a constant of Philox is off by one"),
    ("kernels/tile.cuh", """            a.store(shared.step.a[buffer ^ 1]);
            b.store(shared.step.b[buffer ^ 1]);
            __syncthreads();""", """            a.store(shared.step.a[buffer ^ 1]);
            b.store(shared.step.b[buffer ^ 1]);""", "convolution: no barrier between two steps of depth"),
    ("kernels/tile.cuh", "if (group >= half && group < 2 * half) {", "if (group > half && group < 2 * half) {",
     "convolution: the sums of a group of warps are lost"),
    ("kernels/tile.cuh", "if (B::LOADS_PAST_END || k < end) {", "if (k + Math::DEPTH < end) {",
     "convolution: the last step of depth is the one before"),
    ("kernels/conv.cuh", "fetch_taps(min(k + Math::DEPTH, end));", "fetch_taps(k + Math::DEPTH);",
     "convolution: taps are fetched from beyond their table"),
    ("kernels/conv.cuh", "taps[min(tap, end)].channel", "taps[tap].channel", "convolution, data gradient: taps are read beyond their table"),
    ("kernels/conv.cuh", "limit = 0x80008000u + ((height - 1) << 16) + (width - 1);", "limit = 0x80008000u + ((height - 1) << 16) + width;",
     "convolution: the right border is a pixel too far"),
    ("kernels/conv.cuh", "first((m0 + Base::row() + 1) * area - 1)", "first((m0 + Base::row() + 1) * area)",
     "convolution, data gradient: the weights are off by one"),
    ("kernels/conv.cuh", "m2 += s + x < count ? d * d : 0.0f;", "m2 += d * d;", "moments: the last tile counts pixels that are not there"),
    ("kernels/conv.cuh", "end = min(p0 + share, n * height * width);", "end = p0 + share;", "convolution, weight gradient: the last share reads beyond the last image"),
    ("kernels/conv.cuh", "if (j >= width) j -= width, i++;", "if (j >= width) j -= width;", "convolution, weight gradient: the next row is not reached"),
    ("kernels/conv_sum.cu", "for (int row = warp; row < rows; row += 8)", "for (int row = warp; row < rows; row += 7)",
     "convolution, weight gradient: a share is added twice"),
    ("kernels/conv_mma.cu", "bv[j][1] = b[4 * b_pitch + 8 * j];", "bv[j][1] = b[8 * j];", "convolution on tensor cores: half of B is multiplied twice"),
    ("kernels/rnn_product_mma.cuh", "(sum.d[0][i] + sum.d[1][i]) + (sum.d[2][i] + sum.d[3][i])", "(sum.d[0][i] + sum.d[1][i]) + sum.d[2][i]",
     "RNN on tensor cores: a quarter of the products is lost"),
    ("kernels/batchnorm.cu", "if (other > u || isnan(other))", "if (other >= u || isnan(other))", "pooling: the last of equal values takes the gradient"),
    ("kernels/batchnorm.cu", "momentum * (m2 / (pixels - 1))", "momentum * (m2 / pixels)", "batch normalisation: running_var is biased"),
    ("kernels/batchnorm.cu", "m2 += moments[t].m2 + min(TILE_PIXELS, pixels - t * TILE_PIXELS) * (d * d);", "m2 += moments[t].m2;",
     "batch normalisation: the variance between tiles is forgotten"),
    ("kernels/batchnorm.cu", "slope = -scale * s.rstd * s.rstd * (gz / pixels);", "slope = -scale * s.rstd * (gz / pixels);",
     "batch normalisation backward: 1/std is missing once"),
    ("kernels/batchnorm.cu", "    __syncthreads();  // the last call's have been read\n", "", "batch normalisation: no barrier between two block sums"),
    ("kernels/head.cu", "(is_label ? 1.0f : 0.0f)) / n;", "(is_label ? 1.0f : 0.0f));", "cross-entropy backward: the sum in place of the mean"),
    ("kernels/head.cu", "if (z[j] > s.largest) s.largest", "if (z[j] >= s.largest) s.largest", "hits: the last of equal logits is the answer"),
    ("kernels/head.cu", """        __syncthreads();
        int count = min(256, n - start);""", """        int count = min(256, n - start);""", "linear layer backward: no barrier before the gradients are read"),
    ("kernels/adam.cu", "second = beta2 * second + one_minus_beta2 * (gradient * gradient);", "second = beta2 * second + one_minus_beta1 * (gradient * gradient);",
     "Adam: beta1 in the second moment"),
    ("kernels/adam.cu", "if (i >= n) return;", "if (i > n) return;", "Adam: an element beyond the last"),
    ("kernels/rnn.cuh", "(unsigned)((words[i] & 0xffff) >= dropout.threshold)", "(unsigned)((words[i] & 0xffff) > dropout.threshold)",
     "dropout: a word equal to the threshold drops"),
    ("kernels/rnn_layers.cuh", "else if (!backward) v += bias_a[j] + bias_b[j];", "else if (!backward) v += bias_a[j];", "RNN: bias_hh is forgotten"),
    ("kernels/rnn_layers.cuh", "return backward ? sum * (1 - h * h) : tanhf(sum);", "return backward ? sum * (1 - h) : tanhf(sum);", "RNN backward: 1 - h in place of 1 - h^2"),
    ("kernels/rnn_layers.cuh", """            start[i] = next_start[i], state[i] = next_state[i];
        }
        __syncthreads();""", """            start[i] = next_start[i], state[i] = next_state[i];
        }""", "RNN: no barrier between two steps"),
    ("kernels/rnn_wavefront.cuh", "value[i] = tanhf(value[i] + bias[i]);", "value[i] = tanhf(value[i]);", "RNN on clusters: the biases are forgotten"),
    ("kernels/rnn_wavefront.cuh", "lag = 2 * (sizes.layers - 1 - l)", "lag = sizes.layers - 1 - l", "RNN on clusters, backward: layers start a wave too early"),
    ("kernels/rnn_wavefront.cuh", "make_masks(s.keep[(wave + 2) % 3], dropout, l, first, t + 2, sizes);", "make_masks(s.keep[(wave + 2) % 3], dropout, l, first, t + 1, sizes);",
     "RNN on clusters: the dropout masks of the step before"),
    ("kernels/rnn_wavefront.cuh", "above->in[next][sample][j] = Product::round(kept);", "above->in[now][sample][j] = Product::round(kept);",
     "RNN on clusters: hidden states are handed on where they are being read"),
    ("kernels/rnn_gradients.cuh", "bool used = m < end && !(p.recurrent && m % shape.steps == 0);", "bool used = m < end;",
     "RNN, weight gradient: the first step is given the last state of another sample"),
    ("kernels/rnn_gradients.cu", "__syncthreads();\n#pragma unroll\n        for (int c = 0; c < 4; c++) *(float4 *)&shared_da", "#pragma unroll\n        for (int c = 0; c < 4; c++) *(float4 *)&shared_da",
     "RNN, weight gradient: no barrier before shared memory is written anew"),
]
