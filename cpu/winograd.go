package cpu

// Winograd's convolutions F(2x2, 5x5) and F(4x2, 5x5) (Winograd: "Arithmetic Complexity of
// Computations", 1980; Lavin and Gray: "Fast Algorithms for Convolutional Neural Networks", 2016).
// For the 6x6 inputs d around a tile of 2x2 outputs and a filter g,
//
//	Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A.
//
// Summed over input channels, the product inside is one matrix product for each of 36 frequencies: 36
// multiplications in place of 100. The matrices of F(2, 5) evaluate and interpolate polynomials at 0, 1,
// -1, 2, -1/2 and ∞. Among points with small numbers these round least. Relative to a plain sum in
// float32, the error of outputs is 2.4 times as large, of inputs' gradients twice, of filters' gradients
// five times (TestWinogradError).
//
// Gradients are adjoints of the same formula. With q = A dz Aᵀ, the input's gradient is
// B [ (G g Gᵀ) ⊙ q ] Bᵀ, the filter's Gᵀ [ (Bᵀ d B) ⊙ q ] G.
//
// In eval mode in fp32 a tile has 4x2 outputs. Its matrices on the left belong to F(4, 5), with the
// points 0, ±1, ±2, ±1/2 and ∞: 48 multiplications in place of 200. This rounds more; two sums that take
// the channels in turn halve the additional error. After pooling, the error is three times a plain
// sum's. Training keeps the smaller tiles: larger ones would make gradients less accurate, and the
// pooling's gradient goes to another element wherever the error exchanges two nearly equal ones.

// winogradPixelRows is the largest number of rows of pixels whose tiles are transformed at once, so that
// the transformed arrays of both sides stay in a core's cache.
const winogradPixelRows = 8

// winograd is a convolution with filters of 5x5.
type winograd struct {
	be *Backend
	convSizes

	train, eval     *winogradTiling // all of the image in tiles; what is pooled in tiles
	inSize, outSize int             // elements of the transformed arrays, of the larger tiling
	rows            []float32       // the filters, or their gradients, as [In·25][outP]
	backward        winogradFilters // [36][outP][inP]
	sums            []float32       // per group, in the order of train's filters
	channel, sumRow []int32         // offsets of input channels in a tile, and in sums
	threads         []winogradScratch
}

// winogradTiling is an image cut into tiles, and what its products take.
type winogradTiling struct {
	tileHeight    int             // rows of outputs in a tile
	rows, tiles   int             // rows of tiles, and tiles in each
	frequencies   int             // of a tile
	input, output winogradSide    // of the tiles that are transformed at once
	filters       winogradFilters // [frequencies][inP][outP]
	twoSums       int64           // of the products: see matmulShape
}

// winogradSide describes a transformed array of some rows of tiles, [frequencies][tile][channel].
type winogradSide struct {
	channels  int     // padded
	frequency int     // elements at one frequency
	tile      []int32 // offsets of tiles
	pair      []int32 // the same in bfloat16
}

// winogradFilters holds transformed filters, in bf16 also as pairs of rows.
type winogradFilters struct{ values, bf16 []float32 }

func newWinogradTiling(s *convSizes, height, width, tileHeight int) *winogradTiling {
	t := &winogradTiling{
		tileHeight: tileHeight, rows: (height + tileHeight - 1) / tileHeight, tiles: width / 2,
		frequencies: 6 * (tileHeight + 4),
	}
	most := min(winogradPixelRows/tileHeight, t.rows) * t.tiles
	t.input, t.output = newWinogradSide(most, s.inP), newWinogradSide(most, s.outP)
	return t
}

func newWinogradSide(tiles, channels int) winogradSide {
	// A power of two between frequencies would put all of them into a few sets of the cache.
	return winogradSide{channels, tiles*channels + lanes, steps(tiles, channels), steps(tiles, channels/2)}
}

// winogradScratch is the working memory of one thread.
type winogradScratch struct {
	x, dx []float32 // padded images
	image []float32 // without border
	in    []float32 // transformed: v or p
	out   []float32 // m or q
	bf16  []float32 // v or q in bfloat16
}

func newWinograd(be *Backend, sizes convSizes) *winograd {
	w := &winograd{be: be, convSizes: sizes, threads: make([]winogradScratch, be.pool.threads)}
	w.train = newWinogradTiling(&sizes, sizes.evenHeight, sizes.evenWidth, 2)
	pooledHeight, pooledWidth := sizes.height/2*2, sizes.width/2*2
	switch {
	case !be.bf16:
		w.eval = newWinogradTiling(&sizes, pooledHeight, pooledWidth, 4)
		w.eval.twoSums = 1
	case w.odd(): // with larger tiles the error of bfloat16 would be 2 % instead of 1.3 %
		w.eval = newWinogradTiling(&sizes, pooledHeight, pooledWidth, 2)
	default:
		w.eval = w.train
	}
	for _, t := range []*winogradTiling{w.train, w.eval} {
		w.inSize = max(w.inSize, t.frequencies*t.input.frequency)
		w.outSize = max(w.outSize, t.frequencies*t.output.frequency)
	}
	w.channel, w.sumRow = steps(w.inP, 1), steps(w.inP, w.outP)
	return w
}

