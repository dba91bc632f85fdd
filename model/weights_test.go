package model

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crnn/model/safetensors"
)

// smallConfig draws sizes that validate and keep a state to some kilobytes.
func smallConfig(t *rapid.T) Config {
	c := Default()
	c.Dropout = 0
	c.Channels = [2]int{rapid.IntRange(1, 5).Draw(t, "channels 1"), rapid.IntRange(1, 5).Draw(t, "channels 2")}
	c.Kernel = 2*rapid.IntRange(0, 2).Draw(t, "kernel/2") + 1
	c.ImageHeight = 4 * rapid.SampledFrom([]int{7, 1, 8}).Draw(t, "height/4")
	c.ImageWidth = 4 * rapid.SampledFrom([]int{7, 3, 8}).Draw(t, "width/4")
	c.InputSize = c.ImageWidth / 4 * rapid.SampledFrom([]int{1, c.ImageHeight / 4}).Draw(t, "input/width")
	c.HiddenSize = rapid.IntRange(1, 9).Draw(t, "hidden")
	c.NumLayers = rapid.IntRange(1, 12).Draw(t, "layers")
	c.Classes = rapid.IntRange(2, 11).Draw(t, "classes")
	return c
}

func TestWeightsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := NewState(smallConfig(t), rapid.Uint64().Draw(t, "seed"))
		want.NumBatchesTracked = rapid.Int64Range(0, math.MaxInt64).Draw(t, "batches")
		path := filepath.Join(dir, "w.safetensors")
		if err := WriteWeights(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadWeights(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Weights for images of another size record it: nothing else in them shows it.
func TestWeightsOfAnotherImageSize(t *testing.T) {
	c := Default()
	c.ImageHeight, c.ImageWidth, c.InputSize, c.Dropout = 32, 24, 64, 0
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := WriteWeights(path, NewState(c, 1)); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Metadata[imageKey]; got != "32x24x1" {
		t.Errorf("metadata %q, want 32x24x1", got)
	}
	state, err := ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := newHostNetwork(t, Default()).SetState(state); err == nil {
		t.Error("a network for images of 28x28 took weights for 32x24")
	}
	for _, bad := range []string{"", "32", "32x24", "32x24x3", "32x24x1x1", "0x24x1", "32x-4x1", "32x24xone", "30x24x1",
		"99999999x24x1"} {
		f.Metadata[imageKey] = bad
		if _, err := stateOf(f); err == nil || !strings.Contains(err.Error(), imageKey) {
			t.Errorf("%q: error %v, want one with %s", bad, err, imageKey)
		}
	}
}

// Weights that PyTorch wrote are read and written back to the same bytes.
func TestWeightsOfPyTorch(t *testing.T) {
	small := Default()
	small.Channels, small.Kernel, small.InputSize, small.HiddenSize, small.NumLayers = [2]int{8, 12}, 3, 49, 33, 2
	for name, sizes := range map[string]Config{"recipe": Default(), "small": small} {
		path := filepath.Join("..", "testdata", "weights", name+".safetensors")
		s, err := ReadWeights(path)
		if err != nil {
			t.Fatal(err)
		}
		sizes.Dropout = 0
		if diff := cmp.Diff(sizes, s.Config); diff != "" {
			t.Errorf("%s: sizes %s", name, diff)
		}
		if s.NumBatchesTracked != 3 {
			t.Errorf("%s: %d batches tracked, want 3", name, s.NumBatchesTracked)
		}
		copied := filepath.Join(t.TempDir(), "w.safetensors")
		if err := WriteWeights(copied, s); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the copy differs from what PyTorch wrote", name)
		}
	}
}

// fileOf returns the file that holds s.
func fileOf(s *State) *safetensors.File { return &safetensors.File{Tensors: s.Tensors("")} }

func TestReadWeightsRefuses(t *testing.T) {
	c := Default()
	c.Channels, c.InputSize, c.HiddenSize, c.NumLayers = [2]int{2, 4}, 28, 3, 2
	remove := func(name string) func(f *safetensors.File) {
		return func(f *safetensors.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
		}
	}
	replace := func(with safetensors.Tensor) func(f *safetensors.File) {
		return func(f *safetensors.File) { *f.Get(with.Name) = with }
	}
	add := func(t safetensors.Tensor) func(f *safetensors.File) {
		return func(f *safetensors.File) { f.Tensors = append(f.Tensors, t) }
	}
	floats := func(name string, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.NewF32(name, shape, make([]float32, n))
	}
	half := floats("fc.bias", 5)
	half.DType, half.Shape = safetensors.F16, []int{10}
	for name, test := range map[string]struct {
		change func(*safetensors.File)
		want   string
	}{
		"weight missing": {remove("rnn.weight_hh_l1"),
			`"rnn.weight_hh_l1" is missing, expected one of shape [3 3]`},
		"first weight missing":      {remove("layer1.0.weight"), `"layer1.0.weight" is missing`},
		"weight_ih of the last":     {remove("rnn.weight_ih_l1"), `"rnn.weight_ih_l1" is missing`},
		"running statistic missing": {remove("layer2.1.running_var"), `"layer2.1.running_var" is missing`},
		"counter missing": {remove("layer1.1.num_batches_tracked"),
			`"layer1.1.num_batches_tracked" is missing, expected one of shape []`},
		"one too many": {add(floats("extra", 1)), `"extra" is one too many`},
		"a reverse direction": {add(floats("rnn.weight_ih_l0_reverse", 3, 28)),
			`"rnn.weight_ih_l0_reverse" is one too many`},
		"half a layer too many": {add(floats("rnn.weight_ih_l2", 3, 3)), `"rnn.weight_hh_l2" is missing`},
		"layer number out of range": {add(floats("rnn.weight_ih_l99999999", 3, 3)),
			`"rnn.weight_ih_l99999999" is one too many`},
		"other shape": {replace(floats("fc.bias", 11)), `"fc.bias" has shape [11], expected [10]`},
		"other rank":  {replace(floats("fc.weight", 30)), `"fc.weight" has shape [30], expected 2 dimensions`},
		"transposed":  {replace(floats("fc.weight", 3, 10)), `"fc.weight" has shape [3 10], expected [3 3]`},
		"even kernel": {replace(floats("layer1.0.weight", 2, 1, 4, 4)), "kernel 4: must be odd"},
		"oblong kernel": {replace(floats("layer1.0.weight", 2, 1, 5, 3)),
			`"layer1.0.weight" has shape [2 1 5 3], expected [2 1 3 3]`},
		"two input channels": {replace(floats("layer1.0.weight", 2, 2, 5, 5)),
			`"layer1.0.weight" has shape [2 2 5 5], expected [2 1 5 5]`},
		"no channel":              {replace(floats("layer2.0.weight", 0, 2, 5, 5)), "dimension of 0"},
		"huge empty dimension":    {replace(floats("layer2.0.weight", 1<<40, 0, 5, 5)), "dimension of 1099511627776"},
		"huge hidden size":        {replace(floats("rnn.weight_ih_l0", 1<<20, 0)), "dimension of 0"},
		"input that does not fit": {replace(floats("rnn.weight_ih_l0", 3, 57)), "input-size 57: must divide"},
		"half precision":          {replace(half), `"fc.bias" has dtype F16, expected F32: convert it to float32`},
		"counter of other dtype": {replace(safetensors.Tensor{Name: "layer1.1.num_batches_tracked",
			DType: safetensors.I32, Data: make([]byte, 4)}),
			`"layer1.1.num_batches_tracked" has dtype I32, expected I64`},
		"negative counter": {func(f *safetensors.File) {
			for _, name := range trackedNames {
				*f.Get(name) = safetensors.NewI64(name, nil, []int64{-1})
			}
		}, "are -1 and -1, expected one number of batches"},
		"two counters": {replace(safetensors.NewI64("layer2.1.num_batches_tracked", nil, []int64{8})),
			"are 0 and 8, expected one number of batches"},
		"NaN": {replace(safetensors.NewF32("fc.bias", []int{10}, []float32{9: float32(math.NaN())})),
			`"fc.bias": element 9 is NaN`},
		"infinity": {replace(safetensors.NewF32("layer1.1.running_mean", []int{2}, []float32{float32(math.Inf(-1)), 0})),
			`"layer1.1.running_mean": element 0 is -Inf`},
		"no tensors": {func(f *safetensors.File) { f.Tensors = nil }, "not the weights of this network"},
		"another model": {func(f *safetensors.File) { f.Tensors = []safetensors.Tensor{floats("conv.weight", 1)} },
			"not the weights of this network"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fileOf(NewState(c, 1))
			test.change(f)
			path := filepath.Join(t.TempDir(), "w.safetensors")
			var b bytes.Buffer
			if err := safetensors.Write(&b, f); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadWeights(path)
			if err == nil {
				t.Fatal("no error")
			}
			if text := err.Error(); !strings.HasPrefix(text, path+": ") || !strings.Contains(text, test.want) ||
				strings.Contains(text, "\n") {
				t.Errorf("error %q, want one line with the file and %q", text, test.want)
			}
		})
	}
}

// States under different prefixes share a file and are read back separately.
func TestStatesShareAFile(t *testing.T) {
	c := Default()
	c.Channels, c.HiddenSize = [2]int{2, 4}, 3
	a, b := NewState(c, 1), NewState(c, 2)
	b.NumBatchesTracked = 7
	f := &safetensors.File{Tensors: append(a.Tensors("a."), b.Tensors("b.")...)}
	for prefix, want := range map[string]*State{"a.": a, "b.": b} {
		got, err := StateFrom(f, prefix, c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s", prefix, diff)
		}
	}
}
