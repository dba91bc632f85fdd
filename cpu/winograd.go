package cpu

// Winograd's convolution F(2x2, 5x5) (Winograd: "Arithmetic Complexity of Computations", 1980;
// Lavin and Gray: "Fast Algorithms for Convolutional Neural Networks", 2016). For the 6x6
// inputs d around a tile of 2x2 outputs and a filter g,
//
//	Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A,
//
// and summed over input channels the product inside is a matrix product for each of 36
// frequencies: 36 multiplications in place of 100. The matrices evaluate and interpolate
// polynomials at 0, 1, -1, 2, -1/2 and ∞. Of the points with small numbers these round
// least: the error of outputs is 2.4 times that of a plain sum in float32, of inputs' gradients
// twice, of filters' gradients five times (TestWinogradError).
//
// Gradients are the adjoint of the same: with q = A dz Aᵀ, that of the input is
// B [ (G g Gᵀ) ⊙ q ] Bᵀ, that of the filter Gᵀ [ (Bᵀ d B) ⊙ q ] G.

// winogradMatrix holds a matrix of up to 6x6.
type winogradMatrix [6][6]float32

var (
	winogradBT = winogradMatrix{
		{1, 1.5, -2, -1.5, 1, 0},
		{0, -1, -2.5, -0.5, 1, 0},
		{0, 1, 0.5, -2.5, 1, 0},
		{0, -0.5, -1, 0.5, 1, 0},
		{0, 2, -1, -2, 1, 0},
		{0, 1, 1.5, -2, -1.5, 1},
	}
	winogradG = winogradMatrix{
		{1},
		{-1. / 3, -1. / 3, -1. / 3, -1. / 3, -1. / 3},
		{1. / 3, -1. / 3, 1. / 3, -1. / 3, 1. / 3},
		{1. / 15, 2. / 15, 4. / 15, 8. / 15, 16. / 15},
		{-16. / 15, 8. / 15, -4. / 15, 2. / 15, -1. / 15},
		{4: 1},
	}
	winogradAT = winogradMatrix{
		{1, 1, 1, 1, 1, 0},
		{0, 1, -1, 2, -0.5, 1},
	}
	winogradB  = winogradBT.transposed()
	winogradGT = winogradG.transposed()
	winogradA  = winogradAT.transposed()
)

func (m *winogradMatrix) transposed() (t winogradMatrix) {
	for i, row := range m {
		for j, v := range row {
			t[j][i] = v
		}
	}
	return
}

// transform returns l m lᵀ, l having so many rows and columns.
func (m *winogradMatrix) transform(l *winogradMatrix, rows, columns int) *winogradMatrix {
	var half, out winogradMatrix
	for i := range rows {
		for j := range columns {
			for k := range columns {
				half[i][j] += l[i][k] * m[k][j]
			}
		}
		for j := range rows {
			for k := range columns {
				out[i][j] += half[i][k] * l[j][k]
			}
		}
	}
	return &out
}

// loadWinograd and store move the elements of a tile, which lie frequency elements apart.
func loadWinograd(from []float32, frequency int) *winogradMatrix {
	var m winogradMatrix
	for i := range m {
		for j := range m[i] {
			m[i][j] = from[(6*i+j)*frequency]
		}
	}
	return &m
}

func (m *winogradMatrix) store(to []float32, frequency int) {
	for i, row := range m {
		for j, v := range row {
			to[(6*i+j)*frequency] = v
		}
	}
}

// winogradRows is the largest number of rows of tiles that are transformed at once, so that
// the transformed arrays of both sides stay in a core's cache.
const winogradRows = 4

// winograd is a convolution with filters of 5x5.
type winograd struct {
	be *Backend
	convSizes

	tiles             int // in a row of tiles
	input, output     winogradSide
	rows              []float32       // the filters, or their gradients, as [In·25][outP]
	forward, backward winogradFilters // [36][inP][outP] and [36][outP][inP]
	sums              []float32       // of every group, like forward
	channel, sumRow   []int32         // offsets of input channels in a tile, and in sums
	threads           []winogradScratch
}

