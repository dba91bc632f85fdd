package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crnn/rng"
)

// eachTiles runs a property for every table of kernels with tiles.
func eachTiles(t *testing.T, property func(d *drawn, k kernels)) {
	for _, k := range slices.Concat(forTests, available()) {
		if !k.hasTiles() {
			continue
		}
		t.Run(k.name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(draw(t), k) })
		})
	}
}

// same fails unless got and want are equal.
func same[T comparable](d *drawn, what string, got, want []T) {
	d.Helper()
	for i := range want {
		if got[i] != want[i] {
			d.Fatalf("%s[%d] of %d = %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

// halves returns n numbers in bfloat16, uniform in [-1, 1).
func (d *drawn) halves(n int) []uint16 {
	a := make([]uint16, n)
	for i, v := range d.floats(n) {
		a[i] = uint16(bfloat16(v))
	}
	return a
}

// pairs returns n pairs of such numbers.
func (d *drawn) pairs(n int) []uint32 {
	a := make([]uint32, n)
	for i := range a {
		h := d.halves(2)
		a[i] = uint32(h[0]) | uint32(h[1])<<16
	}
	return a
}

// tileCase is a random product in tiles.
type tileCase struct {
	tileShape
	aOffset, cOffset, termA []int32
	a                       []uint16
	b                       []uint32
	bias, c                 []float32
}

func drawTiles(d *drawn) *tileCase {
	s := &tileCase{tileShape: tileShape{
		blocks: int64(d.size("blocks", 1, 5)), rows: int64(d.size("rows", 1, tileRows)),
		columns: int64(d.size("columns", 1, 5)), terms: int64(d.size("terms", 1, 4)),
		add: int64(d.size("add", addNothing, addC)),
	}}
	s.rowA = int64(d.size("rowA", 0, 70)) // rows may overlap
	s.rowB = tileRows + int64(d.size("gap of B", 0, 9))
	s.termB = tileRows * s.rowB
	s.columnB = s.terms*s.termB + int64(d.size("gap of columns", 0, 9))
	s.rowC = tileRows*s.columns + int64(d.size("gap of C", 0, 9))
	for i := range s.blocks {
		s.aOffset = append(s.aOffset, int32(d.size("offset", 0, 90)))
		s.cOffset = append(s.cOffset, int32((s.blocks-1-i)*s.rows*s.rowC))
	}
	for range s.terms {
		s.termA = append(s.termA, int32(d.size("term", 0, 200)))
	}
	s.a = d.halves(90 + 200 + int(s.rows*s.rowA) + tileTerms)
	s.b = d.pairs(int(s.columns * s.columnB))
	s.bias, s.c = d.floats(int(tileRows*s.columns)), d.floats(int(s.blocks*s.rows*s.rowC))
	return s
}

// The terms are below 1. Partial sums are below the number of terms and are rounded at most once per term.
func (s *tileCase) tolerance() float64 {
	n := float64(s.terms*tileTerms + 1)
	return n * n * ulp / 2
}

func TestTileProduct(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := drawTiles(d)
		run := func(k kernels) []float32 {
			c := clone(s.c)
			k.tileProduct(&s.tileShape, s.aOffset, s.cOffset, s.termA, s.a, s.b, s.bias, c)
			return c
		}
		d.equal("c", run(k), run(goKernels{}), s.tolerance())
	})
}

func TestTileProductPool(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := drawTiles(d)
		s.add, s.rowC = addBias, tileRows*s.columns
		s.rows = (s.rows + 1) / 2 * 2
		parts, pairs := int64(d.size("parts of a row", 1, 2)), int64(d.size("pairs of rows", 1, 3))
		odd := int64(d.size("a row more", 0, 1))
		s.blocks = parts * (2*pairs + odd)
		s.aOffset, s.cOffset = nil, nil
		for i := range s.blocks {
			s.aOffset = append(s.aOffset, int32(d.size("offset", 0, 90)))
			s.cOffset = append(s.cOffset, int32(i*s.rows*s.rowC))
		}
		s.a = d.halves(90 + 200 + int(s.rows*s.rowA) + tileTerms)
		pool := &poolShape{height: 2*pairs + odd, width: parts * s.rows, channels: s.rowC}
		c := int(s.rowC)
		mean, scale, beta := d.floats(c), d.floats(c), d.floats(c)
		run := func(k kernels) []float32 {
			y, z := make([]float32, pairs*parts*s.rows/2*s.rowC), make([]float32, 2*parts*s.rows*s.rowC)
			k.tileProductPool(&s.tileShape, s.aOffset, s.cOffset, s.termA, s.a, s.b, s.bias, z, pool, mean, scale, beta, y)
			return y
		}
		d.equal("y", run(k), run(goKernels{}), s.tolerance()+4*ulp)
	})
}

