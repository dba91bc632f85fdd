package cpu

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crnn/rng"
)

// Every table of kernels must agree with the plain Go version on random sizes and values.
// Sums differ in rounding only: the C kernels use fused multiply-add and sum in another order. A
// result may be off by a few units in the last place of the sum of its terms' absolute values. The
// tolerances below are relative to that sum.

// drawn holds the values of one random case.
type drawn struct {
	*rapid.T
	stream rng.Stream
}

func draw(t *rapid.T) *drawn {
	return &drawn{t, rng.Stream{Seed: rapid.Uint64().Draw(t, "seed")}}
}

func (d *drawn) size(name string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(d.T, name) }

// floats returns n numbers, uniform in [-1, 1).
func (d *drawn) floats(n int) []float32 {
	a := make([]float32, n)
	for i := range a {
		a[i] = 2*d.stream.Float32() - 1
	}
	return a
}

func (d *drawn) positive(n int) []float32 {
	a := d.floats(n)
	for i := range a {
		a[i] = float32(math.Abs(float64(a[i]))) + 0.1
	}
	return a
}

// equal fails unless got is within tolerance of want everywhere.
func (d *drawn) equal(what string, got, want []float32, tolerance float64) {
	d.Helper()
	if len(got) != len(want) {
		d.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-float64(want[i])) <= tolerance) {
			d.Fatalf("%s[%d] = %v, want %v within %.2g", what, i, got[i], want[i], tolerance)
		}
	}
}

const ulp = 1.0 / (1 << 23)

func clone[T any](a []T) []T { return append([]T(nil), a...) }

// eachKernels runs a property for every table but the plain one.
func eachKernels(t *testing.T, property func(d *drawn, k kernels)) {
	for _, k := range available() {
		if _, plain := k.(goKernels); plain {
			continue
		}
		t.Run(k.name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(draw(t), k) })
		})
	}
}

func TestMatmul(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		s := matmulShape{
			m: int64(d.size("m", 1, 30)), n: int64(lanes * d.size("n", 1, 9)),
			add: int64(d.size("add", addNothing, addC)), batch: int64(d.size("batch", 1, 3)),
			twoSums: int64(d.size("two sums", 0, 1)),
		}
		width, spanA := s.n+int64(d.size("gap", 0, 3)), int64(1)
		terms, rows := 1, int64(1)
		for i := range s.count {
			s.count[i] = int64(d.size("count", 1, 7))
			s.strideA[i] = int64(d.size("strideA", 0, 20))
			s.strideB[i] = int64(d.size("strideB", 0, 5))
			terms *= int(s.count[i])
			spanA += (s.count[i] - 1) * s.strideA[i]
			rows += (s.count[i] - 1) * s.strideB[i]
		}
		if d.size("panels", 0, 1) == 1 {
			s.panelRows = rows
		} else {
			s.rowB = width
		}
		s.batchA, s.batchB, s.batchC = int64(d.size("batchA", 0, 9)), int64(d.size("batchB", 0, 9)), s.m*width
		var aOffset, cOffset []int32
		for i := range int32(s.m) {
			aOffset = append(aOffset, int32(d.size("offset", 0, 50)))
			cOffset = append(cOffset, (int32(s.m)-1-i)*int32(width))
		}
		a, b, bias := d.floats(50+int(spanA+2*s.batchA)), d.floats(int(rows*width+2*s.batchB)), d.floats(int(s.n))
		got := d.floats(int(s.batch * s.m * width))
		want := clone(got)
		k.matmul(&s, aOffset, cOffset, a, b, bias, got)
		goKernels{}.matmul(&s, aOffset, cOffset, a, b, bias, want)
		// Partial sums are below terms and are rounded once per term.
		d.equal("c", got, want, float64(terms*(terms+1))*ulp/2)
	})
}

// tanh returns tanh of every value, from an RNN with a single step.
func tanh(k kernels, x []float32) []float32 {
	y := clone(x)
	s := &rnnShape{steps: 1, samples: 1, units: int64(len(x)), hidden: int64(len(x))}
	k.rnnForward(s, []int32{0}, nil, y, nil, nil, nil, nil)
	return y
}

