package cpu

import "crnn/model"

// gradientRows is the number of rows (step, sample) that a weight gradient takes at once,
// so that they stay in a core's cache while all of its tiles pass over them.
const gradientRows = 128

// panelRNN is the RNN with weights in panels. One product computes the input's part of all steps.
type panelRNN struct {
	*rnn
	weights    []panelLayer
	inRow, row []int32 // offsets of rows: of layer 0's input, and of all others
	bf16InRow  []int32 // the same of rows in bfloat16
	bf16Row    []int32
	unit       []int32        // 0, 1, 2 …
	inUnit     []int32        // offsets of the rows of a weight gradient: with inP columns,
	hiddenUnit []int32        // and with hiddenP
	x0         []float32      // layer 0's input, of training
	threads    []panelScratch // one per thread
}

// panelLayer holds a layer's weights, and its outputs after dropout.
type panelLayer struct {
	ih, hh         *panels   // transposed, for Forward
	ihBack, hhBack *panels   // for Backward
	kept           []float32 // the next layer's input, of training
}

// panelScratch is the working memory of one thread: rows of a chunk.
type panelScratch struct {
	x0   []float32    // in eval mode, layer 0's input
	h    [2][]float32 // in eval mode, outputs: of a layer, and of the one below
	dz   [2][]float32 // gradients: of a layer's output, then of the sum in its tanh; the same of the one below
	step []float32    // of two steps
	bf16 [2][]float32 // operands in bfloat16
}

// newPanelRNN completes base.
func newPanelRNN(base *rnn) (*panelRNN, error) {
	r := &panelRNN{rnn: base, threads: make([]panelScratch, base.be.pool.threads)}
	rows, chunk := r.TimeSteps*r.MaxBatch, min(chunkSamples, r.MaxBatch)*r.TimeSteps
	if err := r.be.reserve(rows*r.inP, // x0
		len(r.layers)*rows*r.hiddenP/4*9,   // h, kept, a byte of keep
		(3+groups(r.MaxBatch))*r.groupSize, // weights, packed both ways, in bfloat16 too, and their gradients
		r.be.pool.threads*chunk*7*max(r.inP, r.hiddenP)); err != nil {
		return nil, err
	}
	r.inRow, r.row = steps(chunk, r.inP), steps(chunk, r.hiddenP)
	r.bf16InRow, r.bf16Row = steps(chunk, r.inP/2), steps(chunk, r.hiddenP/2)
	r.unit = steps(r.Hidden, 1)
	r.inUnit, r.hiddenUnit = steps(r.Hidden, r.inP), steps(r.Hidden, r.hiddenP)
	for i := range r.layers {
		r.weights = append(r.weights, panelLayer{
			ih: newPanels(r.layers[i].width, r.Hidden), hh: newPanels(r.Hidden, r.Hidden),
		})
	}
	return r, nil
}

// prepareTraining allocates the memory of training.
func (r *panelRNN) prepareTraining() {
	if !r.makeBackward(groups(r.MaxBatch)) {
		return
	}
	rows := r.TimeSteps * r.MaxBatch
	r.x0 = make([]float32, rows*r.inP)
	for i := range r.weights {
		w := &r.weights[i]
		w.ihBack, w.hhBack = newPanels(r.Hidden, r.layers[i].width), newPanels(r.Hidden, r.Hidden)
		if r.drops(i) {
			w.kept = make([]float32, rows*r.hiddenP)
		}
	}
}

// pack renews the packed weights if the parameters have changed.
func (r *panelRNN) pack() {
	if !r.stale() {
		return
	}
	r.be.pool.run(2*len(r.layers), func(_, i int) {
		l, w := &r.layers[i/2], &r.weights[i/2]
		if i%2 == 0 {
			w.ih.packTransposed(r.be, values(l.WeightIH), r.Hidden)
			w.hh.packTransposed(r.be, values(l.WeightHH), r.Hidden)
		} else if w.ihBack != nil {
			w.ihBack.pack(values(l.WeightIH), l.width)
			w.hhBack.pack(values(l.WeightHH), r.Hidden)
		}
	})
	if !r.be.bf16 {
		return
	}
	r.be.pool.run(4*len(r.layers), func(_, i int) {
		w := &r.weights[i/4]
		if p := [4]*panels{w.ih, w.hh, w.ihBack, w.hhBack}[i%4]; p != nil {
			p.pair(r.be)
		}
	})
}

// panelChunk is a chunk of samples on one thread.
type panelChunk struct {
	*panelRNN
	lo, hi  int // samples
	train   bool
	scratch *panelScratch
}

