package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"crnn/model"
	"crnn/rng"
)

// chunkSamples is the largest number of samples that a thread takes through a layer's steps at
// once. A step's product then loads the recurrent weights once for all of them, and a layer's
// states of all steps stay in the core's second cache until the next layer has used them.
const chunkSamples = 8

// gradientRows is the number of rows (step, sample) that a weight gradient takes at once,
// so that they stay in a core's cache while all of its tiles pass over them.
const gradientRows = 128

// rnn is the unrolled tanh RNN.
//
// A thread takes a chunk of samples through all layers and time steps, so that no thread waits
// for another at a step. The rows of a chunk lie together, with time outermost: row t·m+b holds
// step t of its sample b of m, padded to lanes. The inputs' part of all steps is one product.
type rnn struct {
	be *Backend
	model.RNNSpec

	hiddenP, inP int // padded
	weights      int64
	layers       []rnnLayer
	threshold    uint32 // of a 16-bit word: below it a unit is dropped
	keepScale    float32
	dropped      bool // the last Forward dropped units

	inRow, row []int32 // offsets of rows: of in, and of all others
	unit       []int32 // 0, 1, 2 …
	inUnit     []int32 // offsets of the rows of a weight gradient: with inP columns,
	hiddenUnit []int32 // and with hiddenP

	in, dIn   []float32 // layer 0's input and its gradient
	recurrent []float32 // scratch of every thread: a step's rows

	sums      []float32 // gradients of every group
	groupSize int
}

type rnnLayer struct {
	model.RNNLayer
	in, inP         int
	ih, hh          *panels   // transposed weights, for Forward
	ihBack, hhBack  *panels   // weights, for Backward
	bias            []float32 // BiasIH + BiasHH
	h               []float32 // outputs
	kept            []float32 // outputs after dropout: the next layer's input
	keep            []uint8   // mask
	dz              []float32 // ∂loss/∂(sum in the tanh); before that, ∂loss/∂(output)
	dIH, dHH, dBias int       // offsets in a group's gradients
}

// NewRNN implements model.Backend.
func (be *Backend) NewRNN(spec model.RNNSpec) (model.RNN, error) {
	r := &rnn{be: be, RNNSpec: spec, hiddenP: padded(spec.Hidden), inP: padded(spec.In), weights: -1}
	r.threshold = uint32(math.Round(spec.Dropout * (1 << 16)))
	r.keepScale = float32((1 << 16) / float64((1<<16)-r.threshold))
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
	if err := be.reserve(2*rows*r.inP, // in, dIn
		len(spec.Layers)*rows*r.hiddenP/4*13,                // h, dz, kept, a byte of keep
		(2+groups(spec.MaxBatch))*r.groupSize); err != nil { // weights, packed both ways, and their gradients
		return nil, err
	}
	chunk := min(chunkSamples, spec.MaxBatch)
	r.inRow, r.row = steps(chunk*spec.Steps, r.inP), steps(chunk*spec.Steps, r.hiddenP)
	r.unit = steps(spec.Hidden, 1)
	r.inUnit, r.hiddenUnit = steps(spec.Hidden, r.inP), steps(spec.Hidden, r.hiddenP)
	r.in = make([]float32, rows*r.inP)
	for i := range r.layers {
		l := &r.layers[i]
		l.ih, l.hh = newPanels(l.in, spec.Hidden), newPanels(spec.Hidden, spec.Hidden)
		l.bias = make([]float32, r.hiddenP)
		l.h = make([]float32, rows*r.hiddenP)
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
	r.recurrent = make([]float32, r.be.pool.threads*chunkSamples*r.hiddenP)
	r.sums = make([]float32, groups(r.MaxBatch)*r.groupSize)
	for i := range r.layers {
		l := &r.layers[i]
		l.ihBack, l.hhBack = newPanels(r.Hidden, l.in), newPanels(r.Hidden, r.Hidden)
		l.dz = make([]float32, size*r.hiddenP)
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
			r.be.packTransposed(l.ih, values(l.WeightIH), r.Hidden)
			r.be.packTransposed(l.hh, values(l.WeightHH), r.Hidden)
			for j, b := range values(l.BiasIH) {
				l.bias[j] = b + values(l.BiasHH)[j]
			}
		} else if l.ihBack != nil {
			l.ihBack.pack(values(l.WeightIH), l.in)
			l.hhBack.pack(values(l.WeightHH), r.Hidden)
		}
	})
}

