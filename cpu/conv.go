package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"crnn/model"
)

// convBlock is convolution, batch normalisation, ReLU and max pooling.
//
// An image is stored with its channels innermost, and with a border of zeros where a
// convolution reads beyond it. The product that is a convolution then needs no im2col
// matrix: row (i,j) of it, the patch around a pixel, begins at the offset of that pixel in
// the padded image, and its K rows of K·In elements lie one image row apart.
type convBlock struct {
	be *Backend
	model.ConvBlockSpec

	outP               int // Out and In, padded to lanes
	inP                int
	paddedRow          int // pixels in a row of a padded image
	paddedSize         int // pixels in a padded image
	weights            int64
	forward, backward  *panels   // weights as [K·K·In][Out], and as [K·K·outP][In], turned by 180 degrees
	rows               []float32 // of either, before it is packed
	xPixel, dzPixel    []int32   // offsets of a pixel's patch in a padded image
	zPixel, dxPixel    []int32   // offsets of a pixel in an image without border
	patch              []int32   // offsets of a patch's elements from its first
	gradRow            []int32   // offsets of the rows of dWeight as [K·K·In][Out]
	x, z, pooled       []float32
	imageMean, imageM2 []float32 // moments of every image's channels
	mean, scale, beta  []float32 // of the normalisation in force: (z-mean)·scale + beta
	invStd             []float64
	dz, dx, dWeight    []float32
	sumG, sumGZ, sumDZ []float32 // of every image's channels
	kZ, k1             []float32
}

// NewConvBlock implements model.Backend.
func (be *Backend) NewConvBlock(spec model.ConvBlockSpec) (model.ConvBlock, error) {
	c := &convBlock{be: be, ConvBlockSpec: spec, outP: padded(spec.Out), inP: padded(spec.In), weights: -1}
	k, border := spec.Kernel, spec.Kernel-1
	c.paddedRow = spec.Width + border
	c.paddedSize = c.paddedRow * (spec.Height + border)
	n := spec.MaxBatch
	if err := be.reserve(
		n*c.paddedSize*(spec.In+c.outP),                  // x, dz
		n*spec.Height*spec.Width*(c.outP+c.outP/4+c.inP), // z, pooled, dx
		3*k*k*max(spec.In*c.outP, c.outP*c.inP),          // weights, packed both ways, and their gradient
	); err != nil {
		return nil, err
	}
	c.forward = newPanels(k*k*spec.In, spec.Out)
	for i := range spec.Height {
		for j := range spec.Width {
			at := int32(i*c.paddedRow + j)
			c.xPixel = append(c.xPixel, at*int32(spec.In))
			c.dzPixel = append(c.dzPixel, at*int32(c.outP))
		}
	}
	c.zPixel = steps(spec.Height*spec.Width, c.outP)
	c.dxPixel = steps(spec.Height*spec.Width, c.inP)
	for u := range k {
		for v := range k * spec.In {
			c.patch = append(c.patch, int32(u*c.paddedRow*spec.In+v))
		}
	}
	c.gradRow = steps(len(c.patch), c.outP)
	c.mean = make([]float32, c.outP)
	c.scale = make([]float32, c.outP)
	c.beta = make([]float32, c.outP)
	c.invStd = make([]float64, c.outP)
	c.kZ = make([]float32, c.outP)
	c.k1 = make([]float32, c.outP)
	return c, nil
}

// convolve computes every pixel of one image: out = init + patch · weights. channels is
// the number of channels of the padded image in.
func (c *convBlock) convolve(in []float32, pixel, outPixel []int32, channels int, w *panels, bias, out []float32) {
	for i := 0; ; i++ {
		first, width, b := w.panel(i)
		if width == 0 {
			return
		}
		run := c.Kernel * channels // elements of a patch that lie next to each other
		s := matmulShape{
			m: int64(len(pixel)), n: int64(width),
			count:   [3]int64{1, int64(c.Kernel), int64(run)},
			strideA: [3]int64{0, int64(c.paddedRow * channels), 1},
			strideB: [3]int64{0, int64(run * width), int64(width)},
		}
		if bias == nil {
			c.be.matmul(&s, pixel, outPixel, in, b, nil, out[first:])
			continue
		}
		s.init = initBias
		c.be.matmul(&s, pixel, outPixel, in, b, bias[first:], out[first:])
	}
}

// pack renews the packed weights if the parameters have changed.
func (c *convBlock) pack() {
	if c.weights == c.be.weights {
		return
	}
	c.weights = c.be.weights
	k, in := c.Kernel, c.In
	w := values(c.Weight)
	c.rows = grow(c.rows, k*k*c.outP*in)
	for o := range c.Out {
		for i := range in {
			for tap := range k * k {
				c.rows[(tap*in+i)*c.Out+o] = w[(o*in+i)*k*k+tap]
			}
		}
	}
	c.forward.pack(c.rows, c.Out)
	if c.backward == nil {
		return
	}
	clear(c.rows) // of padding channels
	for o := range c.Out {
		for i := range in {
			for tap := range k * k {
				c.rows[((k*k-1-tap)*c.outP+o)*in+i] = w[(o*in+i)*k*k+tap]
			}
		}
	}
	c.backward.pack(c.rows, in)
}