// winogradSide describes a transformed array of some rows of tiles, [36][tile][channel].
type winogradSide struct {
	channels  int     // padded
	frequency int     // elements at one frequency
	tile      []int32 // offsets of tiles
	pair      []int32 // the same in bfloat16
}

// winogradFilters holds transformed filters, in bf16 also as pairs of rows.
type winogradFilters struct{ values, bf16 []float32 }

func newWinogradSide(tiles, channels int) winogradSide {
	// A power of two between frequencies would put all 36 into a few sets of the cache.
	return winogradSide{channels, tiles*channels + lanes, steps(tiles, channels), steps(tiles, channels/2)}
}

// winogradScratch is what one thread works in.
type winogradScratch struct {
	x, dx []float32 // padded images
	image []float32 // without border
	in    []float32 // transformed: v or p
	out   []float32 // m or q
	bf16  []float32 // v or q in bfloat16
}

func newWinograd(be *Backend, sizes convSizes) *winograd {
	w := &winograd{be: be, convSizes: sizes, tiles: sizes.width / 2, threads: make([]winogradScratch, be.pool.threads)}
	most := min(winogradRows, sizes.height/2) * w.tiles
	w.input, w.output = newWinogradSide(most, w.inP), newWinogradSide(most, w.outP)
	w.channel, w.sumRow = steps(w.inP, 1), steps(w.inP, w.outP)
	return w
}

func (w *winograd) filterSize() int { return w.inP * w.outP }

func (w *winograd) memory(n int) int {
	scratch := 2*w.paddedSize(w.inP) + w.height*w.width*(w.inP+w.outP) + 36*(w.input.frequency+2*w.output.frequency)
	return len(w.threads)*scratch + 36*(3+groups(n))*w.filterSize()
}

func (w *winograd) pack(weight []float32, train bool) {
	taps := 25 * w.in
	w.rows = grow(w.rows, taps*w.outP)
	if w.outP > w.out {
		clear(w.rows) // of the padding, where the gradient's was
	}
	w.be.transpose(w.rows, weight, w.out, taps, w.outP, taps)
	w.forward.values = grow(w.forward.values, 36*w.filterSize())
	w.be.pool.run(w.in, func(_, i int) {
		w.be.winogradFilter(w.outP, w.filterSize(), w.rows[25*i*w.outP:], w.forward.values[i*w.outP:])
	})
	if train {
		w.backward.values = grow(w.backward.values, 36*w.filterSize())
		w.be.pool.run(36, func(_, f int) {
			w.be.transpose(part(w.backward.values, f, w.filterSize()), part(w.forward.values, f, w.filterSize()), w.inP, w.outP, w.inP, w.outP)
		})
	}
	if w.be.bf16 {
		w.forward.pair(w.be, w.inP, w.outP)
		if train {
			w.backward.pair(w.be, w.outP, w.inP)
		}
	}
}

// pair renews the pairs of rows of filters [36][rows][columns].
func (f *winogradFilters) pair(k kernels, rows, columns int) {
	f.bf16 = grow(f.bf16, len(f.values)/2)
	k.pairRows(f.bf16, f.values, 36*rows, columns)
}

// blocks calls f for some rows of tiles at a time, from row first on; m is their number of tiles.
func (w *winograd) blocks(f func(first int, in, out *winogradShape, m int64)) {
	all := w.height / 2
	count := (all + winogradRows - 1) / winogradRows
	for i := range count {
		first, end := i*all/count, (i+1)*all/count
		in := &winogradShape{
			rows: int64(end - first), tiles: int64(w.tiles),
			channels: int64(w.inP), imageRow: int64(w.paddedRow(w.inP)), frequency: int64(w.input.frequency),
		}
		out := *in
		out.channels, out.imageRow, out.frequency = int64(w.outP), int64(w.width*w.outP), int64(w.output.frequency)
		f(first, in, &out, in.rows*in.tiles)
	}
}

