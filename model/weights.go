package model

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"crnn/internal/atomicfile"
	"crnn/model/safetensors"
)

// trackedNames are the keys of the batch normalisations' counters, int64 scalars.
var trackedNames = [...]string{"layer1.1.num_batches_tracked", "layer2.1.num_batches_tracked"}

// imageKey is the metadata key of the image size, such as 32x24x1: height, width and channels. The
// tensors' shapes do not show it. Weights for images of Default's size lack the key.
const imageKey = "crnn.image"

// WriteWeights writes s as a safetensors file under PyTorch's state_dict keys, byte for
// byte as PyTorch users write it. The file is replaced as a whole.
func WriteWeights(path string, s *State) error {
	metadata := map[string]string{"format": "pt"} // some loaders ask for it
	if d := Default(); s.ImageHeight != d.ImageHeight || s.ImageWidth != d.ImageWidth {
		metadata[imageKey] = fmt.Sprintf("%dx%dx1", s.ImageHeight, s.ImageWidth)
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		return safetensors.Write(w, &safetensors.File{Metadata: metadata, Tensors: s.Tensors("")})
	})
}

// readImageSize sets the image size that the metadata gives.
func readImageSize(f *safetensors.File, c *Config) error {
	text, ok := f.Metadata[imageKey]
	if !ok {
		return nil
	}
	parts, sizes := strings.Split(text, "x"), [3]int{}
	for i := range sizes {
		err := error(nil)
		if i < len(parts) {
			sizes[i], err = strconv.Atoi(parts[i])
		}
		if err != nil || len(parts) != len(sizes) || sizes[i] < 1 || sizes[i] > maxDimension || sizes[2] > 1 {
			return fmt.Errorf("metadata %q is %.40q, expected height, width and 1 channel, such as 28x28x1", imageKey, text)
		}
	}
	if sizes[0]%4 != 0 || sizes[1]%4 != 0 {
		return fmt.Errorf("metadata %q is %.40q, expected a height and a width that are multiples of 4", imageKey, text)
	}
	c.ImageHeight, c.ImageWidth = sizes[0], sizes[1]
	return nil
}

// Tensors returns the state_dict of s, with prefix before every name.
func (s *State) Tensors(prefix string) []safetensors.Tensor {
	l := s.Layout()
	list := append(l.ParamTensors(prefix, s.Params), tensors(prefix, l.Buffers, s.Buffers)...)
	for _, name := range trackedNames {
		list = append(list, safetensors.NewI64(prefix+name, nil, []int64{s.NumBatchesTracked}))
	}
	return list
}

// ParamTensors returns the tensors in a flat buffer of parameters, gradients or moments, under the
// parameters' names with prefix before them.
func (l Layout) ParamTensors(prefix string, flat []float32) []safetensors.Tensor {
	return tensors(prefix, l.Params, flat)
}

func tensors(prefix string, params []Param, flat []float32) []safetensors.Tensor {
	list := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		list[i] = safetensors.NewF32(prefix+p.Name, p.Shape, flat[p.Offset:p.Offset+p.Len()])
	}
	return list
}

