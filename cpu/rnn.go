package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"crnn/model"
	"crnn/rng"
)

// chunkSamples is the largest number of samples that a thread takes through all layers and
// steps at once; more would push a layer's states out of its cache.
const chunkSamples = 32

// rnn is the unrolled tanh RNN.
//
// A thread takes some samples through all layers and time steps, so that no thread waits
// for another at a step. Sequences are stored with time outermost: row t·MaxBatch+b holds
// step t of sample b, padded to lanes. The inputs' part of all steps is one product.
type rnn struct {
	be *Backend
	model.RNNSpec

	hiddenP, inP int // padded
	weights      int64
	layers       []rnnLayer
	threshold    uint32 // of a 16-bit word: below it a unit is dropped
	keepScale    float32
	maskRow      int  // bytes of a mask's row: 8 for each block of random numbers
	dropped      bool // the last Forward dropped units

	// Offsets of rows. A chunk of samples [lo,hi) has its own part, [lo·Steps, hi·Steps), of
	// inRow and row, which holds the offsets, from row lo on, of its rows (t,b), time outermost.
	inRow, row []int32
	unit       []int32 // 0, 1, 2 …
	gradIn     []int32 // offsets of rows of DWeightIH of layer 0, padded
	gradHH     []int32 // and of the other weight gradients

	in, dIn []float32 // layer 0's input and its gradient, time outermost
}

type rnnLayer struct {
	model.RNNLayer
	in, inP         int
	ih, hh          *panels   // transposed weights, for Forward
	ihBack, hhBack  *panels   // weights, for Backward
	bias            []float32 // BiasIH + BiasHH
	h               []float32 // outputs
	kept            []float32 // outputs after dropout: the next layer's input
	keep            []uint8   // mask, sample outermost
	dz              []float32 // ∂loss/∂(sum in the tanh); before that, ∂loss/∂h
	dIH, dHH, dBias []float32
}

// NewRNN implements model.Backend.
func (be *Backend) NewRNN(spec model.RNNSpec) (model.RNN, error) {
	r := &rnn{be: be, RNNSpec: spec, hiddenP: padded(spec.Hidden), inP: padded(spec.In), weights: -1}
	r.threshold = uint32(math.Round(spec.Dropout * (1 << 16)))
	r.keepScale = float32((1 << 16) / float64((1<<16)-r.threshold))
	r.maskRow = (spec.Hidden + 7) / 8 * 8
	rows, err := elements(spec.Steps, spec.MaxBatch)
	if err == nil {
		_, err = elements(rows, max(r.hiddenP, r.inP))
	}
	if err == nil {
		layers := len(spec.Layers)
		err = be.reserve(2*rows*(r.inP+1), // in, dIn, offsets
			layers*rows*r.hiddenP/4*13,                           // h, dz, kept, a byte of keep
			3*layers*r.hiddenP*(r.hiddenP+max(r.hiddenP, r.inP))) // weights, packed both ways, and their gradients
	}
	if err != nil {
		return nil, err
	}
	r.inRow = make([]int32, rows)
	r.row = make([]int32, rows)
	r.unit = steps(spec.Hidden, 1)
	r.gradHH = steps(spec.Hidden, r.hiddenP)
	r.gradIn = steps(spec.Hidden, r.inP)
	r.in = make([]float32, rows*r.inP)
	for i, p := range spec.Layers {
		l := rnnLayer{RNNLayer: p, in: spec.Hidden, inP: r.hiddenP}
		if i == 0 {
			l.in, l.inP = spec.In, r.inP
		}
		l.ih, l.hh = newPanels(l.in, spec.Hidden), newPanels(spec.Hidden, spec.Hidden)
		l.bias = make([]float32, r.hiddenP)
		l.h = make([]float32, rows*r.hiddenP)
		r.layers = append(r.layers, l)
	}
	return r, nil
}