// product computes c = a · filters for m tiles at all frequencies.
func (w *winograd) product(s *winogradScratch, m int64, from *winogradSide, a []float32, filters *winogradFilters, to *winogradSide, c []float32) {
	shape := &matmulShape{
		m: m, n: int64(to.channels), count: [3]int64{1, 1, int64(from.channels)}, strideA: [3]int64{2: 1}, strideB: [3]int64{2: 1},
		rowB: int64(to.channels), batch: 36, batchA: int64(from.frequency), batchB: int64(w.filterSize()), batchC: int64(to.frequency),
	}
	if !w.be.bf16 {
		w.be.matmul(shape, from.tile, to.tile, a, filters.values, nil, c)
		return
	}
	s.bf16 = grow(s.bf16, 18*max(w.input.frequency, w.output.frequency))
	w.be.narrow(s.bf16, a)
	shape.count[2] /= 2
	shape.batchA /= 2
	shape.batchB /= 2
	shape.bf16 = 1
	w.be.matmul(shape, from.pair, to.tile, s.bf16, filters.bf16, nil, c)
}

func (w *winograd) scratch(thread int) *winogradScratch {
	s := &w.threads[thread]
	s.x = grow(s.x, w.paddedSize(w.inP))
	s.image = grow(s.image, w.height*w.width*max(w.inP, w.outP))
	s.in = grow(s.in, 36*w.input.frequency)
	s.out = grow(s.out, 36*w.output.frequency)
	return s
}

func (w *winograd) convolve(thread int, x, bias, z []float32) {
	be, s := w.be, w.scratch(thread)
	w.pad(be, s.x, s.image, x, w.inP)
	w.blocks(func(first int, in, out *winogradShape, m int64) {
		be.winogradInput(in, s.x[2*first*w.paddedRow(w.inP):], s.in)
		w.product(s, m, &w.input, s.in, &w.forward, &w.output, s.out)
		be.winogradOutput(out, s.out, bias, z[2*first*w.width*w.outP:])
	})
}

func (w *winograd) gradientImage(thread int) (dz []float32, row int) {
	s := w.scratch(thread)
	return s.image[:w.height*w.width*w.outP], w.width * w.outP
}

func (w *winograd) gradients(thread, group int, begin bool, x, dx []float32) {
	be, s := w.be, w.scratch(thread)
	s.dx = grow(s.dx, w.paddedSize(w.inP))
	w.pad(be, s.x, s.dx, x, w.inP)
	clear(s.dx)
	sums := w.sums[36*group*w.filterSize():]
	add := int64(addC)
	if begin {
		add = addNothing
	}
	w.blocks(func(first int, in, out *winogradShape, m int64) {
		be.winogradOutputGradient(out, s.image[2*first*w.width*w.outP:], s.out)
		be.winogradInput(in, s.x[2*first*w.paddedRow(w.inP):], s.in)
		be.matmul(&matmulShape{
			m: int64(w.inP), n: int64(w.outP), add: add,
			count: [3]int64{1, 1, m}, strideA: [3]int64{2: int64(w.inP)}, strideB: [3]int64{2: 1}, rowB: int64(w.outP),
			batch: 36, batchA: int64(w.input.frequency), batchB: int64(w.output.frequency), batchC: int64(w.filterSize()),
		}, w.channel, w.sumRow, s.in, s.out, nil, sums)
		add = addC
		if dx == nil {
			return
		}
		w.product(s, m, &w.output, s.out, &w.backward, &w.input, s.in)
		be.winogradInputGradient(in, s.in, s.dx[2*first*w.paddedRow(w.inP):])
	})
	if dx != nil {
		w.unpad(be, dx, s.image, s.dx, w.inP)
	}
}

func (w *winograd) prepare(n int) { w.sums = grow(w.sums, 36*groups(n)*w.filterSize()) }

func (w *winograd) weightGradient(dw []float32, n int) {
	w.be.pool.run(w.in, func(_, i int) {
		w.be.winogradFilterGradient(w.outP, w.filterSize(), groups(n), 36*w.filterSize(), w.sums[i*w.outP:], w.rows[25*i*w.outP:])
	})
	taps := 25 * w.in
	w.be.transpose(dw, w.rows, taps, w.out, taps, w.outP)
}
