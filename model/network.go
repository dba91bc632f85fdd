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
// Step and Evaluate run it; their parts can also be called one by one.
type Network struct {
	Config
	MaxBatch int

	layout    Layout
	be        Backend
	optimizer Optimizer

	// Flat buffers, one element per parameter; Config.Layout has the offsets.
	Params, Grads *tensor.Dense
	States        []*tensor.Dense // of the optimiser
	Buffers       *tensor.Dense   // running statistics

	layer1, layer2 ConvBlock
	rnn            RNN
	head           Head

	labels Labels
	step   int64 // training steps made

	// Outputs of the operators, and the gradients of the loss with respect to them.
	x, a1, a2, h, logits *tensor.Dense
	da1, da2, dh         *tensor.Dense

	// NumBatchesTracked counts the training batches that layer1's batch normalisation has seen
	// (PyTorch's num_batches_tracked). layer2's has seen trackedLead more, as in State.
	NumBatchesTracked, trackedLead int64
}

// Options are the settings of a network other than its sizes.
type Options struct {
	MaxBatch  int       // the largest number of images per batch
	Seed      uint64    // of the dropout masks
	Optimizer Optimizer // nil: DefaultAdam
}

// New makes a network of the given sizes. Its parameters are zero: call Init or SetState.
func New(be Backend, c Config, o Options) (*Network, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.MaxBatch < 1 {
		return nil, &SizeError{"batch-size", o.MaxBatch, "must be at least 1"}
	}
	if o.Optimizer == nil {
		o.Optimizer = DefaultAdam
	}
	if p, ok := be.(Planner); ok {
		if err := checkMemory(p, c, o); err != nil {
			return nil, err
		}
	}
	return build(be, c, o)
}