// makeBackward allocates what only training needs.
func (r *rnn) makeBackward() {
	if r.dIn != nil {
		return
	}
	size := r.Steps * r.MaxBatch
	r.dIn = make([]float32, size*r.inP)
	for i := range r.layers {
		l := &r.layers[i]
		l.ihBack, l.hhBack = newPanels(r.Hidden, l.in), newPanels(r.Hidden, r.Hidden)
		l.dz = make([]float32, size*r.hiddenP)
		l.dIH = make([]float32, r.hiddenP*l.inP)
		l.dHH = make([]float32, r.hiddenP*r.hiddenP)
		l.dBias = make([]float32, r.hiddenP)
		if r.threshold > 0 && i < len(r.layers)-1 {
			l.kept = make([]float32, size*r.hiddenP)
			l.keep = make([]uint8, size*r.maskRow)
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
	r.be.pool.run(len(r.layers), func(i int) {
		l := &r.layers[i]
		ih, hh := values(l.WeightIH), values(l.WeightHH)
		r.be.packTransposed(l.ih, ih, r.Hidden)
		r.be.packTransposed(l.hh, hh, r.Hidden)
		if l.ihBack != nil {
			l.ihBack.pack(ih, l.in)
			l.hhBack.pack(hh, r.Hidden)
		}
		for j, b := range values(l.BiasIH) {
			l.bias[j] = b + values(l.BiasHH)[j]
		}
	})
}

// at returns the rows of step t of a, from sample lo on; width is the length of a row.
func (r *rnn) at(a []float32, t, lo, width int) []float32 { return a[(t*r.MaxBatch+lo)*width:] }

// input returns layer i's input after dropout, and the length of its rows.
func (r *rnn) input(i int) ([]float32, int) {
	switch {
	case i == 0:
		return r.in, r.inP
	case r.dropped:
		return r.layers[i-1].kept, r.hiddenP
	}
	return r.layers[i-1].h, r.hiddenP
}

// Forward implements model.RNN.
func (r *rnn) Forward(x, y *tensor.Dense, n int, train bool, step uint64) {
	if train {
		r.makeBackward()
	}
	r.pack()
	r.dropped = train && r.threshold > 0
	xv, yv := values(x), values(y)
	r.be.pool.runChunks(n, chunkSamples, func(lo, hi int) {
		inRow, row := r.inRow[lo*r.Steps:hi*r.Steps], r.row[lo*r.Steps:hi*r.Steps]
		for t := range r.Steps {
			for b := range hi - lo {
				inRow[t*(hi-lo)+b] = int32((t*r.MaxBatch + b) * r.inP)
				row[t*(hi-lo)+b] = int32((t*r.MaxBatch + b) * r.hiddenP)
				copy(r.at(r.in, t, lo+b, r.inP), xv[((lo+b)*r.Steps+t)*r.In:][:r.In])
			}
		}
		for i := range r.layers {
			r.forwardLayer(i, lo, hi, inRow, row)
			if r.dropped && i < len(r.layers)-1 {
				r.drop(i, lo, hi, step)
			}
		}
		last := r.layers[len(r.layers)-1].h
		for b := lo; b < hi; b++ {
			copy(yv[b*r.Hidden:][:r.Hidden], r.at(last, r.Steps-1, b, r.hiddenP))
		}
	})
}

// forwardLayer computes layer i's h for samples lo to hi.
func (r *rnn) forwardLayer(i, lo, hi int, inRow, row []int32) {
	l := &r.layers[i]
	in, width := r.input(i)
	if i > 0 {
		inRow = row
	}
	h := l.h[lo*r.hiddenP:]
	r.be.product(inRow, row, in[lo*width:], l.ih, initBias, l.bias, h)
	for t := range r.Steps {
		now := r.at(l.h, t, lo, r.hiddenP)[:(hi-lo)*r.hiddenP]
		if t > 0 {
			r.be.product(row[:hi-lo], row[:hi-lo], r.at(l.h, t-1, lo, r.hiddenP), l.hh, initSum, nil, now)
		}
		r.be.tanhForward(now)
	}
}

// drop makes the mask of layer i for samples lo to hi, and kept = h ⊙ mask / (1 - Dropout).
func (r *rnn) drop(i, lo, hi int, step uint64) {
	l := &r.layers[i]
	stream := &rng.Stream{Seed: r.Seed, Purpose: rng.Dropout.Sub(i), Step: step}
	sample := r.Steps * r.maskRow
	r.be.dropoutMask(l.keep[lo*sample:hi*sample], stream, uint32(lo*sample/8), r.threshold)
	r.scaleKept(l, l.kept, l.h, lo, hi)
}

// scaleKept computes dst = src ⊙ mask / (1 - Dropout) for samples lo to hi of layer l.
func (r *rnn) scaleKept(l *rnnLayer, dst, src []float32, lo, hi int) {
	s := keptShape{
		rows: int64(r.Steps), columns: int64(r.maskRow),
		stride: int64(r.MaxBatch * r.hiddenP), keepStride: int64(r.maskRow),
	}
	for b := lo; b < hi; b++ {
		r.be.scaleKept(&s, dst[b*r.hiddenP:], src[b*r.hiddenP:], l.keep[b*r.Steps*r.maskRow:], r.keepScale)
	}
}

// Backward implements model.RNN.
func (r *rnn) Backward(_, dy, dx *tensor.Dense, n int) {
	dyv, dxv := values(dy), values(dx)
	top := len(r.layers) - 1
	r.be.pool.runChunks(n, chunkSamples, func(lo, hi int) {
		inRow, row := r.inRow[lo*r.Steps:hi*r.Steps], r.row[lo*r.Steps:hi*r.Steps]
		for b := lo; b < hi; b++ {
			copy(r.at(r.layers[top].dz, r.Steps-1, b, r.hiddenP), dyv[b*r.Hidden:][:r.Hidden])
		}
		for i := top; i >= 0; i-- {
			l := &r.layers[i]
			r.backwardLayer(i, lo, hi, row)
			if i == 0 {
				r.be.product(row, inRow, l.dz[lo*r.hiddenP:], l.ihBack, initZero, nil, r.dIn[lo*r.inP:])
				break
			}
			below := &r.layers[i-1]
			r.be.product(row, row, l.dz[lo*r.hiddenP:], l.ihBack, initZero, nil, below.dz[lo*r.hiddenP:])
			if r.dropped {
				r.scaleKept(below, below.dz, below.dz, lo, hi)
			}
		}
		for b := lo; b < hi; b++ {
			for t := range r.Steps {
				copy(dxv[(b*r.Steps+t)*r.In:][:r.In], r.at(r.dIn, t, b, r.inP))
			}
		}
	})
	r.weightGradients(n)
}

// backwardLayer turns layer i's dz, which holds ∂loss/∂h from above (for the top layer of the
// last step alone), into ∂loss/∂(sum in the tanh), for samples lo to hi.
func (r *rnn) backwardLayer(i, lo, hi int, row []int32) {
	l := &r.layers[i]
	init := int64(initSum)
	if i == len(r.layers)-1 {
		init = initZero
	}
	for t := r.Steps - 1; t >= 0; t-- {
		now := r.at(l.dz, t, lo, r.hiddenP)[:(hi-lo)*r.hiddenP]
		if t < r.Steps-1 {
			r.be.product(row[:hi-lo], row[:hi-lo], r.at(l.dz, t+1, lo, r.hiddenP), l.hhBack, init, nil, now)
		}
		r.be.tanhBackward(now, r.at(l.h, t, lo, r.hiddenP))
	}
}

// gradientRows is the number of rows (step, sample) that a weight gradient takes at once,
// so that they stay in a core's cache while all of its tiles pass over them.
const gradientRows = 128

// weightGradients computes, over all steps and samples,
//
//	DWeightIH = Σ dzᵀ in,  DWeightHH = Σ dz[t]ᵀ h[t-1],  DBiasIH = DBiasHH = Σ dz.
//
// A part of the work is a range of rows of both matrices of a layer.
func (r *rnn) weightGradients(n int) {
	parts := (2*r.be.pool.threads + len(r.layers) - 1) / len(r.layers)
	parts = max(1, min(parts, r.Hidden/8))
	stepsAtOnce := max(1, gradientRows/n)
	r.be.pool.run(len(r.layers)*parts, func(task int) {
		i, part := task/parts, task%parts
		l := &r.layers[i]
		lo, hi := part*r.Hidden/parts, (part+1)*r.Hidden/parts
		in, width := r.input(i)
		clear(l.dIH[lo*width : hi*width])
		clear(l.dHH[lo*r.hiddenP : hi*r.hiddenP])
		for t := 0; t < r.Steps; t += stepsAtOnce {
			count := min(stepsAtOnce, r.Steps-t)
			r.addOuterProducts(l.dIH[lo*width:], l.dz[lo:], in, t, t, count, n, hi-lo, width)
			if t == 0 {
				r.addOuterProducts(l.dHH[lo*r.hiddenP:], l.dz[lo:], l.h, 1, 0, count-1, n, hi-lo, r.hiddenP)
			} else {
				r.addOuterProducts(l.dHH[lo*r.hiddenP:], l.dz[lo:], l.h, t, t-1, count, n, hi-lo, r.hiddenP)
			}
		}
		for j := lo; j < hi; j++ {
			copy(values(l.DWeightIH)[j*l.in:][:l.in], l.dIH[j*width:])
			copy(values(l.DWeightHH)[j*r.Hidden:][:r.Hidden], l.dHH[j*r.hiddenP:])
		}
		if part == 0 {
			clear(l.dBias)
			for t := range r.Steps {
				r.be.addRows(l.dBias, r.at(l.dz, t, 0, r.hiddenP)[:n*r.hiddenP])
			}
			copy(values(l.DBiasIH), l.dBias)
			copy(values(l.DBiasHH), l.dBias)
		}
	})
}

// addOuterProducts adds to the first rows of sum [rows][width] the outer products of dz at
// steps t to t+count with in at steps u to u+count, for n samples.
func (r *rnn) addOuterProducts(sum, dz, in []float32, t, u, count, n, rows, width int) {
	if count == 0 {
		return
	}
	offsets := r.gradHH
	if width != r.hiddenP {
		offsets = r.gradIn
	}
	for first := 0; first < width; first += panelWidth {
		s := matmulShape{
			m: int64(rows), n: int64(min(panelWidth, width-first)), init: initSum,
			count:   [3]int64{1, int64(count), int64(n)},
			strideA: [3]int64{0, int64(r.MaxBatch * r.hiddenP), int64(r.hiddenP)},
			strideB: [3]int64{0, int64(r.MaxBatch * width), int64(width)},
		}
		r.be.matmul(&s, r.unit[:rows], offsets[:rows], r.at(dz, t, 0, r.hiddenP), r.at(in, u, 0, width)[first:], nil, sum[first:])
	}
}