// chunks calls f for every chunk [lo,hi) of samples lo to hi, in order.
func chunks(lo, hi int, f func(lo, hi int)) {
	n := hi - lo
	count := (n + chunkSamples - 1) / chunkSamples
	for i := range count {
		f(lo+i*n/count, lo+(i+1)*n/count)
	}
}

// rows returns the rows of samples lo to hi of a, width elements each.
func rows[T any](r *rnn, a []T, lo, hi, width int) []T {
	if a == nil {
		return nil
	}
	return a[lo*r.Steps*width : hi*r.Steps*width]
}

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

// shape returns the sizes of m samples.
func (r *rnn) shape(m int) *rnnShape {
	return &rnnShape{steps: int64(r.Steps), samples: int64(m), units: int64(r.Hidden), hidden: int64(r.hiddenP)}
}

// keep returns the mask of layer i, nil if it has none.
func (r *rnn) keep(i, lo, hi int) []uint8 {
	if !r.dropped {
		return nil
	}
	return rows(r, r.layers[i].keep, lo, hi, r.hiddenP)
}

// Forward implements model.RNN.
func (r *rnn) Forward(x, y *tensor.Dense, n int, train bool, step uint64) {
	if train {
		r.makeBackward()
	}
	r.pack()
	r.dropped = train && r.threshold > 0
	xv, yv := values(x), values(y)
	r.be.pool.run(groups(n), func(_, g int) {
		lo, hi := group(g, n)
		chunks(lo, hi, func(lo, hi int) {
			m := hi - lo
			in := rows(r, r.in, lo, hi, r.inP)
			for b := range m {
				for t := range r.Steps {
					copy(in[(t*m+b)*r.inP:], xv[((lo+b)*r.Steps+t)*r.In:][:r.In])
				}
			}
			for i := range r.layers {
				r.forwardLayer(i, lo, hi, step)
			}
			last := rows(r, r.layers[len(r.layers)-1].h, lo, hi, r.hiddenP)[(r.Steps-1)*m*r.hiddenP:]
			for b := range m {
				copy(yv[(lo+b)*r.Hidden:][:r.Hidden], last[b*r.hiddenP:])
			}
		})
	})
}

// forwardLayer computes layer i's h, and kept, for a chunk of samples.
func (r *rnn) forwardLayer(i, lo, hi int, step uint64) {
	l, m := &r.layers[i], hi-lo
	in, width := r.input(i)
	inRow := r.row
	if i == 0 {
		inRow = r.inRow
	}
	h := rows(r, l.h, lo, hi, r.hiddenP)
	r.be.product(inRow[:r.Steps*m], r.row[:r.Steps*m], rows(r, in, lo, hi, width), l.ih, initBias, l.bias, h)
	dropout := &rnnDropout{
		seed: r.Seed, step: step, purpose: uint32(rng.Dropout.Sub(i)), first: uint64(lo),
		blocks: uint64(r.Hidden+7) / 8, threshold: uint64(r.threshold), scale: r.keepScale,
	}
	r.be.rnnForward(r.shape(m), r.row, l.hh.values, h, dropout, r.keep(i, lo, hi), rows(r, l.kept, lo, hi, r.hiddenP))
}