// tanh is exact to 6 ulp for arguments of all magnitudes.
func TestTanh(t *testing.T) {
	for _, k := range available() {
		t.Run(k.name(), func(t *testing.T) {
			var x []float32
			for i := range 20000 {
				v := float32(math.Pow(10, -8+10*float64(i)/20000))
				x = append(x, v, -v)
			}
			x = append(x, 0, 9, 9.01, 9.02, 100, -9.02, math.MaxFloat32, -math.MaxFloat32,
				float32(math.Inf(1)), float32(math.Inf(-1)))
			for len(x)%lanes != 0 {
				x = append(x, 0)
			}
			y, worst := tanh(k, x), 0.0
			for i, v := range x {
				want := math.Tanh(float64(v)) // far more exact than float32
				_, exponent := math.Frexp(want)
				err := math.Abs(float64(y[i])-want) / math.Ldexp(1, exponent-24)
				if want == 0 {
					err = math.Abs(float64(y[i])) / math.SmallestNonzeroFloat32
				}
				if !(err <= 6) || y[i] > 1 || y[i] < -1 {
					t.Fatalf("tanh(%v) = %v, want %v: off by %.1f ulp", v, y[i], want, err)
				}
				worst = max(worst, err)
			}
			t.Logf("largest error %.2f ulp", worst)
			nan := make([]float32, lanes)
			nan[3] = float32(math.NaN())
			if y := tanh(k, nan)[3]; y == y {
				t.Errorf("tanh(NaN) = %v", y)
			}
		})
	}
}

// A few steps of a layer. Weights are small, so errors hardly grow.
func TestRNN(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		s := &rnnShape{
			steps: int64(d.size("steps", 1, 6)), samples: int64(d.size("samples", 1, 9)),
			units: int64(d.size("units", 1, 150)), lastOnly: int64(d.size("last only", 0, 1)),
		}
		if k.hasBF16() {
			s.bf16 = int64(d.size("bf16", 0, 1))
		}
		s.hidden = int64(padded(int(s.units)))
		dropout := &rnnDropout{
			seed: d.stream.Seed, step: rapid.Uint64().Draw(d.T, "step"),
			purpose: uint32(rng.Dropout.Sub(d.size("layer", 0, 255))),
			first:   uint64(rapid.Uint32().Draw(d.T, "first")), blocks: uint64(s.units+7) / 8,
			threshold: uint64(d.size("threshold", 0, 1<<16)), scale: 1.7,
		}
		size := int(s.steps * s.samples * s.hidden)
		row := steps(int(s.samples), int(s.hidden))
		w, h, dz := d.floats(int(s.units*s.hidden)), d.floats(size), d.floats(size)
		for i := range w {
			w[i] /= float32(s.units)
		}
		if s.bf16 != 0 {
			for i := range w {
				w[i] = pair(w[i], w[(i+1)%len(w)])
			}
		}
		dbias := d.floats(int(s.hidden))
		var keep []uint8
		if d.size("dropout", 0, 1) == 1 {
			keep = make([]uint8, size)
		}
		run := func(k kernels) ([]uint8, [][]float32) {
			h, kept, dz, dbias, keep := clone(h), make([]float32, size), clone(dz), clone(dbias), clone(keep)
			step := make([]float32, 2*s.samples*s.hidden)
			k.rnnForward(s, row, w, h, dropout, keep, kept, step)
			k.rnnBackward(s, row, w, h, keep, 1.7, dz, dbias, step)
			return keep, [][]float32{h, kept, dz, dbias}
		}
		gotKeep, got := run(k)
		wantKeep, want := run(goKernels{})
		for i := range wantKeep {
			if gotKeep[i] != wantKeep[i] {
				d.Fatalf("keep[%d] = %d, want %d", i, gotKeep[i], wantKeep[i])
			}
		}
		// Each step has sums of units terms below 1/units and a tanh of 6 ulp. Gradients are at most 1.7,
		// and the bias adds one per step and sample.
		step := (float64(s.units) + 8) * ulp
		for i, name := range []string{"h", "kept", "dz", "dbias"} {
			tolerance := 4 * float64(s.steps) * step
			if s.bf16 != 0 {
				// A state midway between two bfloat16 may be rounded to either: an error of 2^-8 times a
				// weight, in every later step.
				tolerance += 4 * float64(s.steps) / 256 / float64(s.units)
			}
			if name == "dbias" {
				tolerance *= float64(s.steps * s.samples)
			}
			d.equal(name, got[i], want[i], tolerance)
		}
	})
}

