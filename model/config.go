package model

import (
	"fmt"
	"math"

	"crnn/data/imageset"
)

// Config holds the sizes of the network. Default gives the recipe's.
type Config struct {
	ImageHeight, ImageWidth int    // of the input
	ImageChannels           int    // 1: gray, 3: colours
	Channels                [2]int // outputs of the two convolutions
	Kernel                  int    // of both convolutions
	InputSize               int    // features of the RNN at a time step
	HiddenSize, NumLayers   int    // of the RNN
	Classes                 int
	Dropout                 float64 // of the output of every RNN layer but the last
}

// Default returns the sizes of the recipe: 209,482 parameters.
func Default() Config {
	return Config{
		ImageHeight: 28, ImageWidth: 28, ImageChannels: 1,
		Channels: [2]int{32, 64}, Kernel: 5,
		InputSize: 56, HiddenSize: 128, NumLayers: 5,
		Classes: 10, Dropout: 0.4,
	}
}

// Features returns the number of values per image from the second convolution block, which the RNN
// reads as a sequence. Each block halves both sides, and drops the last row or column of an odd side.
func (c Config) Features() int {
	return c.Channels[1] * (c.ImageHeight / 2 / 2) * (c.ImageWidth / 2 / 2)
}

// AutoInputSize returns the InputSize that is taken if none is given: the divisor of Features that
// is nearest to its square root, which makes about as many time steps as features per step. For the
// recipe's 3136 features it is the recipe's 56. Of two divisors at the same distance it is the
// smaller one.
func (c Config) AutoInputSize() int {
	n := c.Features()
	root := math.Sqrt(float64(n))
	low := max(1, int(root)) // the largest divisor up to the root; n/low is the smallest from there on
	for n%low != 0 {
		low--
	}
	if high := n / low; float64(high)-root < root-float64(low) {
		return high
	}
	return low
}

// SeqLen returns the number of time steps, Features/InputSize.
func (c Config) SeqLen() int { return c.Features() / c.InputSize }

// Limits on sizes, far above the sizes of a network that trains in a day. They keep a mistyped or
// forged size from asking for all of the machine's memory.
const (
	maxChannels = 8192
	maxKernel   = 63
	maxHidden   = 8192
	maxLayers   = 256
)

// SizeError says which rule a size breaks.
type SizeError struct {
	Field string // the command-line flag's name, such as "input-size"
	Value any
	Rule  string
}

func (e *SizeError) Error() string { return fmt.Sprintf("%s %v: %s", e.Field, e.Value, e.Rule) }

// Validate returns a *SizeError for the first rule that c breaks, or nil.
func (c Config) Validate() error {
	bad := func(field string, value any, format string, args ...any) error {
		return &SizeError{field, value, fmt.Sprintf(format, args...)}
	}
	switch {
	case c.ImageHeight < 4 || c.ImageHeight > imageset.MaxSide:
		return bad("image height", c.ImageHeight, "must be from 4, since two poolings halve it twice, to %d",
			imageset.MaxSide)
	case c.ImageWidth < 4 || c.ImageWidth > imageset.MaxSide:
		return bad("image width", c.ImageWidth, "must be from 4, since two poolings halve it twice, to %d",
			imageset.MaxSide)
	case c.ImageChannels != 1 && c.ImageChannels != 3:
		return bad("image channels", c.ImageChannels, "must be 1 (gray) or 3 (colours)")
	case c.Channels[0] < 1 || c.Channels[1] < 1 || c.Channels[0] > maxChannels || c.Channels[1] > maxChannels:
		return bad("channels", c.Channels, "must be from 1 to %d", maxChannels)
	case c.Kernel < 1 || c.Kernel > maxKernel || c.Kernel%2 == 0:
		return bad("kernel", c.Kernel, "must be odd, so that padding keeps the image's size, and at most %d", maxKernel)
	case c.Classes < imageset.MinClasses || c.Classes > imageset.MaxClasses:
		return bad("classes", c.Classes, "must be from %d to %d, since labels are bytes",
			imageset.MinClasses, imageset.MaxClasses)
	case c.HiddenSize < 1 || c.HiddenSize > maxHidden:
		return bad("hidden-size", c.HiddenSize, "must be from 1 to %d", maxHidden)
	case c.NumLayers < 1 || c.NumLayers > maxLayers:
		return bad("num-layers", c.NumLayers, "must be from 1 to %d", maxLayers)
	case c.InputSize < 1 || c.Features()%c.InputSize != 0:
		return bad("input-size", c.InputSize,
			"must divide %d*%d*%d = %d, the values that the second convolution block gives for an image",
			c.Channels[1], c.ImageHeight/2/2, c.ImageWidth/2/2, c.Features())
	case !(c.Dropout >= 0 && math.Round(c.Dropout*(1<<16)) < 1<<16): // see RNN
		return bad("dropout", c.Dropout, "must be at least 0 and below 1, also when rounded to a multiple of 2^-16")
	}
	return nil
}
