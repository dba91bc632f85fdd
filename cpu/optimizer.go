package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"crnn/model"
)

// update runs a kernel of an optimiser over flat arrays of one length, the parameters first. Packed
// copies of weights are stale from then on.
func (be *Backend) update(operator string, kernel func(k kernels, arrays [][]float32), arrays ...*tensor.Dense) {
	if !be.begin(operator, model.CheckUpdate(arrays...)) {
		return
	}
	be.weights++
	all := make([][]float32, len(arrays))
	for i, a := range arrays {
		all[i] = values(a)
	}
	run := func(k kernels, lo, hi int) {
		parts := make([][]float32, len(all))
		for i, a := range all {
			parts[i] = a[lo:hi]
		}
		kernel(k, parts)
	}
	const chunk = 1 << 14
	n := len(all[0])
	whole := n / lanes * lanes
	be.pool.run((whole+chunk-1)/chunk, func(_, i int) { run(be.kernels, i*chunk, min((i+1)*chunk, whole)) })
	run(goKernels{}, whole, n) // the rest, which does not fill a vector
}

// Adam implements model.Backend.
func (be *Backend) Adam(p, g, m, v *tensor.Dense, s model.AdamStep) {
	t := float64(s.Step)
	step := &adamStep{
		beta2:         float32(s.Beta2),
		oneMinusBeta1: float32(1 - s.Beta1), oneMinusBeta2: float32(1 - s.Beta2),
		stepSize:        float32(s.LR / (1 - math.Pow(s.Beta1, t))),
		rootCorrection2: float32(math.Sqrt(1 - math.Pow(s.Beta2, t))),
		eps:             float32(s.Eps),
	}
	be.update("Adam", func(k kernels, a [][]float32) { k.adam(step, a[0], a[1], a[2], a[3], len(a[0])) }, p, g, m, v)
}