// The number of units kept, of n with rate p, is binomial. It is off by five standard deviations twice
// in four million cases. The seed is fixed, so the test never flickers.
func TestDropoutRate(t *testing.T) {
	const n = 1 << 20
	for _, p := range []float64{0, 0.1, 0.4, 0.5, 0.99} {
		keep := make([]uint8, n)
		d := rnnDropout{seed: 7, purpose: uint32(rng.Dropout), blocks: n / 8, threshold: uint64(math.Round(p * (1 << 16)))}
		d.mask(keep, 0)
		kept := 0
		for _, k := range keep {
			kept += int(k)
		}
		if off := math.Abs(float64(kept) - (1-p)*n); off > 5*math.Sqrt(n*p*(1-p))+n/(1<<16) {
			t.Errorf("rate %v: %d of %d kept", p, kept, n)
		}
	}
}

func TestTranspose(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		rows, columns := d.size("rows", 1, 40), d.size("columns", 1, 40)
		srcRow, dstRow := columns+d.size("gap", 0, 5), rows+d.size("gap", 0, 5)
		src, got := d.floats(rows*srcRow), d.floats(columns*dstRow)
		want := clone(got)
		k.transpose(got, src, rows, columns, dstRow, srcRow)
		goKernels{}.transpose(want, src, rows, columns, dstRow, srcRow)
		d.equal("dst", got, want, 0)
	})
}

// Products of bfloat16 are exact in float32. Their sums differ in rounding; besides, the instruction may
// add the two products of a pair first and take denormals for zero.
func TestBF16Kernels(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		if !k.hasBF16() {
			return
		}
		rows, columns := d.size("rows", 1, 30), lanes*d.size("columns", 1, 5)
		a := d.floats(rows * columns)
		special := []float32{
			0, float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, 1 + 1./256, 1 + 3./256, float32(math.NaN()),
		}
		copy(a, special[:d.size("special", 0, len(special))])
		words := func(a []float32) (w []uint32) {
			for _, v := range a {
				w = append(w, math.Float32bits(v))
			}
			return
		}
		same := func(what string, run func(k kernels, dst []float32), n int) {
			got, want := make([]float32, n), make([]float32, n)
			run(k, got)
			run(goKernels{}, want)
			if diff := cmp.Diff(words(want), words(got)); diff != "" {
				d.Fatalf("%s (-want +got):\n%s", what, diff)
			}
		}
		same("narrow", func(k kernels, dst []float32) { k.narrow(dst, a, len(a)) }, len(a)/2)
		same("pairRows", func(k kernels, dst []float32) { k.pairRows(dst, a, rows, columns) }, (rows+1)/2*columns)

		b := d.floats(columns * lanes)
		pairs, right := make([]float32, rows*columns/2), make([]float32, columns/2*lanes)
		goKernels{}.narrow(pairs, d.floats(rows*columns), rows*columns)
		goKernels{}.pairRows(right, b, columns, lanes)
		s := &matmulShape{
			m: int64(rows), n: lanes,
			count: [3]int64{1, 1, int64(columns / 2)}, strideA: [3]int64{2: 1}, strideB: [3]int64{2: 1},
			rowB: lanes, batch: 1, bf16: 1, twoSums: int64(d.size("two sums", 0, 1)),
		}
		got, want := make([]float32, rows*lanes), make([]float32, rows*lanes)
		k.matmul(s, steps(rows, columns/2), steps(rows, lanes), pairs, right, nil, got)
		goKernels{}.matmul(s, steps(rows, columns/2), steps(rows, lanes), pairs, right, nil, want)
		d.equal("c", got, want, float64(columns*(columns+1))*ulp/2)
	})
}

