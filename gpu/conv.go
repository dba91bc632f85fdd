//go:build cuda

package gpu

import (
	"fmt"
	"math"

	"crnn/kernels"
	"crnn/model"
)

// convBlock is convolution, batch normalisation, ReLU and max pooling: kernels/conv.cu or
// conv_mma.cu, conv_sum.cu and batchnorm.cu.
type convBlock struct {
	be *Backend
	model.ConvBlockSpec
	outKernels, inKernels convolution // for products with Out and with In channels
	lastPass              model.Pass  // of Forward

	taps, turnedTaps kernels.Ptr // tables of tap: for P(x) and for P(dz)
	z, dz            kernels.F32 // [n,Out,H,W]
	moments          kernels.Ptr // [Out,tiles], of z
	statistics       kernels.Ptr // [Out]
	gradientSums     kernels.Ptr // [shares,Out]
	dzSums           kernels.F32 // [shares,Out]
	partials         kernels.F32 // [shares of the pixels,Out,In,Kernel,Kernel]
}

// tap is the struct Tap of kernels/conv.cuh.
type tap struct{ offset, place, channel, _ int32 }

// Sizes of the kernels' structs, in bytes.
const (
	tapBytes          = 16
	momentsBytes      = 16
	statisticsBytes   = 8
	gradientSumsBytes = 8
)

const (
	tilePixels = 80      // columns of a tile of a convolution
	maxSide    = 1 << 13 // height and width of an image: see inside in kernels/conv.cuh
	outside    = -(0x2000 << 16)

	// A convolution's weight gradient is cut into shares of the pixels: one block for
	// each of an H100's 132 multiprocessors. Shares are multiples of shareStep. The
	// numbers are the same on every card, and so are the sums.
	weightBlocks = 132
	shareStep    = 64

	// The batch normalisation's kernels have about as many blocks as an H100 holds at once,
	// eight on each multiprocessor.
	normBlocks = 1056

	sumColumns = 32 // columns per block of conv_backward_weight_sum
)

// The kernels of kernels/conv.cu and conv_mma.cu, in one precision and for tiles of one height.
type (
	convForward func(x, weight, bias kernels.F32, taps kernels.Ptr, z kernels.F32, moments kernels.Ptr,
		n, in, out, height, width, kernel int32) kernels.Call
	convBackwardData func(dz, weight kernels.F32, taps kernels.Ptr, dx kernels.F32,
		n, in, out, height, width, kernel int32) kernels.Call
	convBackwardWeight func(x, dz kernels.F32, taps kernels.Ptr, partials kernels.F32,
		n, in, out, height, width, kernel, share int32) kernels.Call
)

// convolution holds the kernels for tiles of `rows` rows.
type convolution struct {
	rows     int
	forward  convForward
	toData   convBackwardData
	toWeight convBackwardWeight
}

// convolutions holds the kernels by precision: for at most 32 channels, and for more.
var convolutions = map[string][2]convolution{
	"fp32": {
		{32, kernels.ConvForward32, kernels.ConvBackwardData32, kernels.ConvBackwardWeight32},
		{64, kernels.ConvForward64, kernels.ConvBackwardData64, kernels.ConvBackwardWeight64},
	},
	"tf32": {
		{32, kernels.ConvForward32Tf32, kernels.ConvBackwardData32Tf32, kernels.ConvBackwardWeight32Tf32},
		{64, kernels.ConvForward64Tf32, kernels.ConvBackwardData64Tf32, kernels.ConvBackwardWeight64Tf32},
	},
	"bf16": {
		{32, kernels.ConvForward32Bf16, kernels.ConvBackwardData32Bf16, kernels.ConvBackwardWeight32Bf16},
		{64, kernels.ConvForward64Bf16, kernels.ConvBackwardData64Bf16, kernels.ConvBackwardWeight64Bf16},
	},
}

func convolutionFor(precision string, channels int) convolution {
	c := convolutions[precision]
	if channels <= c[0].rows {
		return c[0]
	}
	return c[1]
}

