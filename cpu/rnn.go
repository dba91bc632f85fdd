package cpu

import (
	"math"

	"crnn/model"
	"crnn/rng"
)

// gradientRows is the number of rows (step, sample) that a weight gradient takes at once,
// so that they stay in a core's cache while all of its tiles pass over them.
const gradientRows = 128

// rnn is the unrolled tanh RNN.
//
// A thread takes a chunk of samples through all layers and time steps, so that no thread waits
// for another at a step. The rows of a chunk lie together, with time outermost: row t·m+b holds
// step t of its sample b of m, padded to lanes. The inputs' part of all steps is one product.
// Only what Backward needs is kept beyond a chunk.
type rnn struct {
	be *Backend
	model.RNNSpec

	hiddenP, inP int // padded
	weights      int64
	layers       []rnnLayer
	threshold    uint32 // of a 16-bit word: below it a unit is dropped
	keepScale    float32

	inRow, row []int32 // offsets of rows: of in, and of all others
	bf16InRow  []int32 // the same of rows in bfloat16
	bf16Row    []int32
	unit       []int32 // 0, 1, 2 …
	inUnit     []int32 // offsets of the rows of a weight gradient: with inP columns,
	hiddenUnit []int32 // and with hiddenP

	in        []float32    // layer 0's input, of training
	threads   []rnnScratch // of every thread
	sums      []float32    // gradients of every group
	groupSize int
}

// rnnScratch is what one thread works in: rows of a chunk.
type rnnScratch struct {
	in   []float32    // in eval mode, layer 0's input
	h    [2][]float32 // in eval mode, outputs: of a layer, and of the one below
	dz   [2][]float32 // gradients: of a layer's output, then of the sum in its tanh; the same of the one below
	step []float32    // of two steps
	bf16 [2][]float32 // operands in bfloat16
}

type rnnLayer struct {
	model.RNNLayer
	in, inP         int
	ih, hh          *panels   // transposed weights, for Forward
	ihBack, hhBack  *panels   // weights, for Backward
	bias            []float32 // BiasIH + BiasHH
	h               []float32 // outputs, of training
	kept            []float32 // outputs after dropout: the next layer's input
	keep            []uint8   // mask
	dIH, dHH, dBias int       // offsets in a group's gradients
}

// newRNN returns the RNN without what the ways of computing it differ in.
func newRNN(be *Backend, spec model.RNNSpec) (*rnn, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	r := &rnn{be: be, RNNSpec: spec, hiddenP: padded(spec.Hidden), inP: padded(spec.In), weights: -1}
	if be.tiles {
		r.hiddenP, r.inP = inTiles(spec.Hidden), inTiles(spec.In)
	}
	r.threshold = uint32(math.Round(spec.Dropout * (1 << 16)))
	r.keepScale = float32((1 << 16) / float64((1<<16)-r.threshold))
	r.threads = make([]rnnScratch, be.pool.threads)
	rows, err := elements(spec.Steps, spec.MaxBatch)
	if err == nil {
		_, err = elements(rows, max(r.hiddenP, r.inP))
	}
	if err != nil {
		return nil, err
	}
	for i, p := range spec.Layers {
		l := rnnLayer{RNNLayer: p, in: spec.Hidden, inP: r.hiddenP}
		if i == 0 {
			l.in, l.inP = spec.In, r.inP
		}
		l.dIH = r.groupSize
		l.dHH = l.dIH + r.hiddenP*l.inP
		l.dBias = l.dHH + r.hiddenP*r.hiddenP
		r.groupSize = l.dBias + r.hiddenP
		r.layers = append(r.layers, l)
	}
	return r, nil
}

