//go:build cuda

package gpu

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// convTest is a convolution block on the device, with inputs that the tests choose.
type convTest struct {
	*testing.T
	*convBlock
	n int
}

func newConvTest(t *testing.T, be *Backend, n, in, out, height, width, kernel int) *convTest {
	c := &convTest{T: t, n: n}
	weights := []int{out, in, kernel, kernel}
	block, err := be.NewConvBlock(model.ConvBlockSpec{
		MaxBatch: n, In: in, Out: out, Height: height, Width: width, Kernel: kernel, Eps: 1e-5, Momentum: 0.1,
		Weight: c.alloc(be, weights...), Bias: c.alloc(be, out), Gamma: c.alloc(be, out), Beta: c.alloc(be, out),
		RunningMean: c.alloc(be, out), RunningVar: c.alloc(be, out),
		DWeight: c.alloc(be, weights...), DBias: c.alloc(be, out), DGamma: c.alloc(be, out), DBeta: c.alloc(be, out),
		X: c.alloc(be, n, in, height, width), DX: c.alloc(be, n, in, height, width),
		Y: c.alloc(be, n, out, height/2, width/2), DY: c.alloc(be, n, out, height/2, width/2),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.convBlock = block.(*convBlock)
	return c
}

func (c *convTest) alloc(be *Backend, shape ...int) *tensor.Dense {
	c.Helper()
	a, err := be.Alloc(shape...)
	if err != nil {
		c.Fatal(err)
	}
	return a
}

// put returns an array with values on the device.
func (c *convTest) put(values []float32) *tensor.Dense {
	c.Helper()
	a := c.alloc(c.be, len(values))
	if err := c.be.Upload(a, values); err != nil {
		c.Fatal(err)
	}
	return a
}

// get returns count values from a device address.
func (c *convTest) get(from kernels.F32, count int) []float32 {
	c.Helper()
	values := make([]float32, count)
	if err := c.be.download(bytesOf(values), uint64(from)); err != nil {
		c.Fatal(err)
	}
	return values
}

// im2col returns the matrix P of an array [n,channels,H,W], by the plain kernel.
func (c *convTest) im2col(x kernels.F32, channels int) []float32 {
	c.Helper()
	rows, columns := channels*c.Kernel*c.Kernel, c.n*c.Height*c.Width
	p := c.alloc(c.be, rows*columns)
	call := kernels.Im2col(x, f32(p), int32(c.n), int32(channels), int32(c.Height), int32(c.Width), int32(c.Kernel))
	c.be.launch(call, grid{ceil(columns, call.Threads), rows, 1})
	return c.get(f32(p), rows*columns)
}

// product returns a [m,k] times b [k,n], by the plain kernel.
func (c *convTest) product(a, b []float32, m, n, k int) []float32 {
	c.Helper()
	out := c.alloc(c.be, m*n)
	call := kernels.Matmul(f32(c.put(a)), f32(c.put(b)), f32(out), int32(m), int32(n), int32(k))
	c.be.launch(call, grid{ceil(n, call.Threads), m, 1})
	return c.get(f32(out), m*n)
}

// permuted returns the array b of shape [s0,s1,s2] as [s1,s0,s2].
func permuted(b []float32, s0, s1, s2 int) []float32 {
	out := make([]float32, 0, len(b))
	for j := range s1 {
		for i := range s0 {
			out = append(out, b[(i*s1+j)*s2:][:s2]...)
		}
	}
	return out
}

// transposed returns b [rows,columns] as [columns,rows].
func transposed(b []float32, rows, columns int) []float32 { return permuted(b, rows, columns, 1) }

// small returns numbers i/16 with |i| <= 15. They are exact in every precision, and so are the
// sums of fewer than 2^24 / 225 products of them, in any order.
func small(r *rand.Rand, count int) []float32 {
	values := make([]float32, count)
	for i := range values {
		values[i] = float32(r.IntN(31)-15) / 16
	}
	return values
}

func (c *convTest) same(what string, got, want []float32) {
	c.Helper()
	for i := range want {
		if got[i] != want[i] {
			c.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

// The tiled convolutions must equal the products of im2col matrices, to the bit: with these values,
// nothing is rounded.
func TestConvolutionsAreProductsOfPatches(t *testing.T) {
	for _, size := range [][6]int{ // n, in, out, height, width, kernel
		{2, 1, 32, 28, 28, 5}, // the recipe's
		{2, 32, 64, 14, 14, 5},
		{3, 40, 70, 6, 10, 3}, // tiles of 64 rows everywhere, with a remainder
		{45, 3, 4, 2, 2, 1},   // samples smaller than a tile
		{2, 2, 33, 2, 4, 9},   // a kernel larger than the image
		{1, 1, 1, 4, 2, 3},
	} {
		for _, precision := range []string{"fp32", "tf32", "bf16"} {
			t.Run(fmt.Sprint(size, precision), func(t *testing.T) {
				c := newConvTest(t, openTest(t, precision), size[0], size[1], size[2], size[3], size[4], size[5])
				r := rand.New(rand.NewPCG(1, 2))
				n, pixels, taps := c.n, c.Height*c.Width, c.Kernel*c.Kernel
				x, w, bias, dz := small(r, n*c.In*pixels), small(r, c.Out*c.In*taps), small(r, c.Out), small(r, n*c.Out*pixels)
				for i := range bias {
					bias[i] += 1000 // so that z is far from 0, which its moments must bear
				}
				for a, v := range map[*tensor.Dense][]float32{c.X: x, c.Weight: w, c.Bias: bias} {
					if err := c.be.Upload(a, v); err != nil {
						t.Fatal(err)
					}
				}

				c.Forward(model.Pass{Samples: n, Whole: n, Train: true})
				patches := c.im2col(f32(c.X), c.In)
				want := c.product(w, patches, c.Out, n*pixels, c.In*taps)
				for i := range want {
					want[i] += bias[i/(n*pixels)]
				}
				want = permuted(want, c.Out, n, pixels)
				c.same("z", c.get(c.z, len(want)), want)
				c.checkMoments(want)

				if err := c.be.upload(uint64(c.dz), bytesOf(dz)); err != nil {
					t.Fatal(err)
				}
				c.backwardConvolution(n)
				rows := make([]float32, 0, len(w)) // weight turned by 180 degrees, [in,out,taps]
				for i := range c.In {
					for o := range c.Out {
						tap := slices.Clone(w[(o*c.In+i)*taps:][:taps])
						slices.Reverse(tap)
						rows = append(rows, tap...)
					}
				}
				want = c.product(rows, c.im2col(c.dz, c.Out), c.In, n*pixels, c.Out*taps)
				c.same("dx", c.get(f32(c.DX), c.DX.DataSize()), permuted(want, c.In, n, pixels))

				want = c.product(permuted(dz, n, c.Out, pixels), transposed(patches, c.In*taps, n*pixels),
					c.Out, c.In*taps, n*pixels)
				c.same("dweight", c.get(f32(c.DWeight), len(want)), want)
			})
		}
	}
}

// checkMoments compares the moments that the convolution left with those of z.
func (c *convTest) checkMoments(z []float32) {
	c.Helper()
	type moments struct {
		mean float64
		m2   float32
		_    float32
	}
	tiles, columns := c.tiles(c.n), c.n*c.Height*c.Width
	got := make([]moments, c.Out*tiles)
	if err := c.be.download(bytesOf(got), uint64(c.moments)); err != nil {
		c.Fatal(err)
	}
	z = permuted(z, c.n, c.Out, c.Height*c.Width)
	for i, m := range got {
		tile := z[i/tiles*columns:][:columns][i%tiles*tilePixels:]
		tile = tile[:min(len(tile), tilePixels)]
		var mean, m2, spread float64
		for _, v := range tile {
			mean += float64(v) / float64(len(tile))
			spread = max(spread, math.Abs(float64(v)-float64(tile[0])))
		}
		for _, v := range tile {
			m2 += (float64(v) - mean) * (float64(v) - mean)
		}
		// A sum of at most 80 differences in fp32, a dozen of them in sequence: each is off by some
		// 2^-24 of the largest.
		if !(math.Abs(m.mean-mean) <= 1e-6*spread && math.Abs(float64(m.m2)-m2) <= 2e-6*m2) {
			c.Fatalf("moments of channel %d, tile %d: %v and %v, want %v and %v", i/tiles, i%tiles, m.mean, m.m2, mean, m2)
		}
	}
}

// Operands must be rounded to nearest, not truncated, and nothing else must be rounded below fp32
// precision: with one channel and a kernel of 1, z is a single product.
func TestOperandsAreRoundedToNearest(t *testing.T) {
	rounded := map[string]func(bits uint32) uint32{
		"fp32": func(bits uint32) uint32 { return bits },
		"tf32": func(bits uint32) uint32 { return (bits + 1<<12) &^ (1<<13 - 1) },                  // ties away from zero
		"bf16": func(bits uint32) uint32 { return (bits + 1<<15 - 1 + bits>>16&1) &^ (1<<16 - 1) }, // ties to even
	}
	x := []float32{1, -1.7, 1 + 1.0/1024, 1 + 1.0/2048, 1 + 3.0/2048, 1 + 1.0/256, 1 + 3.0/256, -1 - 3.0/256}
	const weight = 1.2345678
	for precision, round := range rounded {
		t.Run(precision, func(t *testing.T) {
			c := newConvTest(t, openTest(t, precision), 1, 1, 1, 2, 4, 1)
			if err := errors.Join(c.be.Upload(c.Weight, []float32{weight}), c.be.Upload(c.X, x)); err != nil {
				t.Fatal(err)
			}
			operand := func(v float32) float32 { return math.Float32frombits(round(math.Float32bits(v))) }
			want := make([]float32, len(x))
			for i, v := range x {
				want[i] = operand(v) * operand(weight)
			}
			c.Forward(model.Pass{Samples: 1, Whole: 1, Train: true})
			c.same("z", c.get(c.z, len(x)), want)
		})
	}
}
