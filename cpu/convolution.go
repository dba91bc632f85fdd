package cpu

// convolution computes and differentiates z = w * x + bias, image by image. Images x and dx are
// [in][height·width], as in other operators. z and dz are [height·width][outP], channels innermost;
// so is y, with a pixel per window of 2x2.
type convolution interface {
	// memory returns the 4-byte elements that batches of n images take.
	memory(n int) int
	// pack makes filters from w [out][in][kernel·kernel]: with train for convolve and gradients, else
	// for convolvePool.
	pack(w []float32, train bool)
	convolve(thread int, x, bias, z []float32)
	// convolvePool computes y, which is z after normalisation, ReLU and pooling.
	convolvePool(thread int, x, bias []float32, norm *normalisation, y []float32)

	// prepare makes room for the gradients of n images.
	prepare(n int)
	// poolGradient computes dz of an image.
	poolGradient(thread int, g *poolGradient)
	// gradients computes the gradients of the image whose dz the thread has just computed: dx, unless
	// it is nil, and the gradient of the filters. It adds that to the sum of its group or, with begin,
	// starts the sum.
	gradients(thread, group int, begin bool, x, dx []float32)
	// weightGradient computes dw [out][in][kernel·kernel], the sum over all groups.
	weightGradient(dw []float32, n int)
}

// normalisation is (z-mean)·scale + beta, per channel.
type normalisation struct{ mean, scale, beta []float32 }

// poolGradient holds the arguments of bnReluPoolBackward except dz.
type poolGradient struct {
	normalisation
	z      []float32
	index  []uint8
	dy     []float32
	kZ, k1 []float32
	sumDZ  []float32
	dx     bool // the input's gradient is wanted
}

// compute writes dz, whose rows are row elements apart.
func (g *poolGradient) compute(k kernels, s *convSizes, dz []float32, row int) {
	k.bnReluPoolBackward(s.poolShape(row), g.z, g.mean, g.scale, g.index, g.dy, g.kZ, g.k1, dz, g.sumDZ)
}

// convSizes are the sizes of a convolution.
type convSizes struct {
	in, out, height, width, kernel int
	inP, outP                      int // channels, padded to lanes
	evenHeight, evenWidth          int // height and width, rounded up to a multiple of 2
}

func newConvSizes(in, out, height, width, kernel int) convSizes {
	return convSizes{in, out, height, width, kernel, padded(in), padded(out), height + height%2, width + width%2}
}

// pools returns the windows of 2x2 of an image: a last odd row or column belongs to none.
func (c *convSizes) pools() int { return c.height / 2 * (c.width / 2) }

// paddedRow and paddedSize return the elements of a row and of a whole image with a border of zeros all
// around, as wide as a filter reaches, and with even sides. border returns the elements before its
// first pixel inside.
func (c *convSizes) paddedRow(channels int) int { return (c.evenWidth + c.kernel - 1) * channels }
func (c *convSizes) paddedSize(channels int) int {
	return (c.evenHeight + c.kernel - 1) * c.paddedRow(channels)
}
func (c *convSizes) border(channels int) int {
	return c.kernel / 2 * (c.paddedRow(channels) + channels)
}

// pad writes the image x [in][height·width] into a padded one with channels innermost and leaves the
// border unchanged. image is scratch for an image without border.
func (c *convSizes) pad(k kernels, to, image, x []float32, channels int) {
	pixels := c.height * c.width
	if channels == 1 {
		image = x
	} else {
		if channels > c.in {
			clear(image[:pixels*channels]) // the padding may hold old values
		}
		k.transpose(image, x, c.in, pixels, channels, pixels)
	}
	row := c.width * channels
	for i := range c.height {
		copy(to[c.border(channels)+i*c.paddedRow(channels):], image[i*row:][:row])
	}
}

// unpad is the reverse of pad.
func (c *convSizes) unpad(k kernels, x, image, from []float32, channels int) {
	row := c.width * channels
	for i := range c.height {
		copy(image[i*row:][:row], from[c.border(channels)+i*c.paddedRow(channels):])
	}
	pixels := c.height * c.width
	k.transpose(x, image, pixels, c.in, pixels, channels)
}

func (c *convSizes) poolShape(outRow int) *poolShape {
	return &poolShape{height: int64(c.height), width: int64(c.width), channels: int64(c.outP), outRow: int64(outRow)}
}