// newPlainRNN completes the RNN whose products are not made in tiles.
func newPlainRNN(r *rnn) (*rnn, error) {
	be, spec, rows := r.be, &r.RNNSpec, r.Steps*r.MaxBatch
	chunk := min(chunkSamples, spec.MaxBatch) * spec.Steps // rows
	if err := be.reserve(rows*r.inP,                       // in
		len(spec.Layers)*rows*r.hiddenP/4*9,   // h, kept, a byte of keep
		(3+groups(spec.MaxBatch))*r.groupSize, // weights, packed both ways, in bfloat16 too, and their gradients
		be.pool.threads*chunk*7*max(r.inP, r.hiddenP)); err != nil {
		return nil, err
	}
	r.inRow, r.row = steps(chunk, r.inP), steps(chunk, r.hiddenP)
	r.bf16InRow, r.bf16Row = steps(chunk, r.inP/2), steps(chunk, r.hiddenP/2)
	r.unit = steps(spec.Hidden, 1)
	r.inUnit, r.hiddenUnit = steps(spec.Hidden, r.inP), steps(spec.Hidden, r.hiddenP)
	for i := range r.layers {
		l := &r.layers[i]
		l.ih, l.hh = newPanels(l.in, spec.Hidden), newPanels(spec.Hidden, spec.Hidden)
		l.bias = make([]float32, r.hiddenP)
	}
	return r, nil
}

// makeBackward allocates what only training needs.
func (r *rnn) makeBackward() {
	if r.in != nil {
		return
	}
	size := r.Steps * r.MaxBatch
	r.in = make([]float32, size*r.inP)
	r.sums = make([]float32, groups(r.MaxBatch)*r.groupSize)
	for i := range r.layers {
		l := &r.layers[i]
		l.ihBack, l.hhBack = newPanels(r.Hidden, l.in), newPanels(r.Hidden, r.Hidden)
		l.h = make([]float32, size*r.hiddenP)
		if r.threshold > 0 && i < len(r.layers)-1 {
			l.kept = make([]float32, size*r.hiddenP)
			l.keep = make([]uint8, size*r.hiddenP)
		}
	}
	r.weights = -1
}

// pack renews the packed weights if the parameters have changed.
func (r *rnn) pack() {
	if r.weights == r.be.weights {
		return
	}
	r.weights = r.be.weights
	r.be.pool.run(2*len(r.layers), func(_, i int) {
		l := &r.layers[i/2]
		if i%2 == 0 {
			l.ih.packTransposed(r.be, values(l.WeightIH), r.Hidden)
			l.hh.packTransposed(r.be, values(l.WeightHH), r.Hidden)
			for j, b := range values(l.BiasIH) {
				l.bias[j] = b + values(l.BiasHH)[j]
			}
		} else if l.ihBack != nil {
			l.ihBack.pack(values(l.WeightIH), l.in)
			l.hhBack.pack(values(l.WeightHH), r.Hidden)
		}
	})
	if !r.be.bf16 {
		return
	}
	r.be.pool.run(4*len(r.layers), func(_, i int) {
		l := &r.layers[i/4]
		if p := [4]*panels{l.ih, l.hh, l.ihBack, l.hhBack}[i%4]; p != nil {
			p.pair(r.be)
		}
	})
}

// rnnChunk is a chunk of samples in the hands of a thread.
type rnnChunk struct {
	*rnn
	lo, hi  int // samples
	train   bool
	scratch *rnnScratch
}

// chunks calls f for every chunk of the samples of group g of n, in training.
func (r *rnn) chunks(thread, g, n int, f func(c *rnnChunk)) {
	lo, hi := group(g, n)
	count := (hi - lo + chunkSamples - 1) / chunkSamples
	for i := range count {
		first, end := split(i, hi-lo, count)
		f(&rnnChunk{r, lo + first, lo + end, true, &r.threads[thread]})
	}
}

// rows returns the number of a chunk's rows.
func (c *rnnChunk) rows() int { return (c.hi - c.lo) * c.Steps }

// of returns a chunk's rows of a, width elements each.
func of[T any](c *rnnChunk, a []T, width int) []T {
	return a[c.lo*c.Steps*width : c.hi*c.Steps*width]
}

// own returns a chunk's rows of a thread's scratch, width elements each.
func (c *rnnChunk) own(scratch *[]float32, width int) []float32 {
	*scratch = grow(*scratch, len(c.row)*width)
	return (*scratch)[:c.rows()*width]
}