// bfloat16 keeps the upper half of a float32, rounded to nearest, ties to even.
func TestBF16Rounding(t *testing.T) {
	for _, c := range []struct {
		from float32
		want uint32
	}{
		{1, 0x3f80}, {-2, 0xc000}, {1 + 1./256, 0x3f80}, {1 + 3./256, 0x3f82}, {1 + 1.01/256, 0x3f81},
		{math.MaxFloat32, 0x7f80}, {float32(math.Inf(-1)), 0xff80}, {float32(math.NaN()), 0x7fc0},
	} {
		if got := bfloat16(c.from); got != c.want {
			t.Errorf("bfloat16(%v) = %#x, want %#x", c.from, got, c.want)
		}
	}
}

func TestSumRows(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		rows, columns := d.size("rows", 0, 40), lanes*d.size("columns", 1, 5)
		stride := columns + d.size("gap", 0, 9)
		got, a := d.floats(columns), d.floats(rows*stride)
		want := clone(got)
		k.sumRows(got, a, rows, stride, columns)
		goKernels{}.sumRows(want, a, rows, stride, columns)
		d.equal("sum", got, want, 0) // the same order
	})
}

func TestChannelMoments(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		rows, channels := d.size("rows", 1, 60), lanes*d.size("channels", 1, 5)
		z := d.floats(rows * channels)
		var got, want [2][]float32
		for i := range got {
			got[i], want[i] = make([]float32, channels), make([]float32, channels)
		}
		k.channelMoments(z, rows, channels, got[0], got[1])
		goKernels{}.channelMoments(z, rows, channels, want[0], want[1])
		d.equal("mean", got[0], want[0], float64(rows)*ulp)
		d.equal("m2", got[1], want[1], float64(rows)*4*ulp)
	})
}

// z has few different values, so pooling has many ties; they are exact in both versions.
func TestConvBlockKernels(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		s := &poolShape{
			height: int64(d.size("height", 2, 11)), width: int64(d.size("width", 2, 11)),
			channels: int64(lanes * d.size("channels", 1, 4)),
		}
		s.outRow = s.width*s.channels + int64(d.size("row gap", 0, 5))
		c := int(s.channels)
		z := make([]float32, s.height*s.width*s.channels)
		for i := range z {
			z[i] = float32(d.stream.Below(5)) - 2
		}
		// Scales of 0 or ±0.5 and beta in quarters keep (z-mean)·scale+beta exact, fused or not, so that
		// both versions choose the same element of every window.
		mean, scale, beta := make([]float32, c), make([]float32, c), make([]float32, c)
		for i := range c {
			mean[i] = float32(d.stream.Below(3)) - 1
			scale[i] = float32(d.stream.Below(3))/2 - 0.5
			beta[i] = float32(d.stream.Below(5))/4 - 0.5
		}
		pooled := int(s.height/2*(s.width/2)) * c
		dy, kZ, k1 := d.floats(pooled), d.floats(c), d.floats(c)
		dz := d.floats(int(s.height * s.outRow))
		run := func(k kernels) ([]uint8, [][]float32) {
			y, largest, index := make([]float32, pooled), make([]float32, pooled), make([]uint8, pooled)
			sumG, sumGZ, sumDZ, dz := make([]float32, c), make([]float32, c), make([]float32, c), clone(dz)
			k.bnReluPool(s, z, mean, scale, beta, y, largest, index)
			k.bnReluPoolSums(pooled/c, c, largest, index, dy, sumG, sumGZ)
			k.bnReluPoolBackward(s, z, mean, scale, index, dy, kZ, k1, dz, sumDZ)
			eval := make([]float32, pooled)
			k.bnReluPool(s, z, mean, scale, beta, eval, nil, nil)
			d.equal("y without index", eval, y, 0)
			return index, [][]float32{y, largest, sumG, sumGZ, dz, sumDZ}
		}
		gotIndex, got := run(k)
		wantIndex, want := run(goKernels{})
		if string(gotIndex) != string(wantIndex) {
			d.Fatalf("index %v, want %v", gotIndex, wantIndex)
		}
		// A sum of n terms below b may be off by n roundings of partial sums below n·b.
		sum := func(n, b float64) float64 { return n * n * b * ulp / 2 }
		windows, pixels := float64(pooled/c), float64(s.height*s.width)
		tolerance := []float64{0, 0, sum(windows, 1), sum(windows, 4), 8 * ulp, sum(pixels, 5)}
		for i, name := range []string{"y", "largest", "sumG", "sumGZ", "dz", "sumDZ"} {
			d.equal(name, got[i], want[i], tolerance[i])
		}
	})
}

