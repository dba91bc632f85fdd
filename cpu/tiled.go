package cpu

// tiled computes a convolution of any size by products in tiles of bfloat16. The rows of a tile are
// neighbouring pixels of a row, and its terms lie next to each other in the padded image. With many input
// channels, the terms are the channels of a pixel (channels inside); with few, the pixels under a row of
// the filter (channels outside).
type tiled struct {
	be *Backend
	convSizes

	fewInputs     bool      // few input channels
	image         tileImage // x
	dzPixel       int       // elements between the pixels of dz
	forward, back tiledProduct
	gradient      tileShape // of the filters
	gradA, gradC  []int32
	gradTerm      []int32
	rows          []float32 // the filters as [In·K·K][outP]
	sums          []float32 // per group, their gradient in the same order
	threads       []tiledScratch
}

// tiledProduct is the convolution of a padded image with filters.
type tiledProduct struct {
	shape            tileShape
	image, out, term []int32 // offsets
	filters          []uint32
}

// tiledScratch is the working memory of one thread.
type tiledScratch struct {
	first, last []uint16 // x with channels outside and inside
	dz          []uint16 // channels inside
	dzPairs     []uint32 // pairs of its pixels
	z           []float32
}

func newTiled(be *Backend, sizes convSizes) *tiled {
	d := &tiled{be: be, convSizes: sizes, threads: make([]tiledScratch, be.pool.threads), dzPixel: inTiles(sizes.outP)}
	k, row := d.kernel, d.paddedRow(1)
	d.fewInputs = d.in <= k && k <= tileRows
	terms := (d.height*row + tileTerms - 1) / tileTerms // of the filters' gradient
	d.image = tileImage{
		in: int64(d.in), height: int64(d.height), width: int64(d.width), border: int64(k / 2), row: int64(row),
		// The last patch begins k-1 rows and pixels below the first.
		plane: int64(inTiles((k-1)*(row+1)+terms*tileTerms) + tileTerms), channels: int64(inTiles(d.in)),
	}
	if d.fewInputs {
		for c := range d.in {
			for u := range k {
				d.forward.term = append(d.forward.term, int32(c*int(d.image.plane)+u*row))
			}
		}
		d.forward.init(&d.convSizes, 1, d.outP)
	} else {
		d.forward.taps(&d.convSizes, int(d.image.channels))
		d.forward.init(&d.convSizes, int(d.image.channels), d.outP)
	}
	d.back.taps(&d.convSizes, d.dzPixel)
	d.back.init(&d.convSizes, d.dzPixel, d.inP)

	d.gradient = tileShape{
		rows: tileRows, columns: int64(d.outP / tileRows), terms: int64(terms),
		rowA: d.image.plane, rowB: int64(d.outP), rowC: int64(k * k * d.outP),
		termB: int64(tileRows * d.outP), columnB: tileRows,
	}
	d.gradTerm = steps(terms, tileTerms)
	if d.fewInputs { // the rows of a tile are the elements of a filter's row
		d.gradient.rows, d.gradient.rowA, d.gradient.rowC = int64(k), 1, int64(d.outP)
		d.gradA, d.gradC = d.forward.term, steps(d.in*k, k*d.outP)
	} else { // they are input channels
		for c := 0; c < d.in; c += tileRows {
			for tap := range k * k {
				d.gradA = append(d.gradA, int32(c*int(d.image.plane)+tap/k*row+tap%k))
				d.gradC = append(d.gradC, int32((c*k*k+tap)*d.outP))
			}
		}
	}
	d.gradient.blocks = int64(len(d.gradA))
	return d
}

// taps sets the offsets of terms: where a patch's channels lie.
func (p *tiledProduct) taps(s *convSizes, channels int) {
	for u := range s.kernel {
		for v := range s.kernel {
			for c := 0; c < channels; c += tileTerms {
				p.term = append(p.term, int32(u*s.paddedRow(channels)+v*channels+c))
			}
		}
	}
}

// init sets everything else. pixel is the distance between pixels in the padded image, out in the result.
func (p *tiledProduct) init(s *convSizes, pixel, out int) {
	parts := (s.width + tileRows - 1) / tileRows // of a row; the last one may overlap the one before
	rows := (s.width + parts - 1) / parts
	for i := range s.height {
		for j := range parts {
			first := min(j*rows, s.width-rows)
			p.image = append(p.image, int32(i*s.paddedRow(pixel)+first*pixel))
			p.out = append(p.out, int32((i*s.width+first)*out))
		}
	}
	p.shape = tileShape{
		blocks: int64(len(p.image)), rows: int64(rows), columns: int64(out / tileRows), terms: int64(len(p.term)),
		rowA: int64(pixel), rowB: tileRows, rowC: int64(out), termB: tileSize, columnB: int64(len(p.term) * tileSize),
	}
}

// filterSize returns the elements of the filters as tiles.
func (p *tiledProduct) filterSize() int { return int(p.shape.columns * p.shape.columnB) }

// sumSize returns the elements of the filters' gradient.
func (d *tiled) sumSize() int {
	if d.fewInputs {
		return d.in * d.kernel * d.kernel * d.outP
	}
	return d.inP * d.kernel * d.kernel * d.outP
}

func (d *tiled) firstSize() int { return d.inP * int(d.image.plane) }
func (d *tiled) pairsSize() int { return len(d.gradTerm) * tileRows * d.outP }