// build is New for sizes that are known to be possible.
func build(be Backend, c Config, o Options) (*Network, error) {
	maxBatch := o.MaxBatch
	net := &Network{Config: c, layout: c.Layout(), MaxBatch: maxBatch, be: be, optimizer: o.Optimizer}
	var err error
	alloc := func(shape ...int) *tensor.Dense {
		if err != nil {
			return nil
		}
		var a *tensor.Dense
		a, err = be.Alloc(shape...)
		return a
	}
	net.Params = alloc(net.layout.ParamLen)
	net.Grads = alloc(net.layout.ParamLen)
	for range o.Optimizer.States() {
		net.States = append(net.States, alloc(net.layout.ParamLen))
	}
	net.Buffers = alloc(net.layout.BufferLen)

	height, width := c.ImageHeight, c.ImageWidth
	net.x = alloc(maxBatch, c.ImageChannels, height, width)
	net.a1 = alloc(maxBatch, c.Channels[0], height/2, width/2)
	net.da1 = alloc(maxBatch, c.Channels[0], height/2, width/2)
	net.a2 = alloc(maxBatch, c.Channels[1], height/2/2, width/2/2)
	net.da2 = alloc(maxBatch, c.Channels[1], height/2/2, width/2/2)
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
	param := func(name string) *tensor.Dense { return view(net.Params, net.layout.Params, name) }
	grad := func(name string) *tensor.Dense { return view(net.Grads, net.layout.Params, name) }
	buffer := func(name string) *tensor.Dense { return view(net.Buffers, net.layout.Buffers, name) }

	convBlock := func(layer string, in, out, height, width int, x, y, dx, dy *tensor.Dense) ConvBlock {
		spec := ConvBlockSpec{
			MaxBatch: maxBatch, In: in, Out: out, Height: height, Width: width,
			Kernel: c.Kernel, Eps: bnEps, Momentum: bnMomentum,
			X: x, Y: y, DX: dx, DY: dy,
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
	net.layer1 = convBlock("layer1", c.ImageChannels, c.Channels[0], height, width, net.x, net.a1, nil, net.da1)
	net.layer2 = convBlock("layer2", c.Channels[0], c.Channels[1], height/2, width/2, net.a1, net.a2, net.da1, net.da2)

	// a2 [n,C,H/2/2,W/2/2] is read as a sequence [n,SeqLen,InputSize]: the same memory, row-major.
	rnn := RNNSpec{
		MaxBatch: maxBatch, TimeSteps: c.SeqLen(), In: c.InputSize, Hidden: c.HiddenSize,
		Dropout: c.Dropout, Seed: o.Seed,
		X: net.a2, Y: net.h, DX: net.da2, DY: net.dh,
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
		X: net.h, DX: net.dh, Logits: net.logits,
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

// Step makes a training step on the images of the given indices, at most MaxBatch, with learning
// rate lr.
func (net *Network) Step(images Images, indices []int32, lr float64) error {
	p := net.Pass(len(indices), true)
	return net.together(p, images, indices, func() {
		net.Forward(p)
		net.Loss(p)
		net.Backward(p)
		// Here the gradients of several machines would be summed: one all-reduce of the flat
		// array Grads.
		net.Update(lr)
	})
}

// Evaluate runs the images of the given indices, at most MaxBatch, through the network in eval
// mode. The results are in the totals and in Logits.
func (net *Network) Evaluate(images Images, indices []int32) error {
	p := net.Pass(len(indices), false)
	return net.together(p, images, indices, func() {
		net.Forward(p)
		net.Loss(p)
	})
}

// Predict is Evaluate without labels: the totals stay as they are.
func (net *Network) Predict(images Images, indices []int32) error {
	p := net.Pass(len(indices), false)
	return net.together(p, images, indices, func() { net.Forward(p) })
}

// together runs Gather and then as one call of Together.
func (net *Network) together(p Pass, images Images, indices []int32, then func()) error {
	var err error
	net.be.Together(func() {
		if err = net.Gather(p, images, indices); err == nil {
			then()
		}
	})
	return err
}

// Pass returns the pass for n images that are a whole batch.
func (net *Network) Pass(n int, train bool) Pass {
	return Pass{Samples: n, Whole: n, Train: train, Step: uint64(net.step)}
}

// Gather loads the images of the given indices, one per sample of the pass, as the current batch.
func (net *Network) Gather(p Pass, images Images, indices []int32) error {
	return images.Gather(p, indices, net.x, net.labels)
}

// Forward computes the logits of the current batch.
func (net *Network) Forward(p Pass) {
	net.layer1.Forward(p)
	net.layer2.Forward(p)
	net.rnn.Forward(p)
	net.head.Forward(p)
	if p.Train {
		net.NumBatchesTracked++
	}
}

// Loss adds loss and hits of the current batch to the totals.
func (net *Network) Loss(p Pass) { net.head.Loss(p, net.labels) }

// Backward computes Grads, the gradient of the whole batch's mean loss.
func (net *Network) Backward(p Pass) {
	net.head.Backward(p, net.labels)
	net.rnn.Backward(p)
	net.layer2.Backward(p)
	net.layer1.Backward(p)
}

// Update moves the parameters against Grads with learning rate lr, and ends the step.
func (net *Network) Update(lr float64) {
	net.step++
	net.optimizer.Update(net.be, net.Params, net.Grads, net.States, lr, net.step)
}

// SetStep sets the number of training steps made before, 0 at the start.
func (net *Network) SetStep(steps int64) { net.step = steps }

// Totals returns loss and hits, summed over all samples since SetTotals.
func (net *Network) Totals() (Totals, error) { return net.head.Totals() }

// SetTotals sets the sums.
func (net *Network) SetTotals(t Totals) error { return net.head.SetTotals(t) }

// Logits returns the logits [n,Classes] of the first n samples of the current batch.
func (net *Network) Logits(n int) ([]float32, error) {
	if n < 0 || n > net.MaxBatch {
		return nil, fmt.Errorf("logits of %d samples, expected at most %d, the largest batch", n, net.MaxBatch)
	}
	all := make([]float32, net.MaxBatch*net.Classes)
	err := net.be.Download(all, net.logits)
	return all[:n*net.Classes], err
}
