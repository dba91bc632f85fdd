// Package model is the definition of the network: its sizes, its named parameters,
// their initial values, and the order of operators forward and backward, written
// once over the Backend interface. It knows no device.
package model

import (
	"fmt"

	"gorgonia.org/tensor"
)

// BatchNorm2d's defaults in PyTorch.
const (
	bnEps      = 1e-5
	bnMomentum = 0.1
)

// Network is a CRNN on one device: two convolution blocks, an RNN that reads their
// output as a sequence, and a linear layer on its last time step.
//
// Step and Evaluate run it; what they consist of can be called by itself too.
type Network struct {
	Config
	Layout
	MaxBatch int

	be Backend

	// Flat buffers, one element a parameter (Layout tells where).
	Params, Grads *tensor.Dense
	AdamM, AdamV  *tensor.Dense
	Buffers       *tensor.Dense // running statistics

	layer1, layer2 ConvBlock
	rnn            RNN
	head           Head

	n      int // samples of the batch at hand
	labels Labels
	step   uint64 // training step, for dropout

	// Outputs of the operators, and the gradients of the loss with respect to them.
	x, a1, a2, h, logits *tensor.Dense
	da1, da2, dh         *tensor.Dense

	// NumBatchesTracked counts the training batches that the batch normalisations have
	// seen (PyTorch's num_batches_tracked, the same for both).
	NumBatchesTracked int64
}

// New makes a network of the given sizes for batches of at most maxBatch images. Its
// parameters are zero: call Init or SetState. seed is that of the dropout masks.
func New(be Backend, c Config, maxBatch int, seed uint64) (*Network, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if maxBatch < 1 {
		return nil, &SizeError{"batch-size", maxBatch, "must be at least 1"}
	}
	if p, ok := be.(Planner); ok {
		if err := checkMemory(p, c, maxBatch); err != nil {
			return nil, err
		}
	}
	return build(be, c, maxBatch, seed)
}

// build is New for sizes that are known to be possible.
func build(be Backend, c Config, maxBatch int, seed uint64) (*Network, error) {
	net := &Network{Config: c, Layout: c.Layout(), MaxBatch: maxBatch, be: be}
	var err error
	alloc := func(shape ...int) *tensor.Dense {
		if err != nil {
			return nil
		}
		var a *tensor.Dense
		a, err = be.Alloc(shape...)
		return a
	}
	net.Params = alloc(net.ParamLen)
	net.Grads = alloc(net.ParamLen)
	net.AdamM = alloc(net.ParamLen)
	net.AdamV = alloc(net.ParamLen)
	net.Buffers = alloc(net.BufferLen)

	height, width := c.ImageHeight, c.ImageWidth
	net.x = alloc(maxBatch, 1, height, width)
	net.a1 = alloc(maxBatch, c.Channels[0], height/2, width/2)
	net.da1 = alloc(maxBatch, c.Channels[0], height/2, width/2)
	net.a2 = alloc(maxBatch, c.Channels[1], height/4, width/4)
	net.da2 = alloc(maxBatch, c.Channels[1], height/4, width/4)
	net.h = alloc(maxBatch, c.HiddenSize)
	net.dh = alloc(maxBatch, c.HiddenSize)
	net.logits = alloc(maxBatch, c.Classes)

	view := func(flat *tensor.Dense, list []Param, name string) *tensor.Dense {
		for _, p := range list {
			if p.Name == name && err == nil {
				var a *tensor.Dense
				a, err = be.View(flat, p.Offset, p.Shape...)
				return a
			}
		}
		return nil
	}
	param := func(name string) *tensor.Dense { return view(net.Params, net.Layout.Params, name) }
	grad := func(name string) *tensor.Dense { return view(net.Grads, net.Layout.Params, name) }
	buffer := func(name string) *tensor.Dense { return view(net.Buffers, net.Layout.Buffers, name) }

	convBlock := func(layer string, in, out, height, width int) ConvBlock {
		spec := ConvBlockSpec{
			MaxBatch: maxBatch, In: in, Out: out, Height: height, Width: width,
			Kernel: c.Kernel, Eps: bnEps, Momentum: bnMomentum,
			Weight: param(layer + ".0.weight"), Bias: param(layer + ".0.bias"),
			Gamma: param(layer + ".1.weight"), Beta: param(layer + ".1.bias"),
			RunningMean: buffer(layer + ".1.running_mean"), RunningVar: buffer(layer + ".1.running_var"),
			DWeight: grad(layer + ".0.weight"), DBias: grad(layer + ".0.bias"),
			DGamma: grad(layer + ".1.weight"), DBeta: grad(layer + ".1.bias"),
		}
		if err != nil {
			return nil
		}
		var block ConvBlock
		block, err = be.NewConvBlock(spec)
		return block
	}
	net.layer1 = convBlock("layer1", 1, c.Channels[0], height, width)
	net.layer2 = convBlock("layer2", c.Channels[0], c.Channels[1], height/2, width/2)

	rnn := RNNSpec{
		MaxBatch: maxBatch, Steps: c.SeqLen(), In: c.InputSize, Hidden: c.HiddenSize,
		Dropout: c.Dropout, Seed: seed,
	}
	for i := range c.NumLayers {
		name := func(s string) string { return fmt.Sprintf("rnn.%s_l%d", s, i) }
		rnn.Layers = append(rnn.Layers, RNNLayer{
			WeightIH: param(name("weight_ih")), WeightHH: param(name("weight_hh")),
			BiasIH: param(name("bias_ih")), BiasHH: param(name("bias_hh")),
			DWeightIH: grad(name("weight_ih")), DWeightHH: grad(name("weight_hh")),
			DBiasIH: grad(name("bias_ih")), DBiasHH: grad(name("bias_hh")),
		})
	}
	head := HeadSpec{
		MaxBatch: maxBatch, In: c.HiddenSize, Classes: c.Classes,
		Weight: param("fc.weight"), Bias: param("fc.bias"),
		DWeight: grad("fc.weight"), DBias: grad("fc.bias"),
	}
	if err != nil {
		return nil, err
	}
	if net.rnn, err = be.NewRNN(rnn); err != nil {
		return nil, err
	}
	if net.head, err = be.NewHead(head); err != nil {
		return nil, err
	}
	if net.labels, err = net.head.NewLabels(); err != nil {
		return nil, err
	}
	return net, nil
}