func TestTilePack(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := &tilePack{
			rows: int64(d.size("rows", 1, 100)), columns: int64(d.size("columns", 1, 100)), scale: 1.7,
			pairColumns: int64(d.size("pair columns", 0, 1)), transposed: int64(d.size("transposed", 0, 1)),
		}
		if d.size("whole tiles", 0, 1) == 1 {
			s.columns = (s.columns + 31) / 32 * 32
		}
		s.srcRow = s.columns + int64(d.size("gap", 0, 9))
		outer, inner := (s.columns+tileRows-1)/tileRows, (s.rows+tileTerms-1)/tileTerms
		if s.pairColumns != 0 {
			outer, inner = (s.rows+tileRows-1)/tileRows, (s.columns+tileTerms-1)/tileTerms
		}
		s.outer = inner*tileSize + int64(d.size("outer gap", 0, 9))
		src := d.floats(int(s.rows * s.srcRow))
		special := []float32{float32(math.Inf(1)), math.MaxFloat32, 1 + 1./256, 1 + 3./256, float32(math.NaN())}
		copy(src, special[:min(5, len(src))])
		var keep []uint8
		if s.pairColumns == 0 {
			s.zeroRows = int64(d.size("zero rows", 0, int(s.rows)))
			switch d.size("source", 0, 2) {
			case 1:
				src = make([]float32, (len(src)+1)/2)
				for i := range src {
					src[i] = math.Float32frombits(d.pairs(1)[0])
				}
				s.narrow = 1
			case 2:
				keep = make([]uint8, len(src))
				for i := range keep {
					keep[i] = uint8(d.stream.Below(2))
				}
				// A dropped infinity or NaN becomes 0.
			}
		}
		run := func(k kernels) []uint32 {
			dst := make([]uint32, outer*s.outer)
			k.tilePack(s, dst, src, keep)
			return dst
		}
		same(d, "tiles", run(k), run(goKernels{}))
	})
}

func TestTileImage(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := &tileImage{
			in: int64(d.size("in", 1, 40)), height: int64(2 * d.size("height", 1, 4)), width: int64(2 * d.size("width", 1, 20)),
			border: int64(d.size("border", 0, 3)),
		}
		s.row = s.width + 2*s.border
		s.plane = (s.height+2*s.border)*s.row + int64(d.size("gap", 0, 9))
		s.channels = int64(inTiles(int(s.in)))
		x := d.floats(int(s.in * s.height * s.width))
		x[0] = float32(math.Inf(-1))
		run := func(k kernels, first, last []uint16) []uint16 {
			k.tileImage(s, x, first, last)
			return append(first, last...)
		}
		first := d.halves(int(s.in * s.plane))
		last := d.halves(int((s.height + 2*s.border) * s.row * s.channels))
		same(d, "both", run(k, clone(first), clone(last)), run(goKernels{}, clone(first), clone(last)))
		same(d, "first", run(k, clone(first), nil), run(goKernels{}, clone(first), nil))
		same(d, "last", run(k, nil, clone(last)), run(goKernels{}, nil, clone(last)))
	})
}

// All numbers are small multiples of 1/16, so that sums and products are exact, fused or not.
func TestTilePoolBackward(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := &poolShape{
			height: int64(d.size("height", 2, 9)), width: int64(d.size("width", 2, 11)),
			channels: int64(lanes * d.size("channels", 1, 3)),
		}
		s.outPixel = s.channels + int64(d.size("pixel gap", 0, 9))
		s.outRow = s.width*s.outPixel + int64(d.size("row gap", 0, 9))
		s.pairRow = s.width + s.width%2 + int64(2*d.size("pair gap", 0, 3))
		exact := func(n int) []float32 {
			a := make([]float32, n)
			for i := range a {
				a[i] = float32(d.stream.Below(9))/4 - 1
			}
			return a
		}
		c, pixels := int(s.channels), int(s.height*s.width)
		windows := int(s.height / 2 * (s.width / 2))
		z, dy, index := exact(pixels*c), exact(windows*c), make([]uint8, windows*c)
		for i := range index {
			index[i] = uint8(d.stream.Below(5))
		}
		mean, scale, kZ, k1 := exact(c), exact(c), exact(c), exact(c)
		inside := d.size("last", 0, 1) == 1
		last, pairs := d.halves(int(s.height*s.outRow)), d.pairs(int(s.height*s.pairRow/2)*c)
		run := func(k kernels) ([]uint16, []uint32, []float32) {
			to, pairs, sum := clone(last), clone(pairs), make([]float32, c)
			if !inside {
				to = nil
			}
			k.tilePoolBackward(s, z, mean, scale, index, dy, kZ, k1, to, pairs, sum)
			return to, pairs, sum
		}
		gotLast, gotPairs, gotSum := run(k)
		wantLast, wantPairs, wantSum := run(goKernels{})
		same(d, "last", gotLast, wantLast)
		same(d, "pairs", gotPairs, wantPairs)
		same(d, "sumDZ", gotSum, wantSum)
	})
}

