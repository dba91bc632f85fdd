package cpu

import (
	"math"

	"crnn/model"
	"crnn/rng"
)

// rnn is the common part of panelRNN and tiledRNN, the two ways of computing the unrolled tanh RNN.
//
// A thread takes a chunk of samples through all layers and time steps, so that no thread waits for
// another at a step. The rows of a chunk lie together, with time outermost: of m samples, row t·m+b
// holds step t of sample b, padded. Only data for Backward is kept after a chunk.
type rnn struct {
	be *Backend
	model.RNNSpec

	hiddenP, inP int // Hidden and In, padded
	layers       []rnnLayer
	packed       int64      // version of the packed weights: see Backend.weights
	threshold    uint32     // a 16-bit word below it drops a unit
	keepScale    float32    // of kept units
	lastPass     model.Pass // of Forward
	sums         []float32  // gradients per group
	groupSize    int        // elements of a group's gradients
}

// rnnLayer is a layer and the data that both ways keep for it.
type rnnLayer struct {
	model.RNNLayer
	width, widthP   int       // units of its input, and padded
	bias            []float32 // BiasIH + BiasHH
	h               []float32 // outputs, of training
	keep            []uint8   // mask, of training
	dIH, dHH, dBias int       // offsets in a group's gradients
}

// newRNN returns the common part of the RNN.
func newRNN(be *Backend, spec model.RNNSpec) (*rnn, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	r := &rnn{be: be, RNNSpec: spec, hiddenP: padded(spec.Hidden), inP: padded(spec.In), packed: -1}
	if be.tiles {
		r.hiddenP, r.inP = inTiles(spec.Hidden), inTiles(spec.In)
	}
	r.threshold = uint32(math.Round(spec.Dropout * (1 << 16)))
	r.keepScale = float32((1 << 16) / float64((1<<16)-r.threshold))
	rows, err := elements(spec.TimeSteps, spec.MaxBatch)
	if err == nil {
		_, err = elements(rows, max(r.hiddenP, r.inP))
	}
	if err != nil {
		return nil, err
	}
	for i, p := range spec.Layers {
		l := rnnLayer{RNNLayer: p, width: spec.Hidden, widthP: r.hiddenP, bias: make([]float32, r.hiddenP)}
		if i == 0 {
			l.width, l.widthP = spec.In, r.inP
		}
		l.dIH = r.groupSize
		l.dHH = l.dIH + r.hiddenP*l.widthP
		l.dBias = l.dHH + r.hiddenP*r.hiddenP
		r.groupSize = l.dBias + r.hiddenP
		r.layers = append(r.layers, l)
	}
	return r, nil
}

// makeBackward allocates the memory of training, given the number of groups. It reports whether that was
// missing.
func (r *rnn) makeBackward(groups int) bool {
	if r.sums != nil {
		return false
	}
	r.sums = make([]float32, groups*r.groupSize)
	size := r.TimeSteps * r.MaxBatch * r.hiddenP
	for i := range r.layers {
		l := &r.layers[i]
		l.h = make([]float32, size)
		if r.drops(i) {
			l.keep = make([]uint8, size)
		}
	}
	r.packed = -1
	return true
}

// drops reports whether layer i has dropout.
func (r *rnn) drops(i int) bool { return r.threshold > 0 && i < len(r.layers)-1 }

// stale reports whether the parameters have changed since the weights were packed. If so, it adds up the
// biases, and the caller packs the weights.
func (r *rnn) stale() bool {
	if r.packed == r.be.weights {
		return false
	}
	r.packed = r.be.weights
	for i := range r.layers {
		l := &r.layers[i]
		for j, b := range values(l.BiasIH) {
			l.bias[j] = b + values(l.BiasHH)[j]
		}
	}
	return true
}

// dropout returns the parameters of layer i's masks, for samples from number lo of the pass on.
func (r *rnn) dropout(i int, p model.Pass, lo int) *rnnDropout {
	return &rnnDropout{
		seed: r.Seed, step: p.Step, purpose: uint32(rng.Dropout.Sub(i)), first: uint64(p.First + lo),
		blocks: uint64(r.Hidden+7) / 8, threshold: uint64(r.threshold), scale: r.keepScale,
	}
}

// loadInput writes the samples [lo, hi) of X as a chunk's rows.
func (r *rnn) loadInput(rows []float32, lo, hi int) {
	x, m := values(r.X), hi-lo
	for b := range m {
		for t := range r.TimeSteps {
			copy(rows[(t*m+b)*r.inP:], x[((lo+b)*r.TimeSteps+t)*r.In:][:r.In])
		}
	}
}

// storeInputGradient writes a chunk's rows to DX.
func (r *rnn) storeInputGradient(rows []float32, lo, hi int) {
	dx, m := values(r.DX), hi-lo
	for b := range m {
		for t := range r.TimeSteps {
			copy(dx[((lo+b)*r.TimeSteps+t)*r.In:][:r.In], rows[(t*m+b)*r.inP:])
		}
	}
}

// storeOutput writes the rows of a chunk's last step to Y.
func (r *rnn) storeOutput(last []float32, lo, hi int) {
	for b := range hi - lo {
		copy(values(r.Y)[(lo+b)*r.Hidden:][:r.Hidden], last[b*r.hiddenP:])
	}
}

// loadOutputGradient writes DY as the last step of a chunk's rows of dy.
func (r *rnn) loadOutputGradient(dy []float32, lo, hi int) {
	m := hi - lo
	last := dy[(r.TimeSteps-1)*m*r.hiddenP:][:m*r.hiddenP]
	clear(last)
	for b := range m {
		copy(last[b*r.hiddenP:], values(r.DY)[(lo+b)*r.Hidden:][:r.Hidden])
	}
}

// biasGradient returns the place of layer i's bias gradient in a group's gradients, zeroed with begin.
func (r *rnn) biasGradient(i int, sums []float32, begin bool) []float32 {
	dBias := sums[r.layers[i].dBias:][:r.hiddenP]
	if begin {
		clear(dBias)
	}
	return dBias
}

// sumGradients adds up the gradients of all groups and writes them to the gradients of the parameters.
func (r *rnn) sumGradients(groups int) {
	total := r.be.sumGroups(r.sums, r.groupSize, groups)
	r.be.pool.run(2*len(r.layers), func(_, i int) {
		l := &r.layers[i/2]
		dw, sum, width, widthP, dBias := values(l.DWeightIH), total[l.dIH:], l.width, l.widthP, values(l.DBiasIH)
		if i%2 == 1 {
			dw, sum, width, widthP, dBias = values(l.DWeightHH), total[l.dHH:], r.Hidden, r.hiddenP, values(l.DBiasHH)
		}
		for j := range r.Hidden {
			copy(dw[j*width:][:width], sum[j*widthP:])
		}
		copy(dBias, total[l.dBias:][:r.Hidden])
	})
}
