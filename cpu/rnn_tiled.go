package cpu

import (
	"crnn/model"
)

// tiledRNN is the RNN by products in tiles of bfloat16. It works as rnn does, but for three things: a chunk
// has up to tileRows samples, which take hardly longer than half as many; the product with a layer's input is
// part of the recurrence, as its sum is in the tiles then; and of a layer's outputs of training only those in
// float32 and the mask are kept, from which Backward makes its operands.
type tiledRNN struct {
	*rnn
	layers []tiledRNNLayer
	term   []int32 // 0, tileTerms, 2·tileTerms …

	// Of products of so many rows, which are the steps of a chunk.
	gradTerm []int32 // offsets of a left factor's tiles
	scratch  []tiledRNNScratch
}

// tiledRNNLayer is a layer with its weights as right factors.
type tiledRNNLayer struct {
	*rnnLayer
	ih, hh, ihBack, hhBack []uint32
}

// tiledRNNScratch is what one thread works in: rows of a chunk.
type tiledRNNScratch struct {
	in32        []float32    // layer 0's input,
	in, out     []uint16     // a layer's in bfloat16, and its output; dz
	state       []uint16     // of a step
	h           []float32    // of a step, in eval mode
	dy          [2][]float32 // gradients of outputs: of a layer and of the one below
	step        []float32
	left, right []uint32 // factors of the weights' gradients
}

func newTiledRNN(base *rnn) (*tiledRNN, error) {
	r := &tiledRNN{rnn: base, scratch: make([]tiledRNNScratch, base.be.pool.threads)}
	n, widest := r.MaxBatch, max(r.inP, r.hiddenP)
	chunk := r.Steps * min(tileRows, n) // rows
	if err := r.be.reserve(
		len(base.layers)*n*r.Steps*r.hiddenP/4*5, // h, a byte of keep
		(1+r.groups(n))*r.groupSize,              // weights, packed both ways in pairs, and their gradients
		r.be.pool.threads*chunk*(r.inP+5*widest)); err != nil {
		return nil, err
	}
	r.term = steps(widest/tileTerms, tileTerms)
	r.gradTerm = steps((chunk+tileTerms-1)/tileTerms, 2*tileSize)
	for i := range base.layers {
		l := &base.layers[i]
		l.bias = make([]float32, r.hiddenP)
		r.layers = append(r.layers, tiledRNNLayer{
			l, make([]uint32, r.hiddenP*l.inP/2), make([]uint32, r.hiddenP*r.hiddenP/2), nil, nil,
		})
	}
	return r, nil
}

// groups returns a number of groups, larger ones than the pool's: a sample more in a chunk costs less than
// a chunk.
func (r *tiledRNN) groups(n int) int { return min(max(n/12, 1), 16) }

// makeBackward allocates what only training needs.
func (r *tiledRNN) makeBackward() {
	if r.sums != nil {
		return
	}
	rows := r.Steps * r.MaxBatch
	r.sums = make([]float32, r.groups(r.MaxBatch)*r.groupSize)
	for i := range r.layers {
		l := &r.layers[i]
		l.ihBack, l.hhBack = make([]uint32, len(l.ih)), make([]uint32, len(l.hh))
		l.h = make([]float32, rows*r.hiddenP)
		if r.threshold > 0 && i < len(r.layers)-1 {
			l.keep = make([]uint8, rows*r.hiddenP)
		}
	}
	r.weights = -1
}

// pack renews the packed weights if the parameters have changed.
func (r *tiledRNN) pack() {
	if r.weights == r.be.weights {
		return
	}
	r.weights = r.be.weights
	r.be.pool.run(4*len(r.layers), func(_, i int) {
		l := &r.layers[i/4]
		to, w, in, inP := l.ih, values(l.WeightIH), l.in, l.inP
		if i%2 == 1 {
			to, w, in, inP = l.hh, values(l.WeightHH), r.Hidden, r.hiddenP
		}
		s := &tilePack{
			rows: int64(r.Hidden), columns: int64(in), srcRow: int64(in), outer: int64(inP / tileTerms * tileSize),
			pairColumns: 1, transposed: 1,
		}
		if i%4 >= 2 {
			if to = [2][]uint32{l.ihBack, l.hhBack}[i%2]; to == nil {
				return
			}
			s.pairColumns, s.transposed, s.outer = 0, 0, int64(r.hiddenP/tileTerms*tileSize)
		}
		r.be.tilePack(s, to, w, nil)
	})
	for i := range r.layers {
		l := &r.layers[i]
		for j, b := range values(l.BiasIH) {
			l.bias[j] = b + values(l.BiasHH)[j]
		}
	}
}

