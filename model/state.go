package model

import (
	"fmt"
	"math"

	"crnn/data/imageset"
)

// State is a copy, in the host's memory, of what a network has learned: its parameters
// and the running statistics of its batch normalisations.
type State struct {
	Config
	// The flat buffers, laid out as Config.Layout says.
	Params, Buffers []float32
	// NumBatchesTracked counts the training batches in the running statistics of layer1. layer2
	// counts TrackedLead more, or fewer: not 0 after a training in PyTorch that froze one of them.
	NumBatchesTracked, TrackedLead int64

	// Images are the images that the network was trained on. Their size is that of Config. Without
	// classes, what it was trained on is not known. A network does not keep Images: whoever trains
	// it sets Classes and Pixels.
	Images imageset.Description

	// Notes say what ReadWeights converted or left out, one line each, for the user. Each names the
	// file. Nothing else sets or writes them.
	Notes []string
}

// NewState returns the state of a new network with initial values (PyTorch's default
// distributions) that depend on seed alone.
func NewState(c Config, seed uint64) *State {
	l := c.Layout()
	s := &State{
		Config: c, Images: c.imageSize(),
		Params: make([]float32, l.ParamLen), Buffers: make([]float32, l.BufferLen),
	}
	l.initialise(s.Params, s.Buffers, seed)
	return s
}

// CheckFinite returns an error that names the first tensor with a value that is not a
// finite number.
func (s *State) CheckFinite() error { return s.checkFinite("") }

// checkFinite is CheckFinite for tensors whose names begin with prefix.
func (s *State) checkFinite(prefix string) error {
	l := s.Layout()
	if err := checkFinite(prefix, l.Params, s.Params); err != nil {
		return err
	}
	return checkFinite(prefix, l.Buffers, s.Buffers)
}

func checkFinite(prefix string, params []Param, flat []float32) error {
	for _, p := range params {
		for i, v := range flat[p.Offset : p.Offset+p.Len()] {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("tensor %q: element %d is %v, expected a finite number", prefix+p.Name, i, v)
			}
		}
	}
	return nil
}

// Init gives the network initial values that depend on seed alone.
func (net *Network) Init(seed uint64) error { return net.SetState(NewState(net.Config, seed)) }

// State returns a copy of parameters and running statistics.
func (net *Network) State() (*State, error) {
	s := &State{
		Config: net.Config, Images: net.imageSize(),
		Params: make([]float32, net.layout.ParamLen), Buffers: make([]float32, net.layout.BufferLen),
		NumBatchesTracked: net.NumBatchesTracked, TrackedLead: net.trackedLead,
	}
	if err := net.be.Download(s.Params, net.Params); err != nil {
		return nil, err
	}
	if err := net.be.Download(s.Buffers, net.Buffers); err != nil {
		return nil, err
	}
	return s, nil
}

// SetState copies parameters and running statistics from s, whose sizes must be the network's. The
// optimiser's arrays stay as they are.
func (net *Network) SetState(s *State) error {
	sizes := s.Config
	sizes.Dropout = net.Dropout // no parameter depends on it
	if sizes != net.Config {
		return fmt.Errorf("parameters of a network of sizes %+v, expected %+v", s.Config, net.Config)
	}
	if err := net.be.Upload(net.Params, s.Params); err != nil {
		return err
	}
	if err := net.be.Upload(net.Buffers, s.Buffers); err != nil {
		return err
	}
	net.NumBatchesTracked, net.trackedLead = s.NumBatchesTracked, s.TrackedLead
	return nil
}

// OptimizerState is a copy, in the host's memory, of the arrays that an optimiser keeps between
// steps, by name. Each is flat like the parameters.
type OptimizerState map[string][]float32

// OptimizerState returns a copy of the optimiser's arrays.
func (net *Network) OptimizerState() (OptimizerState, error) {
	s := OptimizerState{}
	for i, name := range net.optimizer.States() {
		s[name] = make([]float32, net.layout.ParamLen)
		if err := net.be.Download(s[name], net.States[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// SetOptimizerState sets the optimiser's arrays. None may be missing.
func (net *Network) SetOptimizerState(s OptimizerState) error {
	for _, name := range net.optimizer.States() {
		if len(s[name]) != net.layout.ParamLen {
			return fmt.Errorf("%s of the optimiser has %d elements, expected %d", name, len(s[name]), net.layout.ParamLen)
		}
	}
	for i, name := range net.optimizer.States() {
		if err := net.be.Upload(net.States[i], s[name]); err != nil {
			return err
		}
	}
	return nil
}
