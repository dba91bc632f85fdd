package cpu

import (
	"math"

	"crnn/rng"
)

// lanes is the granularity of the innermost dimension: channels and hidden units are
// padded to a multiple of it with zeros, so that kernels need no tails. It is the
// widest vector of any instruction set.
const lanes = 16

func padded(n int) int { return (n + lanes - 1) / lanes * lanes }

// What C starts from in a matrix product.
const (
	initZero = iota
	initBias // the row bias
	initSum  // its old value
)

// matmulShape holds the sizes of a matrix product. The C kernels read the same struct.
type matmulShape struct {
	m, n    int64    // rows of C; columns, a multiple of lanes
	count   [3]int64 // the sum runs over count[0]·count[1]·count[2] terms, at which A and B
	strideA [3]int64 // advance by these many elements
	strideB [3]int64
	init    int64
}

// poolShape holds the sizes of one image in a convolution block. The C kernels read the same struct.
type poolShape struct {
	height, width    int64 // before pooling, even
	channels         int64 // padded
	outRow, outPixel int64 // bnReluPoolBackward: strides of dz in elements
}

// keptShape holds the sizes of arrays to be masked. The C kernels read the same struct.
type keptShape struct {
	rows, columns      int64 // columns a multiple of 8
	stride, keepStride int64 // between rows, of dst and src, and of keep
}

// adamStep holds the numbers of a step of Adam, computed in float64 (1-0.999 in float32 is
// off by 1.3e-5). The C kernels read the same struct.
type adamStep struct {
	beta2, oneMinusBeta1, oneMinusBeta2 float32
	stepSize                            float32 // LR/(1-β1^t)
	rootCorrection2                     float32 // √(1-β2^t)
	eps                                 float32
}

// kernels are the inner loops, each of which runs on one thread. Images are
// [height·width][channels] here (channels innermost and padded), so that a vector holds
// the same pixel of several channels.
//
// An element of a result never depends on how the work was cut into calls.
type kernels interface {
	name() string

	// matmul computes, for m < s.m and n < s.n, with k running over the three loops of s in order,
	//
	//	c[cOffset[m] + n] = init + Σ_k a[aOffset[m] + k·strideA] · b[k·strideB + n]
	//
	// Every product of the network is one of these: in a convolution, aOffset
	// and strideA walk over the patches of a padded image, which are never stored.
	matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32)

	// tanhForward computes z = tanh(z).
	tanhForward(z []float32)
	// tanhBackward computes dh = dh (1 - h²), h being the tanh's output.
	tanhBackward(dh, h []float32)

	// dropoutMask sets keep[8i+w] to 1 if 16-bit word w of block first+i of the stream is at
	// least threshold, else 0 (model.RNN gives the rule), for len(keep)/8 blocks.
	dropoutMask(keep []uint8, stream *rng.Stream, first uint32, threshold uint32)
	// scaleKept computes dst = keep · (src · scale) for the rows of s.
	scaleKept(s *keptShape, dst, src []float32, keep []uint8, scale float32)

	// transpose writes the transpose of src [rows][columns] to dst [columns][rows]; dstRow and
	// srcRow are the lengths of their rows in memory.
	transpose(dst, src []float32, rows, columns, dstRow, srcRow int)

	// addRows adds the rows of a, len(sum) columns each, to sum, in order.
	addRows(sum, a []float32)

	// channelMoments computes, for every channel of one image z, the mean over its pixels and
	// m2 = Σ (z - mean)².
	channelMoments(z []float32, mean, m2 []float32)
	// bnReluPool computes y = max(0, max over windows of 2x2 of u), u = (z-mean)·scale + beta,
	// for one image.
	bnReluPool(s *poolShape, z, mean, scale, beta, y []float32)
	// bnReluPoolSums computes, for every channel of one image, sumG = Σ g and sumGZ = Σ g (z-mean),
	// where g is ∂loss/∂u: dy at the first largest element of a window whose u is above 0, else 0.
	bnReluPoolSums(s *poolShape, z, mean, scale, beta, dy, sumG, sumGZ []float32)
	// bnReluPoolBackward computes, for one image,
	//
	//	dz = scale·g + kZ (z-mean) + k1
	//
	// and, for every channel, sumDZ = Σ dz.
	bnReluPoolBackward(s *poolShape, z, mean, scale, beta, dy, kZ, k1, dz, sumDZ []float32)

	// adam updates p, m and v as model.Backend.Adam says.
	adam(s *adamStep, p, g, m, v []float32)
}

// goKernels are the plain versions: the definition that the C kernels are tested against,
// and what runs where cgo is off.
type goKernels struct{}

func (goKernels) name() string { return "go" }

func (goKernels) matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32) {
	for m := range s.m {
		a, c := a[aOffset[m]:], c[cOffset[m]:][:s.n]
		// Eight columns at a time: their sums stay in registers and do not wait for each other.
		for n := int64(0); n < s.n; n += 8 {
			c := (*[8]float32)(c[n:])
			var sum [8]float32
			switch s.init {
			case initBias:
				sum = [8]float32(bias[n:])
			case initSum:
				sum = *c
			}
			s0, s1, s2, s3, s4, s5, s6, s7 := sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7]
			for x := range s.count[0] {
				for y := range s.count[1] {
					at := x*s.strideA[0] + y*s.strideA[1]
					from := x*s.strideB[0] + y*s.strideB[1] + n
					for range s.count[2] {
						v, b := a[at], (*[8]float32)(b[from:])
						s0 += v * b[0]
						s1 += v * b[1]
						s2 += v * b[2]
						s3 += v * b[3]
						s4 += v * b[4]
						s5 += v * b[5]
						s6 += v * b[6]
						s7 += v * b[7]
						at += s.strideA[2]
						from += s.strideB[2]
					}
				}
			}
			*c = [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
		}
	}
}