// ReadWeights reads a safetensors file under PyTorch's state_dict keys, as WriteWeights or PyTorch
// writes it. The tensors' shapes give the sizes of the network. The metadata gives the size of its
// images; the default is 28x28. Dropout, which leaves no trace in weights, is 0. The file must hold
// exactly the network's tensors, as finite float32 (the counters as int64). An error names file and
// tensor.
func ReadWeights(path string) (*State, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := stateOf(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func stateOf(f *safetensors.File) (*State, error) {
	c, err := inferConfig(f)
	if err != nil {
		return nil, err
	}
	s, err := StateFrom(f, "", c)
	if err != nil {
		return nil, err
	}
	l := c.Layout()
	for _, t := range f.Tensors {
		known := func(p Param) bool { return p.Name == t.Name }
		if !slices.ContainsFunc(l.Params, known) && !slices.ContainsFunc(l.Buffers, known) &&
			!slices.Contains(trackedNames[:], t.Name) {
			return nil, fmt.Errorf("tensor %.100q is one too many: this network has none of that name", t.Name)
		}
	}
	return s, s.CheckFinite()
}

// StateFrom returns the state of a network of sizes c whose tensors f holds under names that begin
// with prefix. It is the inverse of Tensors.
func StateFrom(f *safetensors.File, prefix string, c Config) (*State, error) {
	l := c.Layout()
	s := &State{Config: c}
	var err error
	if s.Params, err = l.ParamsFrom(f, prefix); err != nil {
		return nil, err
	}
	if s.Buffers, err = flatFrom(f, prefix, l.Buffers, l.BufferLen); err != nil {
		return nil, err
	}
	var counts [len(trackedNames)]int64
	for i, name := range trackedNames {
		t, err := find(f, prefix+name, []int{})
		if err != nil {
			return nil, err
		}
		v, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		counts[i] = v[0]
	}
	if counts[0] != counts[1] || counts[0] < 0 {
		return nil, fmt.Errorf("tensors %q and %q are %d and %d, expected one number of batches",
			prefix+trackedNames[0], prefix+trackedNames[1], counts[0], counts[1])
	}
	s.NumBatchesTracked = counts[0]
	return s, nil
}

// ParamsFrom is the inverse of ParamTensors.
func (l Layout) ParamsFrom(f *safetensors.File, prefix string) ([]float32, error) {
	return flatFrom(f, prefix, l.Params, l.ParamLen)
}

func flatFrom(f *safetensors.File, prefix string, params []Param, length int) ([]float32, error) {
	// Look up all tensors before allocating the copy: then it is not larger than the file.
	list := make([]*safetensors.Tensor, len(params))
	for i, p := range params {
		t, err := find(f, prefix+p.Name, p.Shape)
		if err != nil {
			return nil, err
		}
		list[i] = t
	}
	flat := make([]float32, length)
	for i, p := range params {
		v, err := list[i].Float32s()
		if err != nil {
			return nil, fmt.Errorf("%w: convert it to float32 (tensor.float() in PyTorch)", err)
		}
		copy(flat[p.Offset:], v)
	}
	return flat, nil
}

// find returns the tensor of that name and shape.
func find(f *safetensors.File, name string, shape []int) (*safetensors.Tensor, error) {
	t := f.Get(name)
	if t == nil {
		return nil, fmt.Errorf("tensor %q is missing, expected one of shape %v", name, shape)
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("tensor %q has shape %v, expected %v", name, t.Shape, shape)
	}
	return t, nil
}

// inferConfig reads the sizes of a network from the shapes of its weights. StateFrom checks the
// rest of the shapes.
func inferConfig(f *safetensors.File) (Config, error) {
	c := Default()
	c.Dropout = 0
	if err := readImageSize(f, &c); err != nil {
		return c, err
	}
	for _, s := range []struct {
		name  string
		shape []*int // the size that each dimension gives; nil: none
	}{
		{"layer1.0.weight", []*int{&c.Channels[0], nil, nil, &c.Kernel}},
		{"layer2.0.weight", []*int{&c.Channels[1], nil, nil, nil}},
		{"rnn.weight_ih_l0", []*int{&c.HiddenSize, &c.InputSize}},
		{"fc.weight", []*int{&c.Classes, nil}},
	} {
		t := f.Get(s.name)
		if t == nil {
			return c, fmt.Errorf("tensor %q is missing: not the weights of this network", s.name)
		}
		if len(t.Shape) != len(s.shape) {
			return c, fmt.Errorf("tensor %q has shape %v, expected %d dimensions", s.name, t.Shape, len(s.shape))
		}
		for i, size := range s.shape {
			if size != nil {
				*size = t.Shape[i]
			}
		}
	}
	c.NumLayers = 1
	for _, t := range f.Tensors {
		// rnn.weight_ih_l3, rnn.bias_hh_l3, … belong to layer 3, the fourth.
		i := strings.LastIndex(t.Name, "_l")
		if !strings.HasPrefix(t.Name, "rnn.") || i < 0 {
			continue
		}
		if layer, err := strconv.Atoi(t.Name[i+len("_l"):]); err == nil && layer < maxLayers {
			c.NumLayers = max(c.NumLayers, layer+1)
		}
	}
	// Larger sizes than any file holds would overflow the products below.
	for _, size := range []int{c.Channels[0], c.Channels[1], c.Kernel, c.HiddenSize, c.InputSize, c.Classes} {
		if size < 1 || size > maxDimension {
			return c, fmt.Errorf("a weight has a dimension of %d, expected from 1 to %d", size, maxDimension)
		}
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("the tensors' shapes give %w", err)
	}
	return c, nil
}

// maxDimension bounds every dimension of a weight from a file.
const maxDimension = 1 << 20
