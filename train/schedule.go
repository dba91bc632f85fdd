package train

import "math"

// LearningRate returns the learning rate of epoch e, counted from 0:
//
//	step    LR · LRGamma^⌊e/LRStep⌋          PyTorch's StepLR(LRStep, LRGamma)
//	cosine  LR · (1 + cos(π e/Epochs)) / 2    PyTorch's CosineAnnealingLR(Epochs)
//	none    LR
func (c Config) LearningRate(e int) float64 {
	lr := c.LR
	switch c.LRSchedule {
	case "step":
		// Step by step, as PyTorch does it: a power may differ in the last bit.
		for i := c.LRStep; i <= e && lr > 0; i += c.LRStep {
			lr *= c.LRGamma
		}
	case "cosine":
		lr *= (1 + math.Cos(math.Pi*float64(e)/float64(c.Epochs))) / 2
	}
	return lr
}