func (c *convBlock) imageSize() int  { return c.Height * c.Width * c.outP }
func (c *convBlock) pooledSize() int { return c.imageSize() / 4 }

// inner returns the padded image b of a, from the first pixel inside the border on.
func (c *convBlock) inner(a []float32, b, channels int) []float32 {
	border := c.Kernel / 2
	return a[(b*c.paddedSize+border*(c.paddedRow+1))*channels:]
}

func (c *convBlock) shape() *poolShape {
	return &poolShape{
		height: int64(c.Height), width: int64(c.Width), channels: int64(c.outP),
		outRow: int64(c.paddedRow * c.outP), outPixel: int64(c.outP),
	}
}

// Forward implements model.ConvBlock.
func (c *convBlock) Forward(x, y *tensor.Dense, n int, train bool) {
	be, xv, yv := c.be, values(x), values(y)
	if train && c.backward == nil {
		c.backward = newPanels(c.Kernel*c.Kernel*c.outP, c.In)
		c.weights = -1
	}
	c.pack()
	bias := make([]float32, c.outP)
	copy(bias, values(c.Bias))
	copy(c.beta, values(c.Beta))
	c.x = grow(c.x, n*c.paddedSize*c.In)
	c.z = grow(c.z, n*c.imageSize())
	c.pooled = grow(c.pooled, n*c.pooledSize())

	convolution := func(b int) {
		for i := range c.Height {
			be.transpose(c.inner(c.x, b, c.In)[i*c.paddedRow*c.In:], xv[(b*c.In*c.Height+i)*c.Width:], c.In, c.Width, c.In, c.Height*c.Width)
		}
		c.convolve(c.x[b*c.paddedSize*c.In:], c.xPixel, c.zPixel, c.In, c.forward, bias, c.z[b*c.imageSize():])
	}
	shape := c.shape()
	pooling := func(b int) {
		pooled := c.pooled[b*c.pooledSize():][:c.pooledSize()]
		be.bnReluPool(shape, c.z[b*c.imageSize():][:c.imageSize()], c.mean, c.scale, c.beta, pooled)
		pixels := c.Height * c.Width / 4
		be.transpose(yv[b*c.Out*pixels:], pooled, pixels, c.Out, pixels, c.outP)
	}

	if !train {
		c.normaliseBy(values(c.RunningMean), values(c.RunningVar))
		be.pool.run(n, func(b int) {
			convolution(b)
			pooling(b)
		})
		return
	}
	c.imageMean = grow(c.imageMean, n*c.outP)
	c.imageM2 = grow(c.imageM2, n*c.outP)
	be.pool.run(n, func(b int) {
		convolution(b)
		be.channelMoments(c.z[b*c.imageSize():][:c.imageSize()], c.imageMean[b*c.outP:][:c.outP], c.imageM2[b*c.outP:][:c.outP])
	})
	c.normaliseByBatch(n)
	be.pool.run(n, pooling)
}

// normaliseBy sets the normalisation to a given mean and variance.
func (c *convBlock) normaliseBy(mean, variance []float32) {
	copy(c.mean, mean)
	for o, gamma := range values(c.Gamma) {
		c.invStd[o] = 1 / math.Sqrt(float64(variance[o])+c.Eps)
		c.scale[o] = float32(float64(gamma) * c.invStd[o])
	}
}

// normaliseByBatch sets the normalisation to the moments of the batch's n images, and moves
// the running statistics. Moments of images are combined as Chan, Golub and LeVeque
// ("Updating formulae and a pairwise algorithm for computing sample variances", 1979)
// combine those of samples, which keeps a variance exact that is small beside the mean.
func (c *convBlock) normaliseByBatch(n int) {
	pixels := float64(c.Height * c.Width)
	count := float64(n) * pixels
	variance := make([]float32, c.Out)
	mean := make([]float32, c.Out)
	runningMean, runningVar := values(c.RunningMean), values(c.RunningVar)
	for o := range c.Out {
		var mu, m2 float64
		for b := range n {
			mu += float64(c.imageMean[b*c.outP+o])
		}
		mu /= float64(n)
		for b := range n {
			d := float64(c.imageMean[b*c.outP+o]) - mu
			m2 += float64(c.imageM2[b*c.outP+o]) + pixels*d*d
		}
		mean[o], variance[o] = float32(mu), float32(m2/count)
		runningMean[o] = float32((1-c.Momentum)*float64(runningMean[o]) + c.Momentum*mu)
		runningVar[o] = float32((1-c.Momentum)*float64(runningVar[o]) + c.Momentum*m2/(count-1))
	}
	c.normaliseBy(mean, variance)
}

