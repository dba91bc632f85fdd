package cpu

import (
	"crnn/model"
)

// tiledRNN is the RNN with products in tiles of bfloat16. It differs from panelRNN in three ways. A chunk
// has up to tileRows samples, which take hardly longer than half as many. The product with a layer's
// input is part of the recurrence, where it runs between the vectors' work on tanh. And training keeps
// only a layer's outputs in float32 and the mask: Backward makes its operands from them.
type tiledRNN struct {
	*rnn
	weights  []tiledLayer
	term     []int32           // 0, tileTerms, 2·tileTerms …
	gradTerm []int32           // offsets of a left factor's tiles, in the products over a chunk's rows
	threads  []tiledRNNScratch // one per thread
}

// tiledLayer holds a layer's weights as right factors: for Forward, and for Backward.
type tiledLayer struct{ ih, hh, ihBack, hhBack []uint32 }

// tiledRNNScratch is the working memory of one thread: rows of a chunk.
type tiledRNNScratch struct {
	x0          []float32    // layer 0's input
	in, out     []uint16     // a layer's input in bfloat16, and its output; in Backward, out is dz
	state       []uint16     // of a step
	h           []float32    // of a step, in eval mode
	dy          [2][]float32 // gradients of outputs: of a layer and of the one below
	step        []float32
	left, right []uint32 // factors of the weights' gradients
}

func newTiledRNN(base *rnn) (*tiledRNN, error) {
	r := &tiledRNN{rnn: base, threads: make([]tiledRNNScratch, base.be.pool.threads)}
	n, widest := r.MaxBatch, max(r.inP, r.hiddenP)
	chunk := r.TimeSteps * min(tileRows, n) // rows
	if err := r.be.reserve(
		len(r.layers)*n*r.TimeSteps*r.hiddenP/4*5, // h, a byte of keep
		(1+r.groups(n))*r.groupSize,               // weights, packed both ways in pairs, and their gradients
		r.be.pool.threads*chunk*(r.inP+5*widest)); err != nil {
		return nil, err
	}
	r.term = steps(widest/tileTerms, tileTerms)
	r.gradTerm = steps((chunk+tileTerms-1)/tileTerms, 2*tileSize)
	for _, l := range r.layers {
		r.weights = append(r.weights, tiledLayer{
			ih: make([]uint32, r.hiddenP*l.widthP/2), hh: make([]uint32, r.hiddenP*r.hiddenP/2),
		})
	}
	return r, nil
}

// groups returns the number of groups. They are larger than the pool's: one more sample in a chunk costs
// less than one more chunk.
func (r *tiledRNN) groups(n int) int { return min(max(n/12, 1), 16) }

// prepareTraining allocates the memory of training.
func (r *tiledRNN) prepareTraining() {
	if !r.makeBackward(r.groups(r.MaxBatch)) {
		return
	}
	for i := range r.weights {
		w := &r.weights[i]
		w.ihBack, w.hhBack = make([]uint32, len(w.ih)), make([]uint32, len(w.hh))
	}
}

// pack renews the packed weights if the parameters have changed.
func (r *tiledRNN) pack() {
	if !r.stale() {
		return
	}
	r.be.pool.run(4*len(r.layers), func(_, i int) {
		l, packed := &r.layers[i/4], &r.weights[i/4]
		to, w, width, widthP := packed.ih, values(l.WeightIH), l.width, l.widthP
		if i%2 == 1 {
			to, w, width, widthP = packed.hh, values(l.WeightHH), r.Hidden, r.hiddenP
		}
		s := &tilePack{
			rows: int64(r.Hidden), columns: int64(width), srcRow: int64(width), outer: int64(widthP / tileTerms * tileSize),
			pairColumns: 1, transposed: 1,
		}
		if i%4 >= 2 {
			if to = [2][]uint32{packed.ihBack, packed.hhBack}[i%2]; to == nil {
				return
			}
			s.pairColumns, s.transposed, s.outer = 0, 0, int64(r.hiddenP/tileTerms*tileSize)
		}
		r.be.tilePack(s, to, w, nil)
	})
}