func (d *tiled) memory(n int) int {
	scratch := d.firstSize()/2 + d.pairsSize() + d.paddedSize(d.dzPixel)/2 + max(d.height*d.width*d.inP, 2*d.width*d.outP)
	if !d.fewInputs {
		scratch += d.paddedSize(int(d.image.channels)) / 2
	}
	filters := d.forward.filterSize() + d.back.filterSize() + d.in*d.kernel*d.kernel*d.outP
	return len(d.threads)*scratch + filters + groups(n)*d.sumSize()
}

func (d *tiled) pack(w []float32, train bool) {
	be, taps := d.be, d.kernel*d.kernel
	d.rows = grow(d.rows, d.in*taps*d.outP)
	const some = 8 // filters
	be.pool.run((d.out+some-1)/some, func(_, i int) {
		be.transpose(d.rows[some*i:], w[some*i*d.in*taps:], min(some, d.out-some*i), d.in*taps, d.outP, d.in*taps)
	})
	d.forward.filters = grow(d.forward.filters, d.forward.filterSize())
	if d.fewInputs {
		be.pool.run(len(d.forward.term), func(_, i int) {
			be.tilePack(&tilePack{
				rows: int64(d.kernel), columns: int64(d.out), srcRow: int64(d.outP), outer: d.forward.shape.columnB,
			},
				d.forward.filters[i*tileSize:], d.rows[i*d.kernel*d.outP:], nil)
		})
	} else {
		each := int(d.image.channels) / tileTerms * tileSize
		be.pool.run(taps, func(_, tap int) {
			be.tilePack(&tilePack{
				rows: int64(d.in), columns: int64(d.out), srcRow: int64(taps * d.outP), outer: d.forward.shape.columnB,
			},
				d.forward.filters[tap*each:], d.rows[tap*d.outP:], nil)
		})
	}
	if !train {
		return
	}
	// The filters turned by 180 degrees, with inputs and outputs exchanged.
	d.back.filters = grow(d.back.filters, d.back.filterSize())
	each := d.dzPixel / tileTerms * tileSize
	be.pool.run(taps, func(_, tap int) {
		be.tilePack(&tilePack{
			rows: int64(d.in), columns: int64(d.out), srcRow: int64(taps * d.outP), outer: d.back.shape.columnB,
			pairColumns: 1, transposed: 1,
		}, d.back.filters[(taps-1-tap)*each:], d.rows[tap*d.outP:], nil)
	})
}

// padded returns x as left factor of the forward product.
func (d *tiled) padded(thread int, x []float32) []uint16 {
	s := &d.threads[thread]
	if d.fewInputs {
		s.first = grow(s.first, d.firstSize())
		d.be.tileImage(&d.image, x, s.first, nil)
		return s.first
	}
	s.last = grow(s.last, d.paddedSize(int(d.image.channels)))
	d.be.tileImage(&d.image, x, nil, s.last)
	return s.last
}

func (d *tiled) convolve(thread int, x, bias, z []float32) {
	p := &d.forward
	shape := p.shape
	shape.add = addBias
	d.be.tileProduct(&shape, p.image, p.out, p.term, d.padded(thread, x), p.filters, bias, z)
}

func (d *tiled) convolvePool(thread int, x, bias []float32, norm *normalisation, y []float32) {
	p, s := &d.forward, &d.threads[thread]
	shape := p.shape
	shape.add = addBias
	s.z = grow(s.z, 2*d.width*d.outP)
	d.be.tileProductPool(&shape, p.image, p.out, p.term, d.padded(thread, x), p.filters, bias, s.z,
		d.poolShape(0), norm.mean, norm.scale, norm.beta, y)
}

func (d *tiled) prepare(n int) { d.sums = grow(d.sums, groups(n)*d.sumSize()) }

func (d *tiled) poolGradient(thread int, g *poolGradient) {
	s, shape := &d.threads[thread], d.poolShape(d.paddedRow(d.dzPixel))
	s.dzPairs = grow(s.dzPairs, d.pairsSize())
	shape.outPixel, shape.pairRow = int64(d.dzPixel), d.image.row
	var inside []uint16
	if g.dx {
		s.dz = grow(s.dz, d.paddedSize(d.dzPixel))
		inside = s.dz[d.border(d.dzPixel):]
	}
	d.be.tilePoolBackward(shape, g.z, g.mean, g.scale, g.index, g.dy, g.kZ, g.k1, inside, s.dzPairs, g.sumDZ)
}

func (d *tiled) gradients(thread, group int, begin bool, x, dx []float32) {
	s, shape := &d.threads[thread], d.gradient
	s.first = grow(s.first, d.firstSize())
	d.be.tileImage(&d.image, x, s.first, nil)
	shape.add = addC
	if begin {
		shape.add = addNothing
	}
	d.be.tileProduct(&shape, d.gradA, d.gradC, d.gradTerm, s.first, s.dzPairs, nil, d.sums[group*d.sumSize():])
	if dx != nil {
		p := &d.back
		s.z = grow(s.z, d.height*d.width*d.inP)
		d.be.tileProduct(&p.shape, p.image, p.out, p.term, s.dz, p.filters, nil, s.z)
		d.be.transpose(dx, s.z, d.height*d.width, d.in, d.height*d.width, d.inP)
	}
}

func (d *tiled) weightGradient(dw []float32, n int) {
	sum, rows := d.be.sumGroups(d.sums, d.sumSize(), groups(n)), d.in*d.kernel*d.kernel
	const some = 8 // filters
	d.be.pool.run((d.out+some-1)/some, func(_, i int) {
		d.be.transpose(dw[some*i*rows:], sum[some*i:], rows, min(some, d.out-some*i), rows, d.outP)
	})
}
