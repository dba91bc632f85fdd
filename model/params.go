package model

import (
	"fmt"
	"math"

	"crnn/rng"
)

// Param is one array of the state_dict: a trainable parameter or a buffer.
type Param struct {
	Name   string // PyTorch's state_dict key
	Shape  []int
	Offset int // of the first element in the flat buffer of its kind
	FanIn  int // of a trainable parameter drawn from U(-1/√FanIn, 1/√FanIn); 0: constant Fill
	Fill   float32
}

// Len returns the number of elements.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// align is the granularity, in elements, at which parameters start in a flat buffer:
// 64 bytes, so that vector loads never straddle two parameters' cache lines. The gaps
// hold zeros, and Adam keeps them zero.
const align = 16

// Layout lists the arrays of a network and where they lie in the flat buffers.
type Layout struct {
	Params    []Param // trainable, in PyTorch's order
	Buffers   []Param // running_mean and running_var of the batch normalisations
	ParamLen  int     // elements per flat buffer: parameters, gradients, Adam's m and v
	BufferLen int
}

// Layout returns the arrays of a network of these sizes.
func (c Config) Layout() Layout {
	var l Layout
	put := func(list *[]Param, end *int, p Param) {
		p.Offset = *end
		*list = append(*list, p)
		*end += (p.Len() + align - 1) / align * align
	}
	param := func(name string, fanIn int, fill float32, shape ...int) {
		put(&l.Params, &l.ParamLen, Param{Name: name, Shape: shape, FanIn: fanIn, Fill: fill})
	}
	buffer := func(name string, fill float32, shape ...int) {
		put(&l.Buffers, &l.BufferLen, Param{Name: name, Shape: shape, Fill: fill})
	}
	in := c.ImageChannels
	for i, out := range c.Channels {
		layer := fmt.Sprintf("layer%d.", i+1)
		fan := in * c.Kernel * c.Kernel
		param(layer+"0.weight", fan, 0, out, in, c.Kernel, c.Kernel)
		param(layer+"0.bias", fan, 0, out)
		param(layer+"1.weight", 0, 1, out)
		param(layer+"1.bias", 0, 0, out)
		buffer(layer+"1.running_mean", 0, out)
		buffer(layer+"1.running_var", 1, out)
		in = out
	}
	for i := range c.NumLayers {
		in := c.HiddenSize
		if i == 0 {
			in = c.InputSize
		}
		param(fmt.Sprintf("rnn.weight_ih_l%d", i), c.HiddenSize, 0, c.HiddenSize, in)
		param(fmt.Sprintf("rnn.weight_hh_l%d", i), c.HiddenSize, 0, c.HiddenSize, c.HiddenSize)
		param(fmt.Sprintf("rnn.bias_ih_l%d", i), c.HiddenSize, 0, c.HiddenSize)
		param(fmt.Sprintf("rnn.bias_hh_l%d", i), c.HiddenSize, 0, c.HiddenSize)
	}
	param("fc.weight", c.HiddenSize, 0, c.Classes, c.HiddenSize)
	param("fc.bias", c.HiddenSize, 0, c.Classes)
	return l
}

// Trainable returns the number of trainable parameters.
func (l Layout) Trainable() int {
	n := 0
	for _, p := range l.Params {
		n += p.Len()
	}
	return n
}

// initialise fills the flat buffers with PyTorch's default initial values: conv, linear
// and RNN weights and biases U(-1/√fan, 1/√fan), batch normalisation constant. The
// numbers come from rng.Init, so they depend on the seed alone.
func (l Layout) initialise(params, buffers []float32, seed uint64) {
	for i, p := range l.Params {
		stream := rng.Stream{Seed: seed, Purpose: rng.Init, Step: uint64(i)}
		dst := params[p.Offset : p.Offset+p.Len()]
		for j := range dst {
			if p.FanIn == 0 {
				dst[j] = p.Fill
				continue
			}
			bound := 1 / math.Sqrt(float64(p.FanIn))
			dst[j] = float32(bound * (2*float64(stream.Float32()) - 1))
		}
	}
	for _, p := range l.Buffers {
		for j := range p.Len() {
			buffers[p.Offset+j] = p.Fill
		}
	}
}