// tiledChunk is a chunk of samples on one thread.
type tiledChunk struct {
	*tiledRNN
	lo, hi int // samples
	train  bool
	own    *tiledRNNScratch
}

// chunks calls f for every chunk of the samples of group g of n, in training.
func (r *tiledRNN) chunks(thread, g, n int, f func(c *tiledChunk, begin bool)) {
	lo, hi := split(g, n, r.groups(n))
	count := (hi - lo + tileRows - 1) / tileRows
	for i := range count {
		first, end := split(i, hi-lo, count)
		f(&tiledChunk{r, lo + first, lo + end, true, &r.threads[thread]}, i == 0)
	}
}

func (c *tiledChunk) m() int    { return c.hi - c.lo }
func (c *tiledChunk) rows() int { return c.m() * c.TimeSteps }

// inRows returns the rows of layer 0's input.
func (c *tiledChunk) inRows() []float32 {
	c.own.x0 = grow(c.own.x0, c.TimeSteps*min(tileRows, c.MaxBatch)*c.inP)
	c.loadInput(c.own.x0, c.lo, c.hi)
	return c.own.x0[:c.rows()*c.inP]
}

// tiledOf returns a chunk's part of the rows of all samples.
func tiledOf[T any](c *tiledChunk, a []T) []T {
	if a == nil {
		return nil
	}
	return a[c.lo*c.TimeSteps*c.hiddenP : c.hi*c.TimeSteps*c.hiddenP]
}

// shape returns the sizes of layer i.
func (c *tiledChunk) shape(i int) *tileRNN {
	return &tileRNN{
		steps: int64(c.TimeSteps), samples: int64(c.m()), hidden: int64(c.hiddenP), in: int64(c.layers[i].widthP),
	}
}

// grow makes room for a chunk's rows.
func (c *tiledChunk) grow() {
	s, rows, widest := c.own, c.TimeSteps*min(tileRows, c.MaxBatch), max(c.inP, c.hiddenP)
	s.in, s.out = grow(s.in, rows*widest), grow(s.out, rows*widest)
	s.state = grow(s.state, tileRows*c.hiddenP)
	s.step = grow(s.step, 2*tileRows*c.hiddenP)
	if !c.train {
		s.h = grow(s.h, tileRows*c.hiddenP)
		return
	}
	for i := range s.dy {
		s.dy[i] = grow(s.dy[i], rows*widest)
	}
	s.left = grow(s.left, len(c.gradTerm)*tileRows*c.hiddenP)
	s.right = grow(s.right, len(c.gradTerm)*tileRows*widest)
}

// Forward implements model.RNN.
func (r *tiledRNN) Forward(p model.Pass) {
	if !r.be.begin("RNN forward", p.Check(r.MaxBatch)) {
		return
	}
	r.lastPass = p
	if p.Train {
		r.prepareTraining()
	}
	r.pack()
	n := p.Samples
	forward := func(c *tiledChunk, _ bool) {
		c.grow()
		in := c.inRows()
		c.be.narrow(floatsOf(c.own.in), in, len(in))
		var last []float32
		for i := range r.layers {
			last = c.forward(i, p)
		}
		r.storeOutput(last, c.lo, c.hi)
	}
	if p.Train {
		r.be.pool.run(r.groups(n), func(thread, g int) { r.chunks(thread, g, n, forward) })
		return
	}
	r.be.samples(n, func(thread, lo, hi int) { forward(&tiledChunk{r, lo, hi, false, &r.threads[thread]}, true) })
}

// forward computes layer i's outputs and returns the last step's.
func (c *tiledChunk) forward(i int, p model.Pass) []float32 {
	l, w, own := &c.layers[i], &c.weights[i], c.own
	s, h, keep := c.shape(i), own.h, []uint8(nil)
	if c.train {
		h, keep = tiledOf(c, l.h), tiledOf(c, l.keep)
		s.hStep = int64(c.m() * c.hiddenP)
	}
	dropout := c.dropout(i, p, c.lo)
	c.be.tileRNNForward(s, c.term, w.ih, w.hh, l.bias, own.in, h, own.out, own.state, own.step, dropout, keep)
	own.in, own.out = own.out, own.in
	return h[(c.TimeSteps-1)*int(s.hStep):]
}