// Step makes a training step on the images of the given indices, at most MaxBatch.
func (net *Network) Step(images Images, indices []int32, adam AdamStep) {
	net.be.Together(func() {
		net.Gather(images, indices)
		net.Forward(true)
		net.Loss()
		net.Backward()
		// Here the gradients of several machines would be summed: one all-reduce of the flat
		// array Grads.
		net.Adam(adam)
	})
}

// Evaluate runs the images of the given indices, at most MaxBatch, through the network in
// eval mode: the totals and Logits have the results.
func (net *Network) Evaluate(images Images, indices []int32) {
	net.be.Together(func() {
		net.Gather(images, indices)
		net.Forward(false)
		net.Loss()
	})
}

// Gather makes the images of the given indices, at most MaxBatch, the batch at hand.
func (net *Network) Gather(images Images, indices []int32) {
	net.n = len(indices)
	images.Gather(indices, net.x, net.labels)
}

// Forward computes the logits of the batch at hand. With train set, batch normalisation
// uses the batch's statistics, dropout is on, and Backward may follow.
func (net *Network) Forward(train bool) {
	n := net.n
	net.layer1.Forward(net.x, net.a1, n, train)
	net.layer2.Forward(net.a1, net.a2, n, train)
	// a2 [n,C,H/4,W/4] is read as a sequence [n,SeqLen,InputSize]: the same memory, row-major.
	net.rnn.Forward(net.a2, net.h, n, train, net.step)
	net.head.Forward(net.h, net.logits, n)
	if train {
		net.NumBatchesTracked++
	}
}

// Loss adds loss and hits of the batch at hand to the totals.
func (net *Network) Loss() { net.head.Loss(net.logits, net.labels, net.n) }

// Backward computes Grads, the gradient of the batch's mean loss.
func (net *Network) Backward() {
	n := net.n
	net.head.Backward(net.h, net.logits, net.labels, net.dh, n)
	net.rnn.Backward(net.a2, net.dh, net.da2, n)
	net.layer2.Backward(net.a1, net.da2, net.da1, n)
	net.layer1.Backward(net.x, net.da1, nil, n)
}

// Adam moves the parameters against Grads and ends the step.
func (net *Network) Adam(step AdamStep) {
	net.be.Adam(net.Params, net.Grads, net.AdamM, net.AdamV, step)
	net.step = uint64(step.Step)
}

// SetStep says how many training steps were made before, 0 at the start: it chooses the
// dropout masks of the next step.
func (net *Network) SetStep(steps int64) { net.step = uint64(steps) }

// Totals returns loss and hits, summed over all samples since SetTotals.
func (net *Network) Totals() (Totals, error) { return net.head.Totals() }

// SetTotals sets the sums.
func (net *Network) SetTotals(t Totals) error { return net.head.SetTotals(t) }

// Logits returns the logits [n,Classes] of the batch at hand.
func (net *Network) Logits() ([]float32, error) {
	all := make([]float32, net.MaxBatch*net.Classes)
	err := net.be.Download(all, net.logits)
	return all[:net.n*net.Classes], err
}