// h returns the outputs of layer i.
func (c *rnnChunk) h(i int) []float32 {
	if c.train {
		return of(c, c.layers[i].h, c.hiddenP)
	}
	return c.own(&c.scratch.h[i%2], c.hiddenP)
}

// kept returns the mask of layer i and its outputs after dropout, or nil and its outputs.
func (c *rnnChunk) kept(i int) (keep []uint8, kept []float32) {
	if l := &c.layers[i]; c.train && l.keep != nil {
		return of(c, l.keep, c.hiddenP), of(c, l.kept, c.hiddenP)
	}
	return nil, c.h(i)
}

// input returns the input of layer i, and the length of its rows.
func (c *rnnChunk) input(i int) (in []float32, width int) {
	switch {
	case i > 0:
		_, in = c.kept(i - 1)
		return in, c.hiddenP
	case c.train:
		return of(c, c.in, c.inP), c.inP
	}
	return c.own(&c.scratch.in, c.inP), c.inP
}

// offsets returns those of rows of that length.
func (c *rnnChunk) offsets(width int) []int32 {
	if width == c.hiddenP {
		return c.row[:c.rows()]
	}
	return c.inRow[:c.rows()]
}

// dz returns the gradients of layer i, or for i = -1 of layer 0's input.
func (c *rnnChunk) dz(i int) []float32 { return c.own(&c.scratch.dz[(i+1)%2], max(c.hiddenP, c.inP)) }

// shape returns the sizes of a chunk.
func (c *rnnChunk) shape() *rnnShape {
	s := &rnnShape{steps: int64(c.Steps), samples: int64(c.hi - c.lo), units: int64(c.Hidden), hidden: int64(c.hiddenP)}
	if c.be.bf16 {
		s.bf16 = 1
	}
	return s
}

// recurrent returns recurrent weights as rnnForward and rnnBackward want them.
func (c *rnnChunk) recurrent(p *panels) []float32 {
	if c.be.bf16 {
		return p.bf16.values
	}
	return p.values
}

// step returns scratch for two steps.
func (c *rnnChunk) step() []float32 {
	c.scratch.step = grow(c.scratch.step, 2*chunkSamples*c.hiddenP)
	return c.scratch.step
}

