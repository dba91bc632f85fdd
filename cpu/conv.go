package cpu

import (
	"fmt"
	"math"

	"crnn/model"
)

// convBlock is convolution, batch normalisation, ReLU and max pooling.
type convBlock struct {
	be   *Backend
	spec model.ConvBlockSpec
	convSizes
	convolution

	name                string     // for a profile
	lastPass            model.Pass // of Forward
	trainPack, evalPack int64      // versions of the packed filters: see Backend.weights
	z                   []float32  // of training
	pooled              []float32  // per thread, an image after pooling
	dPooled             []float32
	largest             []float32 // per pooling window, and its index: see bnReluPool
	index               []uint8
	imageMean           []float32 // moments per image and channel
	imageM2             []float32
	bias                []float32
	norm                normalisation // in force
	invStd              []float64
	sumG, sumGZ         []float32 // per image and channel
	sumDZ               []float32
	kZ, k1              []float32
}

// NewConvBlock implements model.Backend.
func (be *Backend) NewConvBlock(spec model.ConvBlockSpec) (model.ConvBlock, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	sizes := newConvSizes(spec.In, spec.Out, spec.Height, spec.Width, spec.Kernel)
	c := &convBlock{
		be: be, spec: spec, convSizes: sizes, trainPack: -1, evalPack: -1,
		name: fmt.Sprintf("convolution block %d→%d", spec.In, spec.Out),
	}
	switch {
	case be.tiles:
		c.convolution = newTiled(be, sizes)
	case spec.Kernel == 5 && spec.In >= lanes/2:
		c.convolution = newWinograd(be, sizes)
	default:
		c.convolution = newDirect(be, sizes)
	}
	n := spec.MaxBatch
	if err := be.reserve(c.memory(n), n*c.imageSize(), n*c.pooledSize()*9/4, be.pool.threads*c.pooledSize()); err != nil {
		return nil, err
	}
	for _, a := range []*[]float32{&c.bias, &c.norm.mean, &c.norm.scale, &c.norm.beta, &c.kZ, &c.k1} {
		*a = make([]float32, c.outP)
	}
	c.invStd = make([]float64, c.outP)
	c.pooled = make([]float32, be.pool.threads*c.pooledSize())
	return c, nil
}

// imageSize and pooledSize return the elements of an image before and after pooling.
func (c *convBlock) imageSize() int  { return c.height * c.width * c.outP }
func (c *convBlock) pooledSize() int { return c.pools() * c.outP }

// Forward implements model.ConvBlock.
func (c *convBlock) Forward(p model.Pass) {
	be, xv, yv, n := c.be, values(c.spec.X), values(c.spec.Y), p.Samples
	if !be.begin(c.name+" forward", p.Check(c.spec.MaxBatch)) {
		return
	}
	c.lastPass = p
	packed := &c.evalPack
	if p.Train {
		packed = &c.trainPack
	}
	if *packed != be.weights {
		c.pack(values(c.spec.Weight), p.Train)
		*packed = be.weights
	}
	copy(c.bias, values(c.spec.Bias))
	copy(c.norm.beta, values(c.spec.Beta))
	inSize, pixels := c.in*c.height*c.width, c.pools()

	finish := func(pooled []float32, b int) { // with channels outermost, as in y
		be.transpose(yv[b*c.out*pixels:], pooled, pixels, c.out, pixels, c.outP)
	}
	if !p.Train {
		c.normaliseBy(values(c.spec.RunningMean), values(c.spec.RunningVar))
		be.samples(n, func(thread, lo, hi int) {
			for b := lo; b < hi; b++ {
				pooled := part(c.pooled, thread, c.pooledSize())
				c.convolvePool(thread, part(xv, b, inSize), c.bias, &c.norm, pooled)
				finish(pooled, b)
			}
		})
		return
	}
	c.z = grow(c.z, n*c.imageSize())
	c.imageMean, c.imageM2 = grow(c.imageMean, n*c.outP), grow(c.imageM2, n*c.outP)
	be.pool.run(n, func(thread, b int) {
		z := part(c.z, b, c.imageSize())
		c.convolve(thread, part(xv, b, inSize), c.bias, z)
		be.channelMoments(z, c.height*c.width, c.outP, part(c.imageMean, b, c.outP), part(c.imageM2, b, c.outP))
	})
	c.normaliseByBatch(n)
	c.largest, c.index = grow(c.largest, n*c.pooledSize()), grow(c.index, n*c.pooledSize())
	be.pool.run(n, func(thread, b int) {
		pooled := part(c.pooled, thread, c.pooledSize())
		be.bnReluPool(c.poolShape(0), part(c.z, b, c.imageSize()), c.norm.mean, c.norm.scale, c.norm.beta, pooled,
			part(c.largest, b, c.pooledSize()), part(c.index, b, c.pooledSize()))
		finish(pooled, b)
	})
}