// Backward implements model.RNN.
func (r *rnn) Backward(_, dy, dx *tensor.Dense, n int) {
	dyv, dxv := values(dy), values(dx)
	top := len(r.layers) - 1
	r.be.pool.run(groups(n), func(thread, g int) {
		sums := part(r.sums, g, r.groupSize)
		clear(sums)
		lo, hi := group(g, n)
		chunks(lo, hi, func(lo, hi int) {
			m := hi - lo
			last := rows(r, r.layers[top].dz, lo, hi, r.hiddenP)[(r.Steps-1)*m*r.hiddenP:]
			for b := range m {
				copy(last[b*r.hiddenP:], dyv[(lo+b)*r.Hidden:][:r.Hidden])
			}
			for i := top; i >= 0; i-- {
				r.backwardLayer(i, lo, hi, thread, sums)
			}
			dIn := rows(r, r.dIn, lo, hi, r.inP)
			for b := range m {
				for t := range r.Steps {
					copy(dxv[((lo+b)*r.Steps+t)*r.In:][:r.In], dIn[(t*m+b)*r.inP:])
				}
			}
		})
	})
	r.sumGradients(n)
}

// backwardLayer computes the gradients of layer i and of its input, for a chunk of samples, and
// adds the weights' gradients
//
//	DWeightIH = Σ dzᵀ in,  DWeightHH = Σ dz[t]ᵀ h[t-1],  DBiasIH = DBiasHH = Σ dz
//
// to sums while all of these are still in the core's cache.
func (r *rnn) backwardLayer(i, lo, hi, thread int, sums []float32) {
	l, m := &r.layers[i], hi-lo
	shape := r.shape(m)
	if i == len(r.layers)-1 {
		shape.lastOnly = 1
	}
	dz, h := rows(r, l.dz, lo, hi, r.hiddenP), rows(r, l.h, lo, hi, r.hiddenP)
	scratch := part(r.recurrent, thread, chunkSamples*r.hiddenP)
	r.be.rnnBackward(shape, r.row, l.hhBack.values, h, r.keep(i, lo, hi), r.keepScale, dz, scratch, sums[l.dBias:][:r.hiddenP])

	in, width := r.input(i)
	r.addOuterProducts(sums[l.dIH:], dz, rows(r, in, lo, hi, width), r.Steps*m, width)
	r.addOuterProducts(sums[l.dHH:], dz[m*r.hiddenP:], h, (r.Steps-1)*m, r.hiddenP)

	to, toRow := r.dIn, r.inRow
	if i > 0 {
		to, toRow = r.layers[i-1].dz, r.row
	}
	count := r.Steps * m
	r.be.product(r.row[:count], toRow[:count], dz, l.ihBack, initZero, nil, rows(r, to, lo, hi, width))
}

// addOuterProducts adds dzᵀ in, of so many rows, to sum [Hidden][width].
func (r *rnn) addOuterProducts(sum, dz, in []float32, rows, width int) {
	sumRow := r.hiddenUnit
	if width != r.hiddenP {
		sumRow = r.inUnit
	}
	for first := 0; first < rows; first += gradientRows {
		r.be.matmul(&matmulShape{
			m: int64(r.Hidden), n: int64(width), init: initSum,
			count:   [3]int64{1, 1, int64(min(gradientRows, rows-first))},
			strideA: [3]int64{2: int64(r.hiddenP)}, strideB: [3]int64{2: 1}, rowB: int64(width), batch: 1,
		}, r.unit, sumRow, dz[first*r.hiddenP:], in[first*width:], nil, sum)
	}
}

// sumGradients computes the gradients of all parameters from those of the groups.
func (r *rnn) sumGradients(n int) {
	total := r.be.sumGroups(r.sums, r.groupSize, n)
	for i := range r.layers {
		l := &r.layers[i]
		for j := range r.Hidden {
			copy(values(l.DWeightIH)[j*l.in:][:l.in], total[l.dIH+j*l.inP:])
			copy(values(l.DWeightHH)[j*r.Hidden:][:r.Hidden], total[l.dHH+j*r.hiddenP:])
		}
		copy(values(l.DBiasIH), total[l.dBias:][:r.Hidden])
		copy(values(l.DBiasHH), total[l.dBias:][:r.Hidden])
	}
}