func (w *winograd) filterSize() int { return w.inP * w.outP }

// xSize returns the elements of a padded image with zeros below it for the last tiles of any tiling.
func (w *winograd) xSize() int {
	return (max(w.train.rows*w.train.tileHeight, w.eval.rows*w.eval.tileHeight) + 4) * w.paddedRow(w.inP)
}

// imageSize returns the elements of an image without border, but with even sides.
func (w *winograd) imageSize(channels int) int { return w.evenHeight * w.evenWidth * channels }

// odd reports whether some tiles reach beyond the image.
func (w *winograd) odd() bool { return w.height != w.evenHeight || w.width != w.evenWidth }

func (w *winograd) memory(n int) int {
	scratch := w.xSize() + w.paddedSize(w.inP) + w.imageSize(max(w.inP, w.outP)) + w.inSize + w.outSize
	if w.be.bf16 {
		scratch += max(w.inSize, w.outSize) / 2
	}
	filters := 36 * (2 + groups(n)) // with the sums
	if w.eval != w.train {
		filters += w.eval.frequencies
	}
	if w.be.bf16 { // pairs
		filters += 36
		if w.eval != w.train {
			filters += w.eval.frequencies / 2
		}
	}
	return len(w.threads)*scratch + filters*w.filterSize() + 25*w.in*w.outP
}

func (w *winograd) pack(weight []float32, train bool) {
	be, taps, t := w.be, 25*w.in, w.eval
	if train {
		t = w.train
	}
	w.rows = grow(w.rows, taps*w.outP)
	if w.outP > w.out {
		clear(w.rows) // the padding may hold an old gradient
	}
	be.transpose(w.rows, weight, w.out, taps, w.outP, taps)
	t.filters.values = grow(t.filters.values, t.frequencies*w.filterSize())
	be.pool.run(w.in, func(_, i int) {
		be.winogradFilter(t.tileHeight, w.rows[25*i*w.outP:], w.outP, w.filterSize(), t.filters.values[i*w.outP:])
	})
	if train {
		w.backward.values = grow(w.backward.values, 36*w.filterSize())
		be.pool.run(36, func(_, f int) {
			be.transpose(part(w.backward.values, f, w.filterSize()), part(t.filters.values, f, w.filterSize()),
				w.inP, w.outP, w.inP, w.outP)
		})
	}
	if be.bf16 {
		t.filters.pair(be, t.frequencies*w.inP, w.outP)
		if train {
			w.backward.pair(be, 36*w.outP, w.inP)
		}
	}
}

// pair renews the pairs of rows of filters [rows][columns].
func (f *winogradFilters) pair(k kernels, rows, columns int) {
	f.bf16 = grow(f.bf16, len(f.values)/2)
	k.pairRows(f.bf16, f.values, rows, columns)
}

// blocks calls f for some rows of tiles at a time, from row first of the image on.
func (w *winograd) blocks(t *winogradTiling, f func(first int, in, out *winogradShape)) {
	count := (t.rows*t.tileHeight + winogradPixelRows - 1) / winogradPixelRows
	for i := range count {
		lo, hi := i*t.rows/count, (i+1)*t.rows/count
		in := &winogradShape{
			rows: int64(hi - lo), tiles: int64(t.tiles), tileHeight: int64(t.tileHeight),
			channels: int64(w.inP), imageRow: int64(w.paddedRow(w.inP)), frequency: int64(t.input.frequency),
		}
		out := *in
		out.channels, out.imageRow, out.frequency = int64(w.outP), int64(w.evenWidth*w.outP), int64(t.output.frequency)
		out.pooledRows = int64((min(hi*t.tileHeight, w.height) - lo*t.tileHeight) / 2)
		f(lo*t.tileHeight, in, &out)
	}
}

// product computes c = a · filters at all frequencies of the tiles of a shape.
func (w *winograd) product(s *winogradScratch, t *winogradTiling, tiles *winogradShape, from *winogradSide, a []float32,
	filters *winogradFilters, to *winogradSide, c []float32) {
	shape := &matmulShape{
		m: tiles.rows * tiles.tiles, n: int64(to.channels),
		count: [3]int64{1, 1, int64(from.channels)}, strideA: [3]int64{2: 1}, strideB: [3]int64{2: 1},
		rowB: int64(to.channels), twoSums: t.twoSums, batch: int64(t.frequencies),
		batchA: int64(from.frequency), batchB: int64(w.filterSize()), batchC: int64(to.frequency),
	}
	if !w.be.bf16 {
		w.be.matmul(shape, from.tile, to.tile, a, filters.values, nil, c)
		return
	}
	s.bf16 = grow(s.bf16, max(w.inSize, w.outSize)/2)
	w.be.narrow(s.bf16, a, len(a))
	shape.count[2] /= 2
	shape.batchA /= 2
	shape.batchB /= 2
	shape.bf16 = 1
	w.be.matmul(shape, from.pair, to.tile, s.bf16, filters.bf16, nil, c)
}