// product computes out = a·p for all rows, of width elements in a and outWidth in out.
func (c *rnnChunk) product(a []float32, width, outWidth int, p *panels, add int64, bias, out []float32) {
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
func (r *rnn) Forward(p model.Pass) {
	if !r.be.begin("RNN forward", p.Check(r.MaxBatch)) {
		return
	}
	if p.Train {
		r.makeBackward()
	}
	r.pack()
	xv, yv, n := values(r.X), values(r.Y), p.Samples
	forward := func(c *rnnChunk) {
		m := c.hi - c.lo
		in, _ := c.input(0)
		for b := range m {
			for t := range r.Steps {
				copy(in[(t*m+b)*r.inP:], xv[((c.lo+b)*r.Steps+t)*r.In:][:r.In])
			}
		}
		for i := range r.layers {
			c.forward(i, p)
		}
		last := c.h(len(r.layers) - 1)[(r.Steps-1)*m*r.hiddenP:]
		for b := range m {
			copy(yv[(c.lo+b)*r.Hidden:][:r.Hidden], last[b*r.hiddenP:])
		}
	}
	if p.Train {
		r.be.pool.run(groups(n), func(thread, g int) { r.chunks(thread, g, n, forward) })
		return
	}
	r.be.samples(n, func(thread, lo, hi int) { forward(&rnnChunk{r, lo, hi, false, &r.threads[thread]}) })
}

// dropout returns what the masks of layer i are made of, for samples from number lo of the pass on.
func (r *rnn) dropout(i int, p model.Pass, lo int) *rnnDropout {
	return &rnnDropout{
		seed: r.Seed, step: p.Step, purpose: uint32(rng.Dropout.Sub(i)), first: uint64(p.First + lo),
		blocks: uint64(r.Hidden+7) / 8, threshold: uint64(r.threshold), scale: r.keepScale,
	}
}

// forward computes layer i's outputs.
func (c *rnnChunk) forward(i int, p model.Pass) {
	l, h := &c.layers[i], c.h(i)
	in, width := c.input(i)
	c.product(in, width, c.hiddenP, l.ih, addBias, l.bias, h)
	dropout := c.dropout(i, p, c.lo)
	keep, kept := c.kept(i)
	c.be.rnnForward(c.shape(), c.row, c.recurrent(l.hh), h, dropout, keep, kept, c.step())
}

// Backward implements model.RNN.
func (r *rnn) Backward(p model.Pass) {
	if !r.be.begin("RNN backward", p.CheckBackward(r.MaxBatch)) {
		return
	}
	dyv, dxv, n := values(r.DY), values(r.DX), p.Samples
	top := len(r.layers) - 1
	r.be.pool.run(groups(n), func(thread, g int) {
		sums := part(r.sums, g, r.groupSize)
		first, _ := group(g, n)
		r.chunks(thread, g, n, func(c *rnnChunk) {
			m := c.hi - c.lo
			last := c.dz(top)[(r.Steps-1)*m*r.hiddenP:]
			clear(last[:m*r.hiddenP])
			for b := range m {
				copy(last[b*r.hiddenP:], dyv[(c.lo+b)*r.Hidden:][:r.Hidden])
			}
			for i := top; i >= 0; i-- {
				c.backward(i, sums, c.lo == first)
			}
			dIn := c.dz(-1)
			for b := range m {
				for t := range r.Steps {
					copy(dxv[((c.lo+b)*r.Steps+t)*r.In:][:r.In], dIn[(t*m+b)*r.inP:])
				}
			}
		})
	})
	r.sumGradients(groups(n))
}

// backward computes the gradients of layer i and of its input, and adds the weights' gradients
//
//	DWeightIH = Σ dzᵀ in,  DWeightHH = Σ dz[t]ᵀ h[t-1],  DBiasIH = DBiasHH = Σ dz
//
// to sums while all of these are still in the core's cache, or begins them.
func (c *rnnChunk) backward(i int, sums []float32, begin bool) {
	l, h, dz, m := &c.layers[i], c.h(i), c.dz(i), c.hi-c.lo
	shape := c.shape()
	if i == len(c.layers)-1 {
		shape.lastOnly = 1
	}
	keep, _ := c.kept(i)
	dBias := sums[l.dBias:][:c.hiddenP]
	if begin {
		clear(dBias)
	}
	c.be.rnnBackward(shape, c.row, c.recurrent(l.hhBack), h, keep, c.keepScale, dz, dBias, c.step())

	in, width := c.input(i)
	c.addOuterProducts(sums[l.dIH:], dz, in, c.rows(), width, begin)
	c.addOuterProducts(sums[l.dHH:], dz[m*c.hiddenP:], h, c.rows()-m, c.hiddenP, begin)
	c.product(dz, c.hiddenP, width, l.ihBack, addNothing, nil, c.dz(i-1))
}

// addOuterProducts adds dzᵀ in, of so many rows, to sum [Hidden][width], or begins it.
func (c *rnnChunk) addOuterProducts(sum, dz, in []float32, rows, width int, begin bool) {
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

// sumGradients computes the gradients of all parameters from the gradients of so many groups.
func (r *rnn) sumGradients(groups int) {
	total := r.be.sumGroups(r.sums, r.groupSize, groups)
	r.be.pool.run(2*len(r.layers), func(_, i int) {
		l := &r.layers[i/2]
		dw, sum, in, width, dBias := values(l.DWeightIH), total[l.dIH:], l.in, l.inP, values(l.DBiasIH)
		if i%2 == 1 {
			dw, sum, in, width, dBias = values(l.DWeightHH), total[l.dHH:], r.Hidden, r.hiddenP, values(l.DBiasHH)
		}
		for j := range r.Hidden {
			copy(dw[j*in:][:in], sum[j*width:])
		}
		copy(dBias, total[l.dBias:][:r.Hidden])
	})
}