// A few steps of a layer, as in TestRNN.
func TestTileRNN(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		s := &tileRNN{
			steps: int64(d.size("steps", 1, 5)), samples: int64(d.size("samples", 1, tileRows)),
			lastOnly: int64(d.size("last only", 0, 1)),
			hidden:   int64(tileTerms * d.size("hidden", 1, 5)), in: int64(tileTerms * d.size("in", 1, 5)),
		}
		dropout := &rnnDropout{
			seed: d.stream.Seed, step: rapid.Uint64().Draw(d.T, "step"),
			purpose: uint32(rng.Dropout.Sub(d.size("layer", 0, 255))),
			first:   uint64(rapid.Uint32().Draw(d.T, "first")), blocks: uint64(s.hidden) / 8,
			threshold: uint64(d.size("threshold", 0, 1<<16)), scale: 1.7,
		}
		size, rows := int(s.samples*s.hidden), int(s.steps*s.samples)
		small := func(n int) []uint32 { // weights whose products with a row are below 1
			w := make([]uint32, n)
			for i := range w {
				v := d.floats(2)
				w[i] = bfloat16(v[0]/float32(max(s.hidden, s.in))) | bfloat16(v[1]/float32(max(s.hidden, s.in)))<<16
			}
			return w
		}
		wIH, wHH, wBack := small(int(s.hidden*s.in/2)), small(int(s.hidden*s.hidden/2)), small(int(s.hidden*s.in/2))
		bias, in, dy, dbias := d.floats(int(s.hidden)), d.halves(rows*int(s.in)),
			d.floats(rows*int(s.hidden)), d.floats(int(s.hidden))
		term := steps(int(max(s.hidden, s.in)/tileTerms), tileTerms)
		var keep []uint8
		if d.size("dropout", 0, 1) == 1 {
			keep = make([]uint8, rows*int(s.hidden))
		}
		wide := func(a []uint16) []float32 {
			f := make([]float32, len(a))
			for i, v := range a {
				f[i] = widen(v)
			}
			return f
		}
		run := func(k kernels) ([]uint8, [][]float32) {
			s, keep, dbias := *s, clone(keep), clone(dbias)
			if len(keep) == 0 {
				keep = nil
			}
			state, step := make([]uint16, tileRows*s.hidden), make([]float32, 2*tileRows*s.hidden)
			h, out := make([]float32, rows*int(s.hidden)), make([]uint16, rows*int(s.hidden))
			dz := make([]uint16, rows*int(s.hidden))
			dx, last := make([]float32, rows*int(s.in)), make([]float32, size)
			// First with room for the outputs of one step only.
			k.tileRNNForward(&s, term, wIH, wHH, bias, in, last, clone(out), state, step, dropout, keep)
			s.hStep = int64(size)
			k.tileRNNForward(&s, term, wIH, wHH, bias, in, h, out, state, step, dropout, keep)
			d.equal("last", last, h[(int(s.steps)-1)*size:], 0)
			k.tileRNNBackward(&s, term, wBack, wHH, h, keep, 1.7, dy, dz, dx, dbias, step)
			return keep, [][]float32{h, wide(out), wide(dz), dx, dbias}
		}
		gotKeep, got := run(k)
		wantKeep, want := run(goKernels{})
		if diff := cmp.Diff(wantKeep, gotKeep); diff != "" {
			d.Fatalf("keep (-want +got):\n%s", diff)
		}
		// As in TestRNN. Besides, values in bfloat16 may be rounded to either of two neighbours, which are
		// below 4 and so 2^-6 apart.
		n := float64(s.hidden + s.in)
		for i, name := range []string{"h", "out", "dz", "dx", "dbias"} {
			tolerance := 4 * float64(s.steps) * ((n+8)*ulp + 1/(256*float64(min(s.hidden, s.in))))
			switch name {
			case "out", "dz":
				tolerance += 1. / 64
			case "dx":
				tolerance += 1. / 64
			case "dbias":
				tolerance *= float64(s.steps * s.samples)
			}
			d.equal(name, got[i], want[i], tolerance)
		}
	})
}