// Backward implements model.ConvBlock.
func (c *convBlock) Backward(_, dy, dx *tensor.Dense, n int) {
	be, dyv := c.be, values(dy)
	c.dz = grow(c.dz, n*c.paddedSize*c.outP)
	c.sumG = grow(c.sumG, n*c.outP)
	c.sumGZ = grow(c.sumGZ, n*c.outP)
	c.sumDZ = grow(c.sumDZ, n*c.outP)
	shape := c.shape()
	image := func(a []float32, b int) []float32 { return a[b*c.imageSize():][:c.imageSize()] }
	pooled := func(a []float32, b int) []float32 { return a[b*c.pooledSize():][:c.pooledSize()] }
	channels := func(a []float32, b int) []float32 { return a[b*c.outP:][:c.outP] }
	pixels := c.Height * c.Width / 4

	// pooled now holds dy.
	be.pool.run(n, func(b int) {
		be.transpose(pooled(c.pooled, b), dyv[b*c.Out*pixels:], c.Out, pixels, c.outP, pixels)
		be.bnReluPoolSums(shape, image(c.z, b), c.mean, c.scale, c.beta, pooled(c.pooled, b), channels(c.sumG, b), channels(c.sumGZ, b))
	})

	// With g = ∂loss/∂u, x̂ = (z - mean)/std and means over the batch:
	// dz = Gamma/std (g - mean(g) - x̂ mean(g x̂)) = scale g + kZ (z - mean) + k1.
	count := float64(n * c.Height * c.Width)
	dGamma, dBeta := values(c.DGamma), values(c.DBeta)
	for o := range c.Out {
		var g, gz float64
		for b := range n {
			g += float64(c.sumG[b*c.outP+o])
			gz += float64(c.sumGZ[b*c.outP+o])
		}
		dBeta[o], dGamma[o] = float32(g), float32(gz*c.invStd[o])
		scale := float64(c.scale[o])
		c.k1[o] = float32(-scale * g / count)
		c.kZ[o] = float32(-scale * c.invStd[o] * c.invStd[o] * gz / count)
	}

	var dxv []float32
	if dx != nil {
		dxv = values(dx)
		c.dx = grow(c.dx, n*c.Height*c.Width*c.inP)
	}
	be.pool.run(n, func(b int) {
		be.bnReluPoolBackward(shape, image(c.z, b), c.mean, c.scale, c.beta, pooled(c.pooled, b), c.kZ, c.k1, c.inner(c.dz, b, c.outP), channels(c.sumDZ, b))
		if dx == nil {
			return
		}
		// dx is the convolution of dz with the weights turned by 180 degrees.
		size := c.Height * c.Width
		out := c.dx[b*size*c.inP:][:size*c.inP]
		c.convolve(c.dz[b*c.paddedSize*c.outP:], c.dzPixel, c.dxPixel, c.outP, c.backward, nil, out)
		be.transpose(dxv[b*c.In*size:], out, size, c.In, size, c.inP)
	})

	dBias := values(c.DBias)
	for o := range dBias {
		var sum float64
		for b := range n {
			sum += float64(c.sumDZ[b*c.outP+o])
		}
		dBias[o] = float32(sum)
	}
	c.weightGradient(n)
}

// weightGradient computes DWeight[o,c,u,v] = Σ_{b,i,j} dz[b,o,i,j] x[b,c,i+u-P,j+v-P]. Each
// thread makes some rows of its transpose [K·K·In][Out], image after image.
func (c *convBlock) weightGradient(n int) {
	rows := len(c.patch)
	c.dWeight = grow(c.dWeight, rows*c.outP)
	s := matmulShape{
		n:       int64(c.outP),
		count:   [3]int64{1, int64(c.Height), int64(c.Width)},
		strideA: [3]int64{0, int64(c.paddedRow * c.In), int64(c.In)},
		strideB: [3]int64{0, int64(c.paddedRow * c.outP), int64(c.outP)},
	}
	dw, taps := values(c.DWeight), c.Kernel*c.Kernel
	c.be.pool.runChunks(rows, rows, func(lo, hi int) {
		s := s
		s.m = int64(hi - lo)
		for b := range n {
			c.be.matmul(&s, c.patch[lo:hi], c.gradRow[lo:hi], c.x[b*c.paddedSize*c.In:], c.inner(c.dz, b, c.outP), nil, c.dWeight)
			s.init = initSum
		}
		for r := lo; r < hi; r++ {
			tap, in := r/c.In, r%c.In
			for o := range c.Out {
				dw[(o*c.In+in)*taps+tap] = c.dWeight[r*c.outP+o]
			}
		}
	})
}