func (w *winograd) scratch(thread int) *winogradScratch {
	s := &w.threads[thread]
	s.x = grow(s.x, w.xSize())
	s.image = grow(s.image, w.imageSize(max(w.inP, w.outP)))
	s.in, s.out = grow(s.in, w.inSize), grow(s.out, w.outSize)
	return s
}

// outputs calls f for some rows of tiles at a time, with their products m.
func (w *winograd) outputs(thread int, t *winogradTiling, x []float32,
	f func(first int, out *winogradShape, m []float32)) {
	be, s := w.be, w.scratch(thread)
	w.pad(be, s.x, s.image, x, w.inP)
	w.blocks(t, func(first int, in, out *winogradShape) {
		be.winogradInput(in, s.x[first*w.paddedRow(w.inP):], s.in)
		w.product(s, t, in, &t.input, s.in, &t.filters, &t.output, s.out)
		f(first, out, s.out)
	})
}

func (w *winograd) convolve(thread int, x, bias, z []float32) {
	to := z
	if w.odd() { // by now the outputs' scratch is free
		to = w.scratch(thread).image
	}
	row := w.evenWidth * w.outP
	w.outputs(thread, w.train, x, func(first int, out *winogradShape, m []float32) {
		w.be.winogradOutput(out, m, bias, to[first*row:])
	})
	if w.odd() {
		for i := range w.height {
			copy(z[i*w.width*w.outP:][:w.width*w.outP], to[i*row:])
		}
	}
}

func (w *winograd) convolvePool(thread int, x, bias []float32, norm *normalisation, y []float32) {
	w.outputs(thread, w.eval, x, func(first int, out *winogradShape, m []float32) {
		w.be.winogradOutputPool(out, m, bias, norm.mean, norm.scale, norm.beta, y[first/2*w.eval.tiles*w.outP:])
	})
}

// gradientImage returns where a thread writes dz, whose rows are row elements apart.
func (w *winograd) gradientImage(thread int) (dz []float32, row int) {
	s := w.scratch(thread)
	dz, row = s.image[:w.imageSize(w.outP)], w.evenWidth*w.outP
	if w.odd() { // the scratch may hold old values beyond the image
		clear(dz)
	}
	return dz, row
}

func (w *winograd) poolGradient(thread int, g *poolGradient) {
	dz, row := w.gradientImage(thread)
	g.compute(w.be, &w.convSizes, dz, row)
}

func (w *winograd) gradients(thread, group int, begin bool, x, dx []float32) {
	be, s, t := w.be, w.scratch(thread), w.train
	s.dx = grow(s.dx, w.paddedSize(w.inP))
	w.pad(be, s.x, s.dx, x, w.inP)
	clear(s.dx)
	sums := w.sums[36*group*w.filterSize():]
	add := int64(addC)
	if begin {
		add = addNothing
	}
	w.blocks(t, func(first int, in, out *winogradShape) {
		be.winogradOutputGradient(out, s.image[first*w.evenWidth*w.outP:], s.out)
		be.winogradInput(in, s.x[first*w.paddedRow(w.inP):], s.in)
		be.matmul(&matmulShape{
			m: int64(w.inP), n: int64(w.outP), add: add,
			count:   [3]int64{1, 1, in.rows * in.tiles},
			strideA: [3]int64{2: int64(w.inP)}, strideB: [3]int64{2: 1}, rowB: int64(w.outP),
			batch: 36, batchA: int64(t.input.frequency), batchB: int64(t.output.frequency), batchC: int64(w.filterSize()),
		}, w.channel, w.sumRow, s.in, s.out, nil, sums)
		add = addC
		if dx == nil {
			return
		}
		w.product(s, t, out, &t.output, s.out, &w.backward, &t.input, s.in)
		be.winogradInputGradient(in, s.in, s.dx[first*w.paddedRow(w.inP):])
	})
	if dx != nil {
		w.unpad(be, dx, s.image, s.dx, w.inP)
	}
}

func (w *winograd) prepare(n int) { w.sums = grow(w.sums, 36*groups(n)*w.filterSize()) }

func (w *winograd) weightGradient(dw []float32, n int) {
	w.be.pool.run(w.in, func(_, i int) {
		w.be.winogradFilterGradient(w.sums[i*w.outP:], w.outP, w.filterSize(), groups(n), 36*w.filterSize(),
			w.rows[25*i*w.outP:])
	})
	taps := 25 * w.in
	w.be.transpose(dw, w.rows, taps, w.out, taps, w.outP)
}