// Both versions transform twice, by matrices of small numbers, and round after each of at most 12
// terms. The absolute values of a matrix row sum to at most 7 in F(2, 5), to at most 20 in F(4, 5). In
// B, whose tiles overlap, all terms of a pixel in one direction sum to 17. Random signs make up for it:
// the differences found are a quarter of the tolerance.
const (
	winogradTolerance  = 7 * 7 * 12 * ulp
	winograd4Tolerance = 20 * 7 * 12 * ulp
)

func TestWinogradTransforms(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		s := &winogradShape{
			rows: int64(d.size("rows", 1, 4)), tiles: int64(d.size("tiles", 1, 19)),
			channels: int64(lanes * d.size("channels", 1, 3)), tileHeight: 2,
		}
		s.imageRow = (2*s.tiles+4)*s.channels + int64(d.size("gap", 0, 9))
		s.frequency = s.rows*s.tiles*s.channels + int64(d.size("frequency gap", 0, 9))
		image, transformed := d.floats(int((2*s.rows+4)*s.imageRow)), d.floats(int(36*s.frequency))
		bias := d.floats(int(s.channels))
		each := map[string]struct {
			start []float32
			run   func(k kernels, out []float32)
		}{
			"input":           {transformed, func(k kernels, v []float32) { k.winogradInput(s, image, v) }},
			"output":          {image, func(k kernels, z []float32) { k.winogradOutput(s, transformed, bias, z) }},
			"output gradient": {transformed, func(k kernels, q []float32) { k.winogradOutputGradient(s, image, q) }},
			"input gradient":  {image, func(k kernels, x []float32) { k.winogradInputGradient(s, transformed, x) }},
		}
		for name, of := range each {
			got, want := clone(of.start), clone(of.start)
			of.run(k, got)
			of.run(goKernels{}, want)
			d.equal(name, got, want, winogradTolerance)
		}
	})
}

func TestWinogradEval(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		s := &winogradShape{
			rows: int64(d.size("rows", 1, 3)), tiles: int64(d.size("tiles", 1, 19)),
			channels: int64(lanes * d.size("channels", 1, 3)),
		}
		s.tileHeight = int64(2 * d.size("half of the tile height", 1, 2))
		s.imageRow = (2*s.tiles+4)*s.channels + int64(d.size("gap", 0, 9))
		s.frequency = s.rows*s.tiles*s.channels + int64(d.size("frequency gap", 0, 9))
		s.pooledRows = s.rows*s.tileHeight/2 - int64(d.size("rows below the image", 0, 1))
		image, transformed := d.floats(int((s.tileHeight*s.rows+4)*s.imageRow)), d.floats(int(6*(s.tileHeight+4)*s.frequency))
		channels := int(s.channels)
		bias, mean, scale, beta := d.floats(channels), d.floats(channels), d.floats(channels), d.floats(channels)
		pooled := d.floats(int(s.tileHeight/2*s.rows*s.tiles) * channels)
		input := func(k kernels) []float32 { v := clone(transformed); k.winogradInput(s, image, v); return v }
		output := func(k kernels) []float32 {
			y := clone(pooled)
			k.winogradOutputPool(s, transformed, bias, mean, scale, beta, y)
			return y
		}
		d.equal("input", input(k), input(goKernels{}), winograd4Tolerance)
		d.equal("output", output(k), output(goKernels{}), 2*winograd4Tolerance) // the scale is below 1, and a few terms more
	})
}

func TestWinogradFilters(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		channels, groups := lanes*d.size("channels", 1, 5), d.size("groups", 1, 4)
		frequency := channels + d.size("gap", 0, 9)
		tileHeight := 2 * d.size("half of the tile height", 1, 2)
		group := 36*frequency + d.size("group gap", 0, 9)
		w, s := d.floats(25*channels), d.floats(groups*group)
		u, dw := d.floats(6*(tileHeight+4)*frequency), d.floats(25*channels)
		want := clone(u)
		k.winogradFilter(tileHeight, w, channels, frequency, u)
		goKernels{}.winogradFilter(tileHeight, w, channels, frequency, want)
		d.equal("u", u, want, winogradTolerance)
		want = clone(dw)
		k.winogradFilterGradient(s, channels, frequency, groups, group, dw)
		goKernels{}.winogradFilterGradient(s, channels, frequency, groups, group, want)
		d.equal("dw", dw, want, 4*winogradTolerance) // of up to 4 groups
	})
}

