package model

import "gorgonia.org/tensor"

// Optimizer moves the parameters of a network against their gradients.
type Optimizer interface {
	// States names the arrays that it keeps between steps. Each has the parameters' length and is 0
	// before the first step. Checkpoints hold them under these names.
	States() []string
	// Update makes step number step, from 1 on, with learning rate lr. The arrays are flat and of
	// one length; states are in the order of States.
	Update(be Backend, params, grads *tensor.Dense, states []*tensor.Dense, lr float64, step int64)
}

// Adam is the optimiser of Kingma and Ba (2015), an Optimizer; Backend.Adam has the formula.
type Adam struct{ Beta1, Beta2, Eps float64 }

// DefaultAdam has PyTorch's constants.
var DefaultAdam = Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}

// States implements Optimizer: the first and the second moments.
func (Adam) States() []string { return []string{"adam_m", "adam_v"} }

// Update implements Optimizer.
func (a Adam) Update(be Backend, params, grads *tensor.Dense, states []*tensor.Dense, lr float64, step int64) {
	be.Adam(params, grads, states[0], states[1], AdamStep{lr, a.Beta1, a.Beta2, a.Eps, step})
}