// Backward implements model.RNN.
func (r *tiledRNN) Backward(p model.Pass) {
	if !r.be.begin("RNN backward", p.CheckBackward(r.MaxBatch), p.CheckAfter(r.lastPass)) {
		return
	}
	n, top := p.Samples, len(r.layers)-1
	count := r.groups(n)
	r.be.pool.run(count, func(thread, i int) {
		// It begins with the groups that Forward ended with: their outputs may still be in the core's cache.
		g := (i + max(count-r.be.pool.threads, 0)) % count
		sums := part(r.sums, g, r.groupSize)
		r.chunks(thread, g, n, func(c *tiledChunk, begin bool) {
			c.grow()
			r.loadOutputGradient(c.own.dy[top%2], c.lo, c.hi)
			for i := top; i >= 0; i-- {
				c.backward(i, sums, begin)
			}
			r.storeInputGradient(c.own.dy[1], c.lo, c.hi)
		})
	})
	r.sumGradients(r.groups(n))
}

// backward computes the gradients of layer i and of its input, like panelChunk.backward.
func (c *tiledChunk) backward(i int, sums []float32, begin bool) {
	l, w, own := &c.layers[i], &c.weights[i], c.own
	h, rows := tiledOf(c, l.h), int64(c.rows())
	shape := c.shape(i)
	if i == len(c.layers)-1 {
		shape.lastOnly = 1
	}
	dz := own.out
	c.be.tileRNNBackward(shape, c.term, w.ihBack, w.hhBack, h, tiledOf(c, l.keep), c.keepScale,
		own.dy[i%2], dz, own.dy[(i+1)%2], c.biasGradient(i, sums, begin), own.step)

	terms := (rows + tileTerms - 1) / tileTerms
	pack := tilePack{
		rows: rows, columns: int64(c.hiddenP), srcRow: int64(c.hiddenP), outer: terms * tileSize, scale: c.keepScale,
	}
	left := pack
	left.narrow, left.transposed = 1, 1
	c.be.tilePack(&left, own.left, floatsOf(dz), nil)

	// DWeightIH = Σ dzᵀ in
	if i > 0 {
		below := &c.layers[i-1]
		c.be.tilePack(&pack, own.right, tiledOf(c, below.h), tiledOf(c, below.keep))
	} else {
		in := pack
		in.columns, in.srcRow = int64(c.inP), int64(c.inP)
		c.be.tilePack(&in, own.right, c.inRows(), nil)
	}
	c.addOuterProducts(sums[l.dIH:], terms, l.widthP, begin)
	// DWeightHH = Σ dz[t]ᵀ h[t-1]
	pack.zeroRows = int64(c.m())
	c.be.tilePack(&pack, own.right, h, nil)
	c.addOuterProducts(sums[l.dHH:], terms, c.hiddenP, begin)
}

// addOuterProducts adds the product of the left and the right factor to sum [hiddenP][width] or, with
// begin, starts the sum.
func (c *tiledChunk) addOuterProducts(sum []float32, terms int64, width int, begin bool) {
	s := &tileShape{
		blocks: int64(c.hiddenP / tileRows), rows: tileRows, columns: int64(width / tileRows), terms: terms,
		rowA: tileTerms, rowB: tileRows, rowC: int64(width), termB: tileSize, columnB: terms * tileSize, add: addC,
	}
	if begin {
		s.add = addNothing
	}
	c.be.tileProduct(s, steps(c.hiddenP/tileRows, int(terms)*2*tileSize), steps(c.hiddenP/tileRows, tileRows*width),
		c.gradTerm, halvesOf(c.own.left), c.own.right, nil, sum)
}

var _ model.RNN = (*tiledRNN)(nil)
