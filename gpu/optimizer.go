//go:build cuda

package gpu

import (
	"math"

	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// Adam implements model.Backend. It computes the factors that depend on the step in float64.
func (be *Backend) Adam(p, g, m, v *tensor.Dense, s model.AdamStep) {
	if !be.begin("Adam", model.CheckUpdate(p, g, m, v)) {
		return
	}
	t := float64(s.Step)
	be.setAdam(float32(s.LR/(1-math.Pow(s.Beta1, t))), float32(math.Sqrt(1-math.Pow(s.Beta2, t))))
	n := p.DataSize()
	be.launchEach(n, kernels.Adam(f32(p), f32(g), f32(m), f32(v), be.step,
		float32(1-s.Beta1), float32(s.Beta2), float32(1-s.Beta2), float32(s.Eps), int32(n)))
}