// NewConvBlock implements model.Backend.
func (be *Backend) NewConvBlock(spec model.ConvBlockSpec) (model.ConvBlock, error) {
	c := &convBlock{
		be: be, ConvBlockSpec: spec,
		outKernels: convolutionFor(be.precision, spec.Out), inKernels: convolutionFor(be.precision, spec.In),
	}
	if be.precision == "bf16" && spec.Width%2 != 0 {
		// The kernel for bf16 takes two neighbouring pixels of a row at once. The one for tf32 takes each
		// on its own, and rounds less.
		c.outKernels.toWeight = convolutionFor("tf32", spec.Out).toWeight
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if err := c.checkSizes(); err != nil {
		return nil, err
	}
	source := "conv"
	if be.precision != "fp32" {
		source = "conv_mma"
	}
	if err := be.ready("batchnorm", source); err != nil {
		return nil, err
	}
	depth := spec.In * spec.Kernel * spec.Kernel
	shares := min(spec.MaxBatch, ceil(normBlocks, spec.Out))
	channels, z := int64(spec.Out), int64(spec.MaxBatch)*int64(spec.Out)*int64(spec.Height)*int64(spec.Width)
	var err error
	alloc := func(bytes int64) uint64 {
		if err != nil {
			return 0
		}
		var address uint64
		address, err = be.alloc(bytes)
		return address
	}
	c.z, c.dz = kernels.F32(alloc(4*z)), kernels.F32(alloc(4*z))
	c.moments = kernels.Ptr(alloc(momentsBytes * channels * int64(c.tiles(spec.MaxBatch))))
	c.statistics = kernels.Ptr(alloc(statisticsBytes * channels))
	c.gradientSums = kernels.Ptr(alloc(gradientSumsBytes * channels * int64(shares)))
	c.dzSums = kernels.F32(alloc(4 * channels * int64(shares)))
	c.partials = kernels.F32(alloc(4 * channels * int64(depth) * int64(c.maxWeightShares())))
	c.taps, c.turnedTaps = kernels.Ptr(alloc(c.tapsBytes(spec.In))), kernels.Ptr(alloc(c.tapsBytes(spec.Out)))
	if err != nil || be.planning() {
		return c, err
	}
	if err := be.upload(uint64(c.taps), bytesOf(c.tapTable(spec.In))); err != nil {
		return nil, err
	}
	return c, be.upload(uint64(c.turnedTaps), bytesOf(c.tapTable(spec.Out)))
}

func (c *convBlock) name() string { return fmt.Sprintf("convolution block %d→%d", c.In, c.Out) }

// checkSizes refuses sizes that the kernels cannot count in 32 bits.
func (c *convBlock) checkSizes() error {
	if c.Height > maxSide || c.Width > maxSide {
		return fmt.Errorf("images of %dx%d: the GPU's convolution takes at most %d pixels per side",
			c.Height, c.Width, maxSide)
	}
	elements := int64(c.MaxBatch) * int64(c.Height) * int64(c.Width) * int64(max(c.In, c.Out))
	if elements > math.MaxInt32-tilePixels {
		return fmt.Errorf("a convolution of %d images of %dx%d with %d channels has %d values, "+
			"at most %d fit the GPU's kernels: take a smaller batch-size or image-size",
			c.MaxBatch, c.Height, c.Width, max(c.In, c.Out), elements, math.MaxInt32-tilePixels)
	}
	if weights := int64(c.In) * int64(c.Out) * int64(c.Kernel) * int64(c.Kernel); weights > math.MaxInt32 {
		return fmt.Errorf("a convolution of %d to %d channels with kernel %d has %d weights, "+
			"at most %d fit the GPU's kernels",
			c.In, c.Out, c.Kernel, weights, math.MaxInt32)
	}
	return nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

// tapsBytes and tapTable return the size and the content of the table of taps of P, for an array with
// `channels` channels.
func (c *convBlock) tapsBytes(channels int) int64 {
	return tapBytes * int64(channels*c.Kernel*c.Kernel+tilePixels)
}

func (c *convBlock) tapTable(channels int) []tap {
	table := make([]tap, 0, channels*c.Kernel*c.Kernel+tilePixels)
	pad := c.Kernel / 2
	for channel := range channels {
		for u := -pad; u <= pad; u++ {
			for v := -pad; v <= pad; v++ {
				table = append(table, tap{
					offset:  int32((channel*c.Height+u)*c.Width + v),
					place:   int32(u<<16 + v),
					channel: int32(channel),
				})
			}
		}
	}
	for range tilePixels {
		table = append(table, tap{place: outside})
	}
	return table
}

// tiles returns the number of tiles of the pixels of n samples.
func (c *convBlock) tiles(n int) int { return ceil(n*c.Height*c.Width, tilePixels) }

// shares returns how the batch normalisation cuts n samples: samples per share, and shares.
func (c *convBlock) shares(n int) (samples, shares int) {
	samples = ceil(n, min(n, ceil(normBlocks, c.Out)))
	return samples, ceil(n, samples)
}

// weightTiles returns the tiles of the weight gradient, across and down.
func (c *convBlock) weightTiles() (across, down int) {
	return ceil(c.In*c.Kernel*c.Kernel, tilePixels), ceil(c.Out, c.outKernels.rows)
}

// maxWeightShares returns the largest number of shares of the pixels of a weight gradient.
func (c *convBlock) maxWeightShares() int {
	across, down := c.weightTiles()
	return max(1, weightBlocks/(across*down))
}

// weightShares returns how the weight gradient cuts the pixels of n samples: pixels per share,
// and shares.
func (c *convBlock) weightShares(n int) (share, shares int) {
	pixels := n * c.Height * c.Width
	share = ceil(ceil(pixels, c.maxWeightShares()), shareStep) * shareStep
	return share, ceil(pixels, share)
}

// Forward implements model.ConvBlock.
func (c *convBlock) Forward(p model.Pass) {
	if !c.be.begin(c.name()+" forward", p.Check(c.MaxBatch)) {
		return
	}
	c.lastPass = p
	n := p.Samples
	count, in, out, height, width, kernel := c.sizes(n)
	c.be.launch(c.outKernels.forward(f32(c.X), f32(c.Weight), f32(c.Bias), c.taps, c.z, c.moments,
		count, in, out, height, width, kernel),
		grid{c.tiles(n), ceil(c.Out, c.outKernels.rows), 1})

	samples, shares := c.shares(n)
	training := int32(0)
	if p.Train {
		training = 1
	}
	c.be.launch(kernels.BatchnormPoolForward(c.z, c.moments, f32(c.Gamma), f32(c.Beta),
		f32(c.RunningMean), f32(c.RunningVar), c.statistics, f32(c.Y),
		count, out, height, width, int32(samples), float32(c.Eps), float32(c.Momentum), training),
		grid{shares, c.Out, 1})
}

// Backward implements model.ConvBlock.
func (c *convBlock) Backward(p model.Pass) {
	if !c.be.begin(c.name()+" backward", p.CheckBackward(c.MaxBatch), p.CheckAfter(c.lastPass)) {
		return
	}
	c.backwardNorm(p.Samples)
	c.backwardConvolution(p.Samples)
}

// backwardNorm computes DGamma, DBeta, dz and the sums of dz from DY.
func (c *convBlock) backwardNorm(n int) {
	count, _, out, height, width, _ := c.sizes(n)
	samples, shares := c.shares(n)
	c.be.launch(kernels.BatchnormPoolSums(c.z, f32(c.DY), c.statistics, f32(c.Gamma), f32(c.Beta), c.gradientSums,
		count, out, height, width, int32(samples)),
		grid{shares, c.Out, 1})
	c.be.launch(kernels.BatchnormBackward(c.z, f32(c.DY), c.statistics, f32(c.Gamma), f32(c.Beta), c.gradientSums,
		f32(c.DGamma), f32(c.DBeta), c.dz, c.dzSums, count, out, height, width, int32(samples)),
		grid{shares, c.Out, 1})
}

// backwardConvolution computes DWeight, DBias and, unless it is nil, DX, from dz and its sums.
func (c *convBlock) backwardConvolution(n int) {
	count, in, out, height, width, kernel := c.sizes(n)
	if c.DX != nil {
		c.be.launch(c.inKernels.toData(c.dz, f32(c.Weight), c.turnedTaps, f32(c.DX), count, in, out, height, width, kernel),
			grid{c.tiles(n), ceil(c.In, c.inKernels.rows), 1})
	}

	across, down := c.weightTiles()
	share, weightShares := c.weightShares(n)
	_, biasShares := c.shares(n)
	c.be.launch(c.outKernels.toWeight(f32(c.X), c.dz, c.taps, c.partials,
		count, in, out, height, width, kernel, int32(share)),
		grid{across, down, weightShares})
	weights := c.Out * c.In * c.Kernel * c.Kernel
	c.be.launch(kernels.ConvBackwardWeightSum(c.partials, c.dzSums, f32(c.DWeight), f32(c.DBias),
		int32(weightShares), int32(weights), int32(biasShares), out),
		grid{ceil(weights, sumColumns) + ceil(c.Out, sumColumns), 1, 1})
}

// sizes returns the kernels' size arguments for n samples.
func (c *convBlock) sizes(n int) (count, in, out, height, width, kernel int32) {
	return int32(n), int32(c.In), int32(c.Out), int32(c.Height), int32(c.Width), int32(c.Kernel)
}
