package model

import (
	"fmt"
	"math"
)

// State is a copy, in the host's memory, of what a network has learned: its parameters
// and the running statistics of its batch normalisations.
type State struct {
	Config
	// The flat buffers, laid out as Config.Layout says.
	Params, Buffers []float32
	// NumBatchesTracked counts the training batches that the running statistics are of.
	NumBatchesTracked int64
}

// NewState returns the state of a new network with initial values (PyTorch's default
// distributions) that depend on seed alone.
func NewState(c Config, seed uint64) *State {
	l := c.Layout()
	s := &State{Config: c, Params: make([]float32, l.ParamLen), Buffers: make([]float32, l.BufferLen)}
	l.initialise(s.Params, s.Buffers, seed)
	return s
}

// CheckFinite returns an error that names the first tensor with a value that is not a
// finite number.
func (s *State) CheckFinite() error {
	l := s.Layout()
	if err := checkFinite(l.Params, s.Params); err != nil {
		return err
	}
	return checkFinite(l.Buffers, s.Buffers)
}

func checkFinite(params []Param, flat []float32) error {
	for _, p := range params {
		for i, v := range flat[p.Offset : p.Offset+p.Len()] {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("tensor %q: element %d is %v, expected a finite number", p.Name, i, v)
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
		Config: net.Config,
		Params: make([]float32, net.ParamLen), Buffers: make([]float32, net.BufferLen),
		NumBatchesTracked: net.NumBatchesTracked,
	}
	if err := net.be.Download(s.Params, net.Params); err != nil {
		return nil, err
	}
	if err := net.be.Download(s.Buffers, net.Buffers); err != nil {
		return nil, err
	}
	return s, nil
}

// SetState makes the network's parameters and running statistics those of s, whose sizes
// must be the network's. Adam's moments stay as they are.
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
	net.NumBatchesTracked = s.NumBatchesTracked
	return nil
}

// Moments returns copies of Adam's first and second moments, flat like Params.
func (net *Network) Moments() (m, v []float32, err error) {
	m, v = make([]float32, net.ParamLen), make([]float32, net.ParamLen)
	if err := net.be.Download(m, net.AdamM); err != nil {
		return nil, nil, err
	}
	if err := net.be.Download(v, net.AdamV); err != nil {
		return nil, nil, err
	}
	return m, v, nil
}

// SetMoments sets Adam's first and second moments.
func (net *Network) SetMoments(m, v []float32) error {
	if err := net.be.Upload(net.AdamM, m); err != nil {
		return err
	}
	return net.be.Upload(net.AdamV, v)
}