// NaN counts as the largest of a pooling window, wherever it is: a network that has diverged must
// not look healthy.
func TestPoolingKeepsNaN(t *testing.T) {
	nan := float32(math.NaN())
	ones, zeros := make([]float32, lanes), make([]float32, lanes)
	for i := range ones {
		ones[i] = 1
	}
	const channel = 3
	// isNaN fails unless y is NaN in that channel of that pixel, and nowhere else.
	isNaN := func(t *testing.T, what string, y []float32, pixel int) {
		t.Helper()
		for i, v := range y {
			if (v != v) != (i == pixel*lanes+channel) {
				t.Errorf("%s: y[%d] = %v", what, i, v)
			}
		}
	}
	for _, k := range available() {
		t.Run(k.name(), func(t *testing.T) {
			for position := range 4 {
				z := make([]float32, 8*lanes) // two windows
				z[(position/2*4+2+position%2)*lanes+channel] = nan
				y, largest, index := make([]float32, 2*lanes), make([]float32, 2*lanes), make([]uint8, 2*lanes)
				k.bnReluPool(&poolShape{height: 2, width: 4, channels: lanes}, z, zeros, ones, ones, y, largest, index)
				isNaN(t, fmt.Sprint("pool, position ", position), y, 1)
				if got := index[lanes+channel]; int(got) != position {
					t.Errorf("index %d, want %d", got, position)
				}
			}
			for _, tileHeight := range []int{2, 4} {
				// The last frequency, at ∞, goes into the last output only.
				frequencies := 6 * (tileHeight + 4)
				m, y := make([]float32, frequencies*lanes), make([]float32, tileHeight/2*lanes)
				m[(frequencies-1)*lanes+channel] = nan
				s := &winogradShape{
					rows: 1, tiles: 1, channels: lanes, frequency: lanes,
					tileHeight: int64(tileHeight), pooledRows: int64(tileHeight / 2),
				}
				k.winogradOutputPool(s, m, zeros, zeros, ones, ones, y)
				isNaN(t, fmt.Sprint("Winograd, tiles of height ", tileHeight), y, tileHeight/2-1)
			}
		})
	}
}

func TestAdamKernel(t *testing.T) {
	eachKernels(t, func(d *drawn, k kernels) {
		n := lanes * d.size("n", 1, 10)
		p, g, m, v := d.floats(n), d.floats(n), d.floats(n), d.positive(n)
		run := func(k kernels) [3][]float32 {
			p, m, v := clone(p), clone(m), clone(v)
			k.adam(&adamStep{0.999, 0.1, 0.001, 0.01, 0.7, 1e-8}, p, g, m, v, len(p))
			return [3][]float32{p, m, v}
		}
		got, want := run(k), run(goKernels{})
		for i, name := range []string{"p", "m", "v"} {
			d.equal(name, got[i], want[i], 4*ulp)
		}
	})
}

// The plain product agrees with exact arithmetic, not only with the C version.
func TestPlainMatmulIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		s := matmulShape{
			m: 2, n: lanes, rowB: lanes, batch: 1,
			count: [3]int64{2, 3, 4}, strideA: [3]int64{12, 4, 1}, strideB: [3]int64{12, 4, 1},
		}
		a, b, c := d.floats(48), d.floats(24*lanes), make([]float32, 2*lanes)
		goKernels{}.matmul(&s, []int32{0, 24}, []int32{lanes, 0}, a, b, nil, c)
		for m := range 2 {
			for n := range lanes {
				sum := new(big.Float).SetPrec(200)
				for k := range 24 {
					x, y := big.NewFloat(float64(a[24*m+k])), big.NewFloat(float64(b[k*lanes+n]))
					sum.Add(sum, new(big.Float).SetPrec(200).Mul(x, y))
				}
				want, _ := sum.Float64()
				d.equal("c", c[(1-m)*lanes+n:][:1], []float32{float32(want)}, 24*ulp)
			}
		}
	})
}