// tiledChunk is a chunk of samples in the hands of a thread.
type tiledChunk struct {
	*tiledRNN
	lo, hi int // samples
	train  bool
	*tiledRNNScratch
}

// chunks calls f for every chunk of the samples of group g of n, in training.
func (r *tiledRNN) chunks(thread, g, n int, f func(c *tiledChunk, begin bool)) {
	lo, hi := split(g, n, r.groups(n))
	count := (hi - lo + tileRows - 1) / tileRows
	for i := range count {
		first, end := split(i, hi-lo, count)
		f(&tiledChunk{r, lo + first, lo + end, true, &r.scratch[thread]}, i == 0)
	}
}

func (c *tiledChunk) m() int    { return c.hi - c.lo }
func (c *tiledChunk) rows() int { return c.m() * c.Steps }

// inRows returns the rows of layer 0's input.
func (c *tiledChunk) inRows(x []float32) []float32 {
	c.in32 = grow(c.in32, c.Steps*min(tileRows, c.MaxBatch)*c.inP)
	for b := range c.m() {
		for t := range c.Steps {
			copy(c.in32[(t*c.m()+b)*c.inP:], x[((c.lo+b)*c.Steps+t)*c.In:][:c.In])
		}
	}
	return c.in32[:c.rows()*c.inP]
}

// tiledOf returns a chunk's part of the rows of all samples.
func tiledOf[T any](c *tiledChunk, a []T) []T {
	if a == nil {
		return nil
	}
	return a[c.lo*c.Steps*c.hiddenP : c.hi*c.Steps*c.hiddenP]
}

func (c *tiledChunk) shape(l *tiledRNNLayer) *tileRNN {
	return &tileRNN{steps: int64(c.Steps), samples: int64(c.m()), hidden: int64(c.hiddenP), in: int64(l.inP)}
}

// grow makes room for so many rows of a chunk.
func (c *tiledChunk) grow() {
	rows, widest := c.Steps*min(tileRows, c.MaxBatch), max(c.inP, c.hiddenP)
	c.in, c.out = grow(c.in, rows*widest), grow(c.out, rows*widest)
	c.state = grow(c.state, tileRows*c.hiddenP)
	c.step = grow(c.step, 2*tileRows*c.hiddenP)
	if !c.train {
		c.h = grow(c.h, tileRows*c.hiddenP)
		return
	}
	for i := range c.dy {
		c.dy[i] = grow(c.dy[i], rows*widest)
	}
	c.left = grow(c.left, len(c.gradTerm)*tileRows*c.hiddenP)
	c.right = grow(c.right, len(c.gradTerm)*tileRows*widest)
}

// Forward implements model.RNN.
func (r *tiledRNN) Forward(p model.Pass) {
	if !r.be.begin("RNN forward", p.Check(r.MaxBatch)) {
		return
	}
	if p.Train {
		r.makeBackward()
	}
	r.pack()
	xv, yv, n := values(r.X), values(r.Y), p.Samples
	forward := func(c *tiledChunk, _ bool) {
		c.grow()
		in := c.inRows(xv)
		c.be.narrow(floatsOf(c.tiledRNNScratch.in), in, len(in))
		var last []float32
		for i := range r.layers {
			last = c.forward(i, p)
		}
		for b := range c.m() {
			copy(yv[(c.lo+b)*r.Hidden:][:r.Hidden], last[b*r.hiddenP:])
		}
	}
	if p.Train {
		r.be.pool.run(r.groups(n), func(thread, g int) { r.chunks(thread, g, n, forward) })
		return
	}
	r.be.samples(n, func(thread, lo, hi int) { forward(&tiledChunk{r, lo, hi, false, &r.scratch[thread]}, true) })
}

// forward computes layer i's outputs and returns the last step's.
func (c *tiledChunk) forward(i int, p model.Pass) []float32 {
	l := &c.layers[i]
	s, h, keep := c.shape(l), c.h, []uint8(nil)
	if c.train {
		h, keep = tiledOf(c, l.h), tiledOf(c, l.keep)
		s.hStep = int64(c.m() * c.hiddenP)
	}
	dropout := c.dropout(i, p, c.lo)
	c.be.tileRNNForward(s, c.term, l.ih, l.hh, l.bias, c.in, h, c.out, c.state, c.step, dropout, keep)
	c.in, c.out = c.out, c.in
	return h[(c.Steps-1)*int(s.hStep):]
}

