package cpu

import (
	"math"

	"gorgonia.org/tensor"

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
	in, out, d, dIn []float32 // padded copies: x, logits, ∂loss/∂logits, dx
	dWeight         []float32
	totals          model.Totals
}

// labels are the classes of a batch.
type labels []uint8

// NewHead implements model.Backend.
func (be *Backend) NewHead(spec model.HeadSpec) (model.Head, error) {
	h := &head{be: be, HeadSpec: spec, inP: padded(spec.In), classesP: padded(spec.Classes), weights: -1}
	n := spec.MaxBatch
	h.forward, h.back = newPanels(spec.In, spec.Classes), newPanels(spec.Classes, spec.In)
	h.bias = make([]float32, h.classesP)
	h.xRow, h.inRow = steps(n, spec.In), steps(n, h.inP)
	h.logitsRow = steps(n, h.classesP)
	h.unit, h.gradRow = steps(spec.Classes, 1), steps(spec.Classes, h.inP)
	h.in, h.dIn = make([]float32, n*h.inP), make([]float32, n*h.inP)
	h.out, h.d = make([]float32, n*h.classesP), make([]float32, n*h.classesP)
	h.dWeight = make([]float32, spec.Classes*h.inP)
	return h, nil
}

// NewLabels implements model.Head.
func (h *head) NewLabels() (model.Labels, error) { return make(labels, h.MaxBatch), nil }

// pack renews the packed weights if the parameters have changed.
func (h *head) pack() {
	if h.weights == h.be.weights {
		return
	}
	h.weights = h.be.weights
	h.be.packTransposed(h.forward, values(h.Weight), h.Classes)
	h.back.pack(values(h.Weight), h.In)
	copy(h.bias, values(h.Bias))
}

// Forward implements model.Head.
func (h *head) Forward(x, logits *tensor.Dense, n int) {
	h.be.begin("head forward")
	h.pack()
	h.be.samples(n, func(_, lo, hi int) {
		h.be.product(h.xRow[lo:hi], h.logitsRow[lo:hi], values(x), h.forward, addBias, h.bias, h.out)
		for b := lo; b < hi; b++ {
			copy(values(logits)[b*h.Classes:][:h.Classes], h.out[b*h.classesP:])
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
func (h *head) Loss(logits *tensor.Dense, l model.Labels, n int) {
	h.be.begin("loss")
	h.be.pool.flush()
	for b, label := range l.(labels)[:n] {
		z := values(logits)[b*h.Classes:][:h.Classes]
		largest, first, sum := softmax(z)
		h.totals.Loss += math.Log(sum) + largest - float64(z[label])
		if first == int(label) {
			h.totals.Hits++
		}
	}
	h.totals.Count += int64(n)
}

// Backward implements model.Head.
func (h *head) Backward(x, logits *tensor.Dense, l model.Labels, dx *tensor.Dense, n int) {
	h.be.begin("head backward")
	h.be.pool.flush()
	for b, label := range l.(labels)[:n] {
		z, d := values(logits)[b*h.Classes:][:h.Classes], h.d[b*h.classesP:]
		largest, _, sum := softmax(z)
		for j, v := range z {
			p := math.Exp(float64(v)-largest) / sum
			if j == int(label) {
				p--
			}
			d[j] = float32(p / float64(n))
		}
		copy(h.in[b*h.inP:], values(x)[b*h.In:][:h.In])
	}
	h.be.product(h.logitsRow[:n], h.inRow[:n], h.d, h.back, addNothing, nil, h.dIn)
	s := matmulShape{
		m: int64(h.Classes), n: int64(h.inP),
		count:   [3]int64{1, 1, int64(n)},
		strideA: [3]int64{2: int64(h.classesP)},
		strideB: [3]int64{2: 1}, rowB: int64(h.inP), batch: 1,
	}
	h.be.matmul(&s, h.unit, h.gradRow, h.d, h.in, nil, h.dWeight)
	for b := range n {
		copy(values(dx)[b*h.In:][:h.In], h.dIn[b*h.inP:])
	}
	for j := range h.Classes {
		copy(values(h.DWeight)[j*h.In:][:h.In], h.dWeight[j*h.inP:])
	}
	dBias := make([]float32, h.classesP)
	h.be.sumRows(dBias, h.d, n, h.classesP)
	copy(values(h.DBias), dBias)
}

// Totals implements model.Head.
func (h *head) Totals() (model.Totals, error) { return h.totals, nil }

// SetTotals implements model.Head.
func (h *head) SetTotals(t model.Totals) error {
	h.totals = t
	return nil
}
