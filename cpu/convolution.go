package cpu

// convolution computes and differentiates z = w * x + bias, image by image. Images x and dx
// are [in][height·width], as they come from and go to other operators; z and dz
// [height·width][outP], channels innermost, and so is y, with a quarter of the pixels.
type convolution interface {
	// memory returns the number of elements that it takes for batches of n.
	memory(n int) int
	// pack renews the filters, w [out][in][kernel·kernel], of convolve and gradients if train, or
	// of convolvePool.
	pack(w []float32, train bool)
	convolve(thread int, x, bias, z []float32)
	// convolvePool computes y, which is z normalised, through ReLU and pooled.
	convolvePool(thread int, x, bias []float32, norm *normalisation, y []float32)

	// prepare makes ready for the gradients of n images.
	prepare(n int)
	// poolGradient computes dz of an image.
	poolGradient(thread int, g *poolGradient)
	// gradients computes the gradients of the image whose dz the thread has computed: dx, unless
	// it is nil, and the filters', which are added to those of its group, or begin them.
	gradients(thread, group int, begin bool, x, dx []float32)
	// weightGradient computes dw [out][in][kernel·kernel], the sum over all groups.
	weightGradient(dw []float32, n int)
}

// normalisation is (z-mean)·scale + beta, for every channel.
type normalisation struct{ mean, scale, beta []float32 }

// poolGradient is what bnReluPoolBackward takes and computes, beside the place of dz.
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
}

// paddedRow and paddedSize return the elements of a row and of a whole image with a border of
// zeros all around, as wide as a filter reaches; border those before its first pixel inside.
func (c *convSizes) paddedRow(channels int) int { return (c.width + c.kernel - 1) * channels }
func (c *convSizes) paddedSize(channels int) int {
	return (c.height + c.kernel - 1) * c.paddedRow(channels)
}
func (c *convSizes) border(channels int) int {
	return c.kernel / 2 * (c.paddedRow(channels) + channels)
}

// pad writes the image x [in][height·width] into a padded one with channels innermost, whose
// border is left as it is. image is scratch of that size without border.
func (c *convSizes) pad(k kernels, to, image, x []float32, channels int) {
	pixels := c.height * c.width
	if channels == 1 {
		image = x
	} else {
		if channels > c.in {
			clear(image[:pixels*channels]) // of what was in the padding
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