// Backward implements model.RNN.
func (r *tiledRNN) Backward(p model.Pass) {
	if !r.be.begin("RNN backward", p.CheckBackward(r.MaxBatch)) {
		return
	}
	xv, dyv, dxv, n := values(r.X), values(r.DY), values(r.DX), p.Samples
	top := len(r.layers) - 1
	count := r.groups(n)
	r.be.pool.run(count, func(thread, i int) {
		// First those groups that Forward came to last: their outputs may still be in the core's cache.
		g := (i + max(count-r.be.pool.threads, 0)) % count
		sums := part(r.sums, g, r.groupSize)
		r.chunks(thread, g, n, func(c *tiledChunk, begin bool) {
			c.grow()
			m := c.m()
			last := c.dy[top%2][(r.Steps-1)*m*r.hiddenP:][:m*r.hiddenP]
			clear(last)
			for b := range m {
				copy(last[b*r.hiddenP:], dyv[(c.lo+b)*r.Hidden:][:r.Hidden])
			}
			for i := top; i >= 0; i-- {
				c.backward(i, xv, sums, begin)
			}
			dIn := c.dy[1]
			for b := range m {
				for t := range r.Steps {
					copy(dxv[((c.lo+b)*r.Steps+t)*r.In:][:r.In], dIn[(t*m+b)*r.inP:])
				}
			}
		})
	})
	r.sumGradients(r.groups(n))
}

// backward goes back through layer i, as rnnChunk's does.
func (c *tiledChunk) backward(i int, x, sums []float32, begin bool) {
	l, m := &c.layers[i], c.m()
	h, rows := tiledOf(c, l.h), int64(c.rows())
	shape := c.shape(l)
	if i == len(c.layers)-1 {
		shape.lastOnly = 1
	}
	dBias := sums[l.dBias:][:c.hiddenP]
	if begin {
		clear(dBias)
	}
	dz := c.out
	c.be.tileRNNBackward(shape, c.term, l.ihBack, l.hhBack, h, tiledOf(c, l.keep), c.keepScale,
		c.dy[i%2], dz, c.dy[(i+1)%2], dBias, c.step)

	terms := (rows + tileTerms - 1) / tileTerms
	pack := tilePack{rows: rows, columns: int64(c.hiddenP), srcRow: int64(c.hiddenP), outer: terms * tileSize, scale: c.keepScale}
	left := pack
	left.narrow, left.transposed = 1, 1
	c.be.tilePack(&left, c.left, floatsOf(dz), nil)

	// DWeightIH = Σ dzᵀ in
	if i > 0 {
		below := &c.layers[i-1]
		c.be.tilePack(&pack, c.right, tiledOf(c, below.h), tiledOf(c, below.keep))
	} else {
		in := pack
		in.columns, in.srcRow = int64(c.inP), int64(c.inP)
		c.be.tilePack(&in, c.right, c.inRows(x), nil)
	}
	c.addOuterProducts(sums[l.dIH:], terms, l.inP, begin)
	// DWeightHH = Σ dz[t]ᵀ h[t-1]
	pack.zeroRows = int64(m)
	c.be.tilePack(&pack, c.right, h, nil)
	c.addOuterProducts(sums[l.dHH:], terms, c.hiddenP, begin)
}

// addOuterProducts adds the product of the left and the right factor to sum [hiddenP][width], or begins it.
func (c *tiledChunk) addOuterProducts(sum []float32, terms int64, width int, begin bool) {
	s := &tileShape{
		blocks: int64(c.hiddenP / tileRows), rows: tileRows, columns: int64(width / tileRows), terms: terms,
		rowA: tileTerms, rowB: tileRows, rowC: int64(width), termB: tileSize, columnB: terms * tileSize, add: addC,
	}
	if begin {
		s.add = addNothing
	}
	c.be.tileProduct(s, steps(c.hiddenP/tileRows, int(terms)*2*tileSize), steps(c.hiddenP/tileRows, tileRows*width), c.gradTerm,
		halvesOf(c.left), c.right, nil, sum)
}

var _ model.RNN = (*tiledRNN)(nil)