// chunks calls f for every chunk of the samples of group g of n, in training.
func (r *panelRNN) chunks(thread, g, n int, f func(c *panelChunk)) {
	lo, hi := group(g, n)
	count := (hi - lo + chunkSamples - 1) / chunkSamples
	for i := range count {
		first, end := split(i, hi-lo, count)
		f(&panelChunk{r, lo + first, lo + end, true, &r.threads[thread]})
	}
}

// rows returns the number of a chunk's rows.
func (c *panelChunk) rows() int { return (c.hi - c.lo) * c.TimeSteps }

// rowsOf returns a chunk's rows of a, width elements each.
func rowsOf[T any](c *panelChunk, a []T, width int) []T {
	return a[c.lo*c.TimeSteps*width : c.hi*c.TimeSteps*width]
}

// own returns a chunk's rows of a thread's scratch, width elements each.
func (c *panelChunk) own(scratch *[]float32, width int) []float32 {
	*scratch = grow(*scratch, len(c.row)*width)
	return (*scratch)[:c.rows()*width]
}

// h returns the outputs of layer i.
func (c *panelChunk) h(i int) []float32 {
	if c.train {
		return rowsOf(c, c.layers[i].h, c.hiddenP)
	}
	return c.own(&c.scratch.h[i%2], c.hiddenP)
}

// kept returns the mask of layer i and its outputs after dropout; without dropout, nil and its outputs.
func (c *panelChunk) kept(i int) (keep []uint8, kept []float32) {
	if c.train && c.drops(i) {
		return rowsOf(c, c.layers[i].keep, c.hiddenP), rowsOf(c, c.weights[i].kept, c.hiddenP)
	}
	return nil, c.h(i)
}

// input returns the input of layer i, and the length of its rows.
func (c *panelChunk) input(i int) (in []float32, width int) {
	switch {
	case i > 0:
		_, in = c.kept(i - 1)
		return in, c.hiddenP
	case c.train:
		return rowsOf(c, c.x0, c.inP), c.inP
	}
	return c.own(&c.scratch.x0, c.inP), c.inP
}

// offsets returns the offsets of rows of width elements.
func (c *panelChunk) offsets(width int) []int32 {
	if width == c.hiddenP {
		return c.row[:c.rows()]
	}
	return c.inRow[:c.rows()]
}

// dz returns the gradients of layer i, or for i = -1 of layer 0's input.
func (c *panelChunk) dz(i int) []float32 { return c.own(&c.scratch.dz[(i+1)%2], max(c.hiddenP, c.inP)) }

// shape returns the sizes of a chunk.
func (c *panelChunk) shape() *rnnShape {
	s := &rnnShape{
		steps: int64(c.TimeSteps), samples: int64(c.hi - c.lo), units: int64(c.Hidden), hidden: int64(c.hiddenP),
	}
	if c.be.bf16 {
		s.bf16 = 1
	}
	return s
}

// recurrent returns recurrent weights as rnnForward and rnnBackward take them.
func (c *panelChunk) recurrent(p *panels) []float32 {
	if c.be.bf16 {
		return p.bf16.values
	}
	return p.values
}

// step returns scratch for two steps.
func (c *panelChunk) step() []float32 {
	c.scratch.step = grow(c.scratch.step, 2*chunkSamples*c.hiddenP)
	return c.scratch.step
}

// product computes out = a·p for all rows, of width elements in a and outWidth in out.
func (c *panelChunk) product(a []float32, width, outWidth int, p *panels, add int64, bias, out []float32) {
	if !c.be.bf16 {
		p.product(c.be, c.offsets(width), c.offsets(outWidth), a, add, bias, out)
		return
	}
	bf16Row := c.bf16Row
	if width != c.hiddenP {
		bf16Row = c.bf16InRow
	}
	narrow := c.own(&c.scratch.bf16[0], max(c.hiddenP, c.inP))
	c.be.narrow(narrow, a, c.rows()*width)
	shape := p.bf16.shape(c.rows(), add)
	shape.bf16 = 1
	c.be.matmul(shape, bf16Row, c.offsets(outWidth), narrow, p.bf16.values, bias, out)
}

