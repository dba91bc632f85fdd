package model

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gorgonia.org/tensor"

	"crnn/model/safetensors"
)

// hostMemory is the part of a Backend that State needs: arrays in the host's memory, and
// no operators.
type hostMemory struct{ Backend }

func (hostMemory) Alloc(shape ...int) (*tensor.Dense, error) {
	return tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(shape...)), nil
}

func (hostMemory) View(a *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error) {
	n := tensor.Shape(shape).TotalSize()
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(a.Data().([]float32)[offset:offset+n])), nil
}

func (hostMemory) Upload(dst *tensor.Dense, src []float32) error {
	copy(dst.Data().([]float32), src)
	return nil
}

func (hostMemory) Download(dst []float32, src *tensor.Dense) error {
	copy(dst, src.Data().([]float32))
	return nil
}

func (hostMemory) NewConvBlock(ConvBlockSpec) (ConvBlock, error) { return nil, nil }
func (hostMemory) NewRNN(RNNSpec) (RNN, error)                   { return nil, nil }
func (hostMemory) NewHead(HeadSpec) (Head, error)                { return noLabels{}, nil }

type noLabels struct{ Head }

func (noLabels) NewLabels() (Labels, error) { return nil, nil }

func newHostNetwork(t *testing.T, c Config) *Network {
	t.Helper()
	net, err := New(hostMemory{}, c, Options{MaxBatch: 1})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func TestStateOfNetwork(t *testing.T) {
	a, b := newHostNetwork(t, Default()), newHostNetwork(t, Default())
	if err := a.Init(3); err != nil {
		t.Fatal(err)
	}
	start := NewState(Default(), 3)
	start.TrackedLead = -2
	if err := a.SetState(start); err != nil {
		t.Fatal(err)
	}
	a.NumBatchesTracked = 5
	state, err := a.State()
	if err != nil {
		t.Fatal(err)
	}
	want := NewState(Default(), 3)
	want.NumBatchesTracked, want.TrackedLead = 5, -2
	if diff := cmp.Diff(want, state); diff != "" {
		t.Error(diff)
	}

	// A state is a copy: what happens to the network later does not reach it.
	a.Params.Data().([]float32)[0]++
	if diff := cmp.Diff(want, state); diff != "" {
		t.Error(diff)
	}

	if err := b.SetState(state); err != nil {
		t.Fatal(err)
	}
	got, err := b.State()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state, got); diff != "" {
		t.Error(diff)
	}
}

func TestSetStateRefusesOtherSizes(t *testing.T) {
	c := Default()
	c.HiddenSize = 64
	if err := newHostNetwork(t, Default()).SetState(NewState(c, 1)); err == nil {
		t.Error("parameters of 64 hidden units were taken for 128")
	}
	c = Default()
	c.Dropout = 0 // no size
	if err := newHostNetwork(t, Default()).SetState(NewState(c, 1)); err != nil {
		t.Error(err)
	}
}

func TestOptimizerState(t *testing.T) {
	net := newHostNetwork(t, Default())
	n := net.Layout().ParamLen
	want := OptimizerState{"adam_m": make([]float32, n), "adam_v": make([]float32, n)}
	for i := range n {
		want["adam_m"][i], want["adam_v"][i] = float32(i), float32(-i)
	}
	if err := net.SetOptimizerState(want); err != nil {
		t.Fatal(err)
	}
	got, err := net.OptimizerState()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := net.SetOptimizerState(OptimizerState{"adam_m": want["adam_v"]}); err == nil {
		t.Error("a state without adam_v was taken")
	}
	if got, err = net.OptimizerState(); err != nil || !cmp.Equal(want, got) {
		t.Errorf("a state that was refused has changed another (%v)", err)
	}
}

// The fixture holds the bounds between which PyTorch draws each parameter.
func TestInitialValues(t *testing.T) {
	bounds, err := safetensors.ReadFile(filepath.Join("..", "testdata", "initial-values.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewState(Default(), 1)
	for _, p := range s.Layout().Params {
		bound := bounds.Get(p.Name)
		if bound == nil {
			t.Fatalf("no bounds of %s", p.Name)
		}
		between, err := bound.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		low, high := between[0], between[1]
		// The mean and the variance of U(low, high).
		mean, variance := (low+high)/2, (high-low)*(high-low)/12
		n, sum, square := float64(p.Len()), 0.0, 0.0
		for _, v := range s.Params[p.Offset : p.Offset+p.Len()] {
			// A bound that is no float32 is rounded to one, by at most 2^-24 of itself.
			if x := float64(v); x < low-math.Abs(low)*0x1p-24 || x > high+math.Abs(high)*0x1p-24 {
				t.Errorf("%s: %v is outside [%v, %v]", p.Name, v, low, high)
			}
			sum += float64(v)
			square += (float64(v) - mean) * (float64(v) - mean)
		}
		// The mean of n such numbers has standard deviation √(variance/n). The mean of their
		// squared distances from the mean has standard deviation variance·√(0.8/n). Chance alone
		// exceeds five of these once in two million times; the constants 0 and 1 are exact.
		if limit := 5 * math.Sqrt(variance/n); math.Abs(sum/n-mean) > limit {
			t.Errorf("%s: mean %v, want %v within %v", p.Name, sum/n, mean, limit)
		}
		if limit := 5 * variance * math.Sqrt(0.8/n); math.Abs(square/n-variance) > limit {
			t.Errorf("%s: variance %v, want %v within %v", p.Name, square/n, variance, limit)
		}
	}
	for _, p := range s.Layout().Buffers {
		want := float32(0)
		if strings.HasSuffix(p.Name, "running_var") {
			want = 1
		}
		for _, v := range s.Buffers[p.Offset : p.Offset+p.Len()] {
			if v != want {
				t.Errorf("%s holds %v, want %v", p.Name, v, want)
			}
		}
	}
	if other := NewState(Default(), 2); cmp.Equal(other.Params, s.Params) {
		t.Error("two seeds give the same values")
	}
}