// normaliseBy sets the normalisation to a given mean and variance.
func (c *convBlock) normaliseBy(mean, variance []float32) {
	copy(c.norm.mean, mean)
	for o, gamma := range values(c.spec.Gamma) {
		c.invStd[o] = 1 / math.Sqrt(float64(variance[o])+c.spec.Eps)
		c.norm.scale[o] = float32(float64(gamma) * c.invStd[o])
	}
}

// normaliseByBatch sets the normalisation to the moments of the batch's n images, and moves
// the running statistics. Moments of images are combined as Chan, Golub and LeVeque
// ("Updating formulae and a pairwise algorithm for computing sample variances", 1979)
// combine moments of samples, which keeps a small variance accurate beside a large mean.
func (c *convBlock) normaliseByBatch(n int) {
	pixels := float64(c.height * c.width)
	count := float64(n) * pixels
	variance := make([]float32, c.out)
	mean := make([]float32, c.out)
	runningMean, runningVar := values(c.spec.RunningMean), values(c.spec.RunningVar)
	for o := range c.out {
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
		runningMean[o] = float32((1-c.spec.Momentum)*float64(runningMean[o]) + c.spec.Momentum*mu)
		runningVar[o] = float32((1-c.spec.Momentum)*float64(runningVar[o]) + c.spec.Momentum*m2/(count-1))
	}
	c.normaliseBy(mean, variance)
}

// Backward implements model.ConvBlock.
func (c *convBlock) Backward(p model.Pass) {
	be, xv, dyv, n := c.be, values(c.spec.X), values(c.spec.DY), p.Samples
	if !be.begin(c.name+" backward", p.CheckBackward(c.spec.MaxBatch), p.CheckAfter(c.lastPass)) {
		return
	}
	for _, a := range []*[]float32{&c.sumG, &c.sumGZ, &c.sumDZ} {
		*a = grow(*a, n*c.outP)
	}
	c.dPooled = grow(c.dPooled, n*c.pooledSize())
	inSize, pixels := c.in*c.height*c.width, c.pools()
	be.pool.run(n, func(_, b int) {
		d := part(c.dPooled, b, c.pooledSize())
		be.transpose(d, dyv[b*c.out*pixels:], c.out, pixels, c.outP, pixels)
		be.bnReluPoolSums(pixels, c.outP, part(c.largest, b, c.pooledSize()), part(c.index, b, c.pooledSize()), d,
			part(c.sumG, b, c.outP), part(c.sumGZ, b, c.outP))
	})

	// With g = ∂loss/∂u, x̂ = (z - mean)/std and means over the batch:
	// dz = Gamma/std (g - mean(g) - x̂ mean(g x̂)) = scale g + kZ (z - mean) + k1.
	count := float64(n * c.height * c.width)
	dGamma, dBeta := values(c.spec.DGamma), values(c.spec.DBeta)
	for o := range c.out {
		g, gz := sumChannel(c.sumG, n, c.outP, o), sumChannel(c.sumGZ, n, c.outP, o)
		dBeta[o], dGamma[o] = float32(g), float32(gz*c.invStd[o])
		scale := float64(c.norm.scale[o])
		c.k1[o] = float32(-scale * g / count)
		c.kZ[o] = float32(-scale * c.invStd[o] * c.invStd[o] * gz / count)
	}

	c.prepare(n)
	be.pool.run(groups(n), func(thread, g int) {
		lo, hi := group(g, n)
		for b := lo; b < hi; b++ {
			c.poolGradient(thread, &poolGradient{
				c.norm, part(c.z, b, c.imageSize()), part(c.index, b, c.pooledSize()), part(c.dPooled, b, c.pooledSize()),
				c.kZ, c.k1, part(c.sumDZ, b, c.outP), c.spec.DX != nil,
			})
			var to []float32
			if c.spec.DX != nil {
				to = part(values(c.spec.DX), b, inSize)
			}
			c.gradients(thread, g, b == lo, part(xv, b, inSize), to)
		}
	})
	dBias := values(c.spec.DBias)
	for o := range dBias {
		dBias[o] = float32(sumChannel(c.sumDZ, n, c.outP, o))
	}
	c.weightGradient(values(c.spec.DWeight), n)
}

// sumChannel returns the sum over n images of a channel of a [n][channels].
func sumChannel(a []float32, n, channels, channel int) (sum float64) {
	for b := range n {
		sum += float64(a[b*channels+channel])
	}
	return
}