func (goKernels) tanhForward(z []float32) {
	for i, v := range z {
		z[i] = float32(math.Tanh(float64(v)))
	}
}

func (goKernels) tanhBackward(dh, h []float32) {
	for i := range dh {
		dh[i] *= 1 - h[i]*h[i]
	}
}

func (goKernels) dropoutMask(keep []uint8, stream *rng.Stream, first uint32, threshold uint32) {
	for i := range len(keep) / 8 {
		for w, word := range stream.Block(first + uint32(i)) {
			for half, v := range [2]uint32{word & 0xffff, word >> 16} {
				k := uint8(0)
				if v >= threshold {
					k = 1
				}
				keep[8*i+2*w+half] = k
			}
		}
	}
}

func (goKernels) scaleKept(s *keptShape, dst, src []float32, keep []uint8, scale float32) {
	for r := range s.rows {
		dst, src := dst[r*s.stride:], src[r*s.stride:]
		for i, k := range keep[r*s.keepStride:][:s.columns] {
			dst[i] = float32(k) * (src[i] * scale)
		}
	}
}

func (goKernels) transpose(dst, src []float32, rows, columns, dstRow, srcRow int) {
	for r := range rows {
		for c, v := range src[r*srcRow:][:columns] {
			dst[c*dstRow+r] = v
		}
	}
}

func (goKernels) addRows(sum, a []float32) {
	for len(a) > 0 {
		for i, v := range a[:len(sum)] {
			sum[i] += v
		}
		a = a[len(sum):]
	}
}

func (goKernels) channelMoments(z []float32, mean, m2 []float32) {
	channels := len(mean)
	rows := len(z) / channels
	for c := range channels {
		var sum float32
		for r := range rows {
			sum += z[r*channels+c]
		}
		mu := sum / float32(rows)
		var squares float32
		for r := range rows {
			d := z[r*channels+c] - mu
			squares += d * d
		}
		mean[c], m2[c] = mu, squares
	}
}

// window returns the index (0 to 3, row-major) of the first largest normalised value of the
// pooling window whose first element is z[at], its offset in z, and the value.
func (s *poolShape) window(z []float32, at int64, mean, scale, beta float32) (index, chosen int64, best float32) {
	offsets := [4]int64{0, s.channels, s.width * s.channels, (s.width + 1) * s.channels}
	for k, o := range offsets {
		u := (z[at+o]-mean)*scale + beta
		if k == 0 || u > best || u != u { // NaN counts as largest, as in PyTorch
			index, chosen, best = int64(k), at+o, u
		}
	}
	return
}

// windows calls f for every pooling window and channel: at is its first element's offset in
// z, pooled its offset in y, i and j are its row and column before pooling.
func (s *poolShape) windows(f func(at, pooled, c, i, j int64)) {
	pooled := int64(0)
	for i := int64(0); i < s.height; i += 2 {
		for j := int64(0); j < s.width; j += 2 {
			for c := range s.channels {
				f((i*s.width+j)*s.channels+c, pooled, c, i, j)
				pooled++
			}
		}
	}
}

func (goKernels) bnReluPool(s *poolShape, z, mean, scale, beta, y []float32) {
	s.windows(func(at, pooled, c, _, _ int64) {
		_, _, best := s.window(z, at, mean[c], scale[c], beta[c])
		y[pooled] = max(0, best)
	})
}

func (goKernels) bnReluPoolSums(s *poolShape, z, mean, scale, beta, dy, sumG, sumGZ []float32) {
	clear(sumG)
	clear(sumGZ)
	s.windows(func(at, pooled, c, _, _ int64) {
		if _, chosen, best := s.window(z, at, mean[c], scale[c], beta[c]); !(best <= 0) {
			sumG[c] += dy[pooled]
			sumGZ[c] += dy[pooled] * (z[chosen] - mean[c])
		}
	})
}

func (goKernels) bnReluPoolBackward(s *poolShape, z, mean, scale, beta, dy, kZ, k1, dz, sumDZ []float32) {
	clear(sumDZ)
	s.windows(func(at, pooled, c, i, j int64) {
		index, _, best := s.window(z, at, mean[c], scale[c], beta[c])
		for k := range int64(4) {
			row, pixel := k/2, k%2
			d := kZ[c]*(z[at+(row*s.width+pixel)*s.channels]-mean[c]) + k1[c]
			if k == index && !(best <= 0) {
				d += scale[c] * dy[pooled]
			}
			dz[(i+row)*s.outRow+(j+pixel)*s.outPixel+c] = d
			sumDZ[c] += d
		}
	})
}

func (goKernels) adam(s *adamStep, p, g, m, v []float32) {
	for i, g := range g {
		m[i] += s.oneMinusBeta1 * (g - m[i])
		v[i] = s.beta2*v[i] + s.oneMinusBeta2*(g*g)
		p[i] -= s.stepSize * (m[i] / (float32(math.Sqrt(float64(v[i])))/s.rootCorrection2 + s.eps))
	}
}