// Forward implements model.RNN.
func (r *panelRNN) Forward(p model.Pass) {
	if !r.be.begin("RNN forward", p.Check(r.MaxBatch)) {
		return
	}
	r.lastPass = p
	if p.Train {
		r.prepareTraining()
	}
	r.pack()
	n := p.Samples
	forward := func(c *panelChunk) {
		in, _ := c.input(0)
		r.loadInput(in, c.lo, c.hi)
		for i := range r.layers {
			c.forward(i, p)
		}
		r.storeOutput(c.h(len(r.layers) - 1)[(r.TimeSteps-1)*(c.hi-c.lo)*r.hiddenP:], c.lo, c.hi)
	}
	if p.Train {
		r.be.pool.run(groups(n), func(thread, g int) { r.chunks(thread, g, n, forward) })
		return
	}
	r.be.samples(n, func(thread, lo, hi int) { forward(&panelChunk{r, lo, hi, false, &r.threads[thread]}) })
}

// forward computes layer i's outputs.
func (c *panelChunk) forward(i int, p model.Pass) {
	w, h := &c.weights[i], c.h(i)
	in, width := c.input(i)
	c.product(in, width, c.hiddenP, w.ih, addBias, c.layers[i].bias, h)
	dropout := c.dropout(i, p, c.lo)
	keep, kept := c.kept(i)
	c.be.rnnForward(c.shape(), c.row, c.recurrent(w.hh), h, dropout, keep, kept, c.step())
}

// Backward implements model.RNN.
func (r *panelRNN) Backward(p model.Pass) {
	if !r.be.begin("RNN backward", p.CheckBackward(r.MaxBatch), p.CheckAfter(r.lastPass)) {
		return
	}
	n, top := p.Samples, len(r.layers)-1
	r.be.pool.run(groups(n), func(thread, g int) {
		sums := part(r.sums, g, r.groupSize)
		first, _ := group(g, n)
		r.chunks(thread, g, n, func(c *panelChunk) {
			r.loadOutputGradient(c.dz(top), c.lo, c.hi)
			for i := top; i >= 0; i-- {
				c.backward(i, sums, c.lo == first)
			}
			r.storeInputGradient(c.dz(-1), c.lo, c.hi)
		})
	})
	r.sumGradients(groups(n))
}

// backward computes the gradients of layer i and of its input, and adds the weights' gradients
//
//	DWeightIH = Σ dzᵀ in,  DWeightHH = Σ dz[t]ᵀ h[t-1],  DBiasIH = DBiasHH = Σ dz
//
// to sums or, with begin, starts the sums. All operands are still in the core's cache then.
func (c *panelChunk) backward(i int, sums []float32, begin bool) {
	l, w, h, dz, m := &c.layers[i], &c.weights[i], c.h(i), c.dz(i), c.hi-c.lo
	shape := c.shape()
	if i == len(c.layers)-1 {
		shape.lastOnly = 1
	}
	keep, _ := c.kept(i)
	c.be.rnnBackward(shape, c.row, c.recurrent(w.hhBack), h, keep, c.keepScale, dz,
		c.biasGradient(i, sums, begin), c.step())

	in, width := c.input(i)
	c.addOuterProducts(sums[l.dIH:], dz, in, c.rows(), width, begin)
	c.addOuterProducts(sums[l.dHH:], dz[m*c.hiddenP:], h, c.rows()-m, c.hiddenP, begin)
	c.product(dz, c.hiddenP, width, w.ihBack, addNothing, nil, c.dz(i-1))
}

// addOuterProducts adds dzᵀ in, over the given number of rows, to sum [Hidden][width] or, with begin,
// starts the sum.
func (c *panelChunk) addOuterProducts(sum, dz, in []float32, rows, width int, begin bool) {
	sumRow := c.hiddenUnit
	if width != c.hiddenP {
		sumRow = c.inUnit
	}
	shape := &matmulShape{
		m: int64(c.Hidden), n: int64(width), add: addC,
		strideA: [3]int64{2: int64(c.hiddenP)}, strideB: [3]int64{2: 1}, rowB: int64(width), batch: 1,
	}
	if c.be.bf16 {
		dz16, in16 := c.own(&c.scratch.bf16[0], max(c.hiddenP, c.inP)), c.own(&c.scratch.bf16[1], max(c.hiddenP, c.inP))
		c.be.pairRows(dz16, dz, rows, c.hiddenP)
		c.be.pairRows(in16, in, rows, width)
		dz, in, rows, shape.bf16 = dz16, in16, (rows+1)/2, 1
	}
	if begin {
		shape.add = addNothing
		if rows == 0 {
			clear(sum[:c.Hidden*width])
		}
	}
	for first := 0; first < rows; first += gradientRows {
		shape.count = [3]int64{1, 1, int64(min(gradientRows, rows-first))}
		c.be.matmul(shape, c.unit, sumRow, dz[first*c.hiddenP:], in[first*width:], nil, sum)
		shape.add = addC
	}
}
