package cpu

//go:generate go run ../tools/cpukernels

// kernels are the inner loops of one instruction set. kernels.h states what each function computes.
type kernels interface {
	functions
	name() string
	hasBF16() bool  // has products of bfloat16
	hasTiles() bool // has them in tiles
}

// flop returns the floating-point operations of a product.
func (s *matmulShape) flop() int64 {
	return 2 * (1 + s.bf16) * s.batch * s.m * s.n * s.count[0] * s.count[1] * s.count[2]
}

// flop returns the floating-point operations of a product.
func (s *tileShape) flop() int64 {
	return 2 * s.blocks * s.rows * s.columns * tileRows * s.terms * tileTerms
}

// recurrentFLOP returns the floating-point operations of a layer's recurrent product.
func (s *rnnShape) recurrentFLOP() int64 { return 2 * s.samples * s.units * s.hidden * (s.steps - 1) }

// flop returns the floating-point operations of a layer's products.
func (s *tileRNN) flop() int64 {
	return 2 * s.samples * s.hidden * (s.steps*s.in + (s.steps-1)*s.hidden)
}