// The tanh of tiles has a reciprocal in place of a division and is as exact. The bias holds the arguments.
func TestTileTanh(t *testing.T) {
	for _, k := range slices.Concat(forTests, available()) {
		if !k.hasTiles() {
			continue
		}
		t.Run(k.name(), func(t *testing.T) {
			x := []float32{
				0, 9, 9.01, 9.02, 100, -9.02, math.MaxFloat32, -math.MaxFloat32,
				float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
			}
			nan := len(x) - 1
			for i := range 20000 {
				v := float32(math.Pow(10, -8+10*float64(i)/20000))
				x = append(x, v, -v)
			}
			for len(x)%tileTerms != 0 {
				x = append(x, 0)
			}
			n := len(x)
			s := &tileRNN{steps: 1, samples: 1, hidden: int64(n), in: tileTerms}
			y, out, step := make([]float32, n), make([]uint16, n), make([]float32, 2*n)
			k.tileRNNForward(s, []int32{0}, make([]uint32, n*tileTerms/2), nil, x, make([]uint16, tileTerms), y,
				out, nil, step, nil, nil)
			for i, v := range x {
				if i == nan {
					if y[i] == y[i] || widen(out[i]) == widen(out[i]) {
						t.Errorf("tanh(NaN) = %v, in bfloat16 %v", y[i], widen(out[i]))
					}
					continue
				}
				want := math.Tanh(float64(v))
				_, exponent := math.Frexp(want)
				off := math.Abs(float64(y[i])-want) / math.Ldexp(1, exponent-24)
				if !(off <= 6) && want != 0 || y[i] > 1 || y[i] < -1 {
					t.Fatalf("tanh(%v) = %v, want %v: off by %.1f ulp", v, y[i], want, off)
				}
			}
		})
	}
}

// A convolution of any size and its gradients agree with float64. Operands are exact in bfloat16, so only
// the sums in float32 round.
func TestTiledConvolution(t *testing.T) {
	eachTiles(t, func(d *drawn, k kernels) {
		in, kernel := d.size("in", 1, 40), 2*d.size("half of the filter", 0, 9)+1
		if d.size("few channels", 0, 1) == 1 {
			in = min(in, kernel)
		}
		s := newConvSizes(in, d.size("out", 1, 40), d.size("height", 2, 9), d.size("width", 2, 41), kernel)
		n, pixels := d.size("images", 1, 3), s.height*s.width
		rounded := func(n int) []float32 {
			a := d.floats(n)
			for i := range a {
				a[i] = widen(uint16(bfloat16(a[i])))
			}
			return a
		}
		x, w, dz := rounded(n*s.in*pixels), rounded(s.out*s.in*s.kernel*s.kernel), make([]float32, n*pixels*s.outP)
		for i := range dz {
			if i%s.outP < s.out {
				dz[i] = rounded(1)[0]
			}
		}
		exact := newExact(s, n, x, w, dz)
		be := &Backend{kernels: k, pool: newPool(1), bf16: true, tiles: true}
		c := newTiled(be, s)
		zeros, ones := make([]float32, s.outP), make([]float32, s.outP)
		for i := range ones {
			ones[i] = 1
		}
		z, dx, dw := make([]float32, len(dz)), make([]float32, len(x)), make([]float32, len(w))
		y := make([]float32, n*s.pools()*s.outP)
		c.pack(w, true)
		c.prepare(n)
		for b := range n {
			image := part(x, b, s.in*pixels)
			c.convolvePool(0, image, zeros, &normalisation{zeros, ones, zeros}, part(y, b, s.pools()*s.outP))
			c.convolve(0, image, zeros, part(z, b, pixels*s.outP))
			// dz is kZ z here: it is given as z, with kZ = 1.
			c.poolGradient(0, &poolGradient{
				normalisation{zeros, zeros, zeros}, part(dz, b, pixels*s.outP), make([]uint8, s.pools()*s.outP),
				make([]float32, s.pools()*s.outP), ones, zeros, make([]float32, s.outP), true,
			})
			c.gradients(0, 0, b == 0, image, part(dx, b, s.in*pixels))
		}
		c.weightGradient(dw, n)
		for _, of := range []struct {
			name  string
			got   []float32
			exact []float64
		}{{"z", z, exact.z}, {"y", y, exact.y}, {"dx", dx, exact.dx}, {"dw", dw, exact.dw}} {
			// The terms are below 1 and have random signs: partial sums of n terms are of the order of √n, and
			// so n random roundings of them add up to n ulp.
			tolerance := float64(s.kernel*s.kernel*max(s.in, s.out)+n*pixels) * ulp
			for i, want := range of.exact {
				if !(math.Abs(float64(of.got[i])-want) <= tolerance) {
					d.Fatalf("%s[%d] = %v, want %v", of.name, i, of.got[i], want)
				}
			}
		}
	})
}
