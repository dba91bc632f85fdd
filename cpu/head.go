package cpu

import (
	"math"

	"crnn/model"
)

// head is the linear layer with cross-entropy.
type head struct {
	be *Backend
	model.HeadSpec

	inP, classesP   int // padded
	weights         int64
	forward, back   *panels // transposed weights, and weights
	bias            []float32
	xRow, logitsRow []int32
	inRow           []int32
	unit, gradRow   []int32
	xP, logitsP     []float32 // X, logits and their gradients with rows padded
	dxP, dLogitsP   []float32
	dWeight         []float32
	totals          model.Totals
}

// labels holds the class of each sample of a batch, and the number of classes.
type labels struct {
	of      []uint8
	classes int
}

// Classes and Len implement model.Labels.
func (l *labels) Classes() int { return l.classes }
func (l *labels) Len() int     { return len(l.of) }

// NewHead implements model.Backend.
func (be *Backend) NewHead(spec model.HeadSpec) (model.Head, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	h := &head{be: be, HeadSpec: spec, inP: padded(spec.In), classesP: padded(spec.Classes), weights: -1}
	n := spec.MaxBatch
	h.forward, h.back = newPanels(spec.In, spec.Classes), newPanels(spec.Classes, spec.In)
	h.bias = make([]float32, h.classesP)
	h.xRow, h.inRow = steps(n, spec.In), steps(n, h.inP)
	h.logitsRow = steps(n, h.classesP)
	h.unit, h.gradRow = steps(spec.Classes, 1), steps(spec.Classes, h.inP)
	h.xP, h.dxP = make([]float32, n*h.inP), make([]float32, n*h.inP)
	h.logitsP, h.dLogitsP = make([]float32, n*h.classesP), make([]float32, n*h.classesP)
	h.dWeight = make([]float32, spec.Classes*h.inP)
	return h, nil
}

// NewLabels implements model.Head.
func (h *head) NewLabels() (model.Labels, error) {
	return &labels{make([]uint8, h.MaxBatch), h.Classes}, nil
}

// pack renews the packed weights if the parameters have changed.
func (h *head) pack() {
	if h.weights == h.be.weights {
		return
	}
	h.weights = h.be.weights
	h.forward.packTransposed(h.be, values(h.Weight), h.Classes)
	h.back.pack(values(h.Weight), h.In)
	copy(h.bias, values(h.Bias))
}

// Forward implements model.Head.
func (h *head) Forward(p model.Pass) {
	if !h.be.begin("head forward", p.Check(h.MaxBatch)) {
		return
	}
	h.pack()
	x, logits := values(h.X), values(h.Logits)
	h.be.samples(p.Samples, func(_, lo, hi int) {
		h.forward.product(h.be, h.xRow[lo:hi], h.logitsRow[lo:hi], x, addBias, h.bias, h.logitsP)
		for b := lo; b < hi; b++ {
			copy(logits[b*h.Classes:][:h.Classes], h.logitsP[b*h.classesP:])
		}
	})
}

// softmax returns the largest of z, its first index, and the sum of exp(z - largest).
func softmax(z []float32) (largest float64, first int, sum float64) {
	for j, v := range z {
		if v > z[first] {
			first = j
		}
	}
	largest = float64(z[first])
	for _, v := range z {
		sum += math.Exp(float64(v) - largest)
	}
	return
}

// Loss implements model.Head.
func (h *head) Loss(p model.Pass, l model.Labels) {
	if !h.be.begin("loss", p.Check(h.MaxBatch), p.CheckLabels(l, h.Classes)) {
		return
	}
	h.be.pool.flush()
	for b, label := range l.(*labels).of[:p.Samples] {
		z := values(h.Logits)[b*h.Classes:][:h.Classes]
		largest, first, sum := softmax(z)
		h.totals.Loss += math.Log(sum) + largest - float64(z[label])
		if first == int(label) {
			h.totals.Hits++
		}
	}
	h.totals.Count += int64(p.Samples)
}

// Backward implements model.Head.
func (h *head) Backward(p model.Pass, l model.Labels) {
	if !h.be.begin("head backward", p.CheckBackward(h.MaxBatch), p.CheckLabels(l, h.Classes)) {
		return
	}
	h.be.pool.flush()
	n := p.Samples
	for b, label := range l.(*labels).of[:n] {
		z, d := values(h.Logits)[b*h.Classes:][:h.Classes], h.dLogitsP[b*h.classesP:]
		largest, _, sum := softmax(z)
		for j, v := range z {
			q := math.Exp(float64(v)-largest) / sum
			if j == int(label) {
				q--
			}
			d[j] = float32(q / float64(p.Whole))
		}
		copy(h.xP[b*h.inP:], values(h.X)[b*h.In:][:h.In])
	}
	h.back.product(h.be, h.logitsRow[:n], h.inRow[:n], h.dLogitsP, addNothing, nil, h.dxP)
	s := matmulShape{
		m: int64(h.Classes), n: int64(h.inP),
		count:   [3]int64{1, 1, int64(n)},
		strideA: [3]int64{2: int64(h.classesP)},
		strideB: [3]int64{2: 1}, rowB: int64(h.inP), batch: 1,
	}
	h.be.matmul(&s, h.unit, h.gradRow, h.dLogitsP, h.xP, nil, h.dWeight)
	for b := range n {
		copy(values(h.DX)[b*h.In:][:h.In], h.dxP[b*h.inP:])
	}
	for j := range h.Classes {
		copy(values(h.DWeight)[j*h.In:][:h.In], h.dWeight[j*h.inP:])
	}
	dBias := make([]float32, h.classesP)
	h.be.sumRows(dBias, h.dLogitsP, n, h.classesP, h.classesP)
	copy(values(h.DBias), dBias)
}

// Totals implements model.Head.
func (h *head) Totals() (model.Totals, error) { return h.totals, h.be.err }

// SetTotals implements model.Head.
func (h *head) SetTotals(t model.Totals) error {
	h.totals = t
	return h.be.err
}
