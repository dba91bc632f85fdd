package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"crnn/data/imageset"
	"crnn/internal/atomicfile"
	"crnn/model/safetensors"
)

// Version is the program's version, which WriteWeights records. The program sets it at its start;
// without it none is recorded.
var Version string

// trackedNames are the keys of the batch normalisations' counters, int64 scalars.
var trackedNames = [...]string{"layer1.1.num_batches_tracked", "layer2.1.num_batches_tracked"}

// The keys of the metadata. The tensors' shapes do not show what the metadata says. Other keys are
// ignored.
const (
	imageKey   = "crnn.image"   // height, width and channels of the images, such as 32x24x1
	classesKey = "crnn.classes" // a JSON list of the classes' names
	pixelsKey  = "crnn.pixels"  // an imageset.Pixels as JSON
	versionKey = "crnn.version"
)

// WriteWeights writes s as a safetensors file under PyTorch's state_dict keys. The metadata holds
// the size of the images (that of s.Config), the classes and Pixels of s.Images if it has classes,
// and Version. Bytes of a name that are no UTF-8 become U+FFFD. The file is replaced as a whole.
func WriteWeights(path string, s *State) error {
	metadata, err := s.metadata()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		return safetensors.Write(w, &safetensors.File{Metadata: metadata, Tensors: s.Tensors("")})
	})
}

func (s *State) metadata() (map[string]string, error) {
	m := map[string]string{
		"format": "pt", // some loaders ask for it
		imageKey: s.imageSize().Size(),
	}
	if Version != "" {
		m[versionKey] = Version
	}
	if len(s.Images.Classes) == 0 {
		return m, nil
	}
	if n := len(s.Images.Classes); n != s.Classes { // ReadWeights would refuse the file
		return nil, fmt.Errorf("names of %d classes, expected %d, as the network has", n, s.Classes)
	}
	for key, value := range map[string]any{classesKey: s.Images.Classes, pixelsKey: s.Images.Pixels} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // names stay readable
		if err := enc.Encode(value); err != nil {
			return nil, err
		}
		m[key] = strings.TrimSuffix(b.String(), "\n")
	}
	return m, nil
}

// Tensors returns the state_dict of s, with prefix before every name.
func (s *State) Tensors(prefix string) []safetensors.Tensor {
	l := s.Layout()
	list := append(l.ParamTensors(prefix, s.Params), tensors(prefix, l.Buffers, s.Buffers)...)
	for i, n := range []int64{s.NumBatchesTracked, s.NumBatchesTracked + s.TrackedLead} {
		list = append(list, safetensors.NewI64(prefix+trackedNames[i], nil, []int64{n}))
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
// writes it. The tensors' shapes give the sizes of the network, and the metadata those of its
// images; without it, they are 28x28. Dropout, which leaves no trace in weights, is 0.
//
// All names may follow a common prefix, such as the "module." of DistributedDataParallel. Weights
// of dtype F16, BF16 and F64 are converted; the notes of the State say so. Counters of batches may
// be missing. Otherwise the file must hold exactly the network's tensors, as finite numbers. An
// error names file and tensor.
func ReadWeights(path string) (*State, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := stateOf(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, note := range s.Notes {
		s.Notes[i] = path + ": " + note
	}
	return s, nil
}

func stateOf(f *safetensors.File) (*State, error) {
	prefix, err := findPrefix(f)
	if err != nil {
		return nil, err
	}
	if err := checkRNN(f, prefix); err != nil {
		return nil, err
	}
	c, err := inferConfig(f, prefix)
	if err != nil {
		return nil, err
	}
	s, err := StateFrom(f, prefix, c)
	if err != nil {
		return nil, err
	}
	if err := readImages(f, s); err != nil {
		return nil, err
	}
	beside, err := namesBeside(f, prefix, c.Layout())
	if err != nil {
		return nil, err
	}
	s.Notes = notesOf(f, prefix, beside, c)
	return s, s.checkFinite(prefix)
}

// networkName splits the name of one of the network's tensors into a prefix and the name that
// PyTorch's state_dict of the network alone has.
var networkName = regexp.MustCompile(`^(?s:(.*?))(` +
	`layer[12]\.(?:0\.(?:weight|bias)|1\.(?:weight|bias|running_mean|running_var|num_batches_tracked))|` +
	`rnn\.(?:weight|bias)_(?:ih|hh)_l[0-9]+(?:_reverse)?|fc\.(?:weight|bias))$`)

// sizeNames are the tensors that give the sizes.
var sizeNames = [...]string{"layer1.0.weight", "layer2.0.weight", "rnn.weight_ih_l0", "fc.weight"}

// withoutWrappers takes the names of DistributedDataParallel and torch.compile out of a tensor's name.
var withoutWrappers = strings.NewReplacer("module.", "", "_orig_mod.", "")

// findPrefix returns the prefix of the network's names in f. It is empty for a state_dict of the
// network alone; a wrapper adds one, such as "module." or "_orig_mod.".
func findPrefix(f *safetensors.File) (string, error) {
	groups := map[string]map[string]bool{} // the network's names that follow a prefix
	for _, t := range f.Tensors {
		m := networkName.FindStringSubmatch(t.Name)
		if m == nil {
			continue
		}
		if groups[m[1]] == nil {
			groups[m[1]] = map[string]bool{}
		}
		groups[m[1]][m[2]] = true
	}
	whole := func(prefix string) bool {
		return !slices.ContainsFunc(sizeNames[:], func(name string) bool { return !groups[prefix][name] })
	}
	// The prefix of the most tensors is the network's.
	prefixes := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(len(groups[b])-len(groups[a]), strings.Compare(a, b))
	})
	prefix := ""
	if len(prefixes) > 0 {
		prefix = prefixes[0]
	}
	for _, other := range prefixes {
		if other != prefix && whole(other) && whole(prefix) {
			// One may be a moving average. Only the user knows which is meant.
			return "", fmt.Errorf("two networks, one with %s and one with %s before its tensors' names, expected one: "+
				"leave the other out before save_file", quote(prefix), quote(other))
		}
	}
	for _, t := range f.Tensors {
		if m := networkName.FindStringSubmatch(t.Name); m != nil {
			if !groups[prefix][m[2]] {
				return "", fmt.Errorf("tensor %.100q has %s before its name, but others have %s, expected the same for all: "+
					"rename the tensors before save_file", t.Name, quote(m[1]), quote(prefix))
			}
			continue
		}
		m := networkName.FindStringSubmatch(withoutWrappers.Replace(t.Name))
		if m != nil && !groups[prefix][m[2]] {
			return "", fmt.Errorf("tensor %.100q is named after a wrapper of a part of the network, expected %.100q: "+
				"take module. and _orig_mod. out of the names before save_file", t.Name, prefix+m[2])
		}
	}
	return prefix, nil
}

// quote returns a prefix as an error names it.
func quote(prefix string) string {
	if prefix == "" {
		return "no prefix"
	}
	return fmt.Sprintf("%.40q", prefix)
}

// checkRNN returns an error for weights of another kind of RNN, which have other shapes or names.
func checkRNN(f *safetensors.File, prefix string) error {
	for _, t := range f.Tensors {
		name, ours := strings.CutPrefix(t.Name, prefix)
		kind := ""
		switch {
		case !ours:
		case strings.HasPrefix(name, "rnn.") && strings.HasSuffix(name, "_reverse"):
			kind = "a bidirectional RNN"
		case strings.HasSuffix(name, ".weight_hh_l0") && len(t.Shape) == 2 && t.Shape[1] > 0:
			// The matrices of all gates are stacked.
			switch t.Shape[0] {
			case 3 * t.Shape[1]:
				kind = "a GRU"
			case 4 * t.Shape[1]:
				kind = "an LSTM"
			}
		}
		if kind != "" {
			return fmt.Errorf("tensor %.100q of shape %v is of %s, expected nn.RNN with tanh, in one direction",
				t.Name, t.Shape, kind)
		}
	}
	return nil
}

// namesBeside returns the names of the tensors that stand beside the network in a wrapper. Any other
// tensor that is not the network's is an error.
func namesBeside(f *safetensors.File, prefix string, l Layout) ([]string, error) {
	known := map[string]bool{}
	for _, p := range slices.Concat(l.Params, l.Buffers) {
		known[prefix+p.Name] = true
	}
	for _, name := range trackedNames {
		known[prefix+name] = true
	}
	var names []string
	for _, t := range f.Tensors {
		switch {
		case known[t.Name]:
		case strings.HasPrefix(t.Name, prefix):
			return nil, fmt.Errorf("tensor %.100q is one too many: this network has none of that name", t.Name)
		default:
			names = append(names, t.Name)
		}
	}
	return names, nil
}

// notesOf returns what was converted or left out to read a network with these sizes.
func notesOf(f *safetensors.File, prefix string, beside []string, c Config) []string {
	var notes []string
	if prefix != "" {
		notes = append(notes, fmt.Sprintf("its tensors' names have the prefix %.40q, which was left out", prefix))
	}
	if n := len(beside); n == 1 {
		notes = append(notes, fmt.Sprintf("tensor %.100q, which is not the network's, was left out", beside[0]))
	} else if n > 1 {
		notes = append(notes, fmt.Sprintf("%d tensors that are not the network's, such as %.100q, were left out",
			n, beside[0]))
	}
	l, types := c.Layout(), map[string]bool{}
	for _, p := range slices.Concat(l.Params, l.Buffers) {
		if t := f.Get(prefix + p.Name); t.DType != safetensors.F32 {
			types[string(t.DType)] = true
		}
	}
	if len(types) > 0 {
		notes = append(notes, fmt.Sprintf("weights of dtype %s were converted to float32",
			strings.Join(slices.Sorted(maps.Keys(types)), " and ")))
	}
	// Few colour images have the recipe's size, so the guess may be wrong.
	if _, ok := f.Metadata[imageKey]; !ok && c.ImageChannels != 1 {
		notes = append(notes, fmt.Sprintf("its metadata lacks %q, so images of %s are expected",
			imageKey, c.imageSize().Size()))
	}
	return notes
}

// readImages sets what the metadata says of the images, besides their size.
func readImages(f *safetensors.File, s *State) error {
	if text, ok := f.Metadata[classesKey]; ok {
		if err := json.Unmarshal([]byte(text), &s.Images.Classes); err != nil {
			return fmt.Errorf("metadata %q is %.40q, expected a JSON list of names", classesKey, text)
		}
		if n := len(s.Images.Classes); n != s.Classes {
			return fmt.Errorf("metadata %q has %d names, expected %d, the rows of fc.weight", classesKey, n, s.Classes)
		}
	}
	if text, ok := f.Metadata[pixelsKey]; ok {
		p := &s.Images.Pixels
		err := json.Unmarshal([]byte(text), p)
		if err != nil || !slices.Contains([]imageset.Resize{"", imageset.Stretch, imageset.Fit}, p.Resize) ||
			!slices.Contains([]imageset.Background{"", imageset.Contrast, imageset.Black, imageset.White}, p.Background) {
			return fmt.Errorf("metadata %q is %.100q, expected how pictures are prepared, such as %s",
				pixelsKey, text, `{"resize":"fit","invert":false,"background":"white"}`)
		}
	}
	return nil
}

// StateFrom returns the state of a network of sizes c whose tensors f holds under names that begin
// with prefix. It is the inverse of Tensors.
func StateFrom(f *safetensors.File, prefix string, c Config) (*State, error) {
	l := c.Layout()
	s := &State{Config: c, Images: c.imageSize()}
	var err error
	if s.Params, err = l.ParamsFrom(f, prefix); err != nil {
		return nil, err
	}
	if s.Buffers, err = flatFrom(f, prefix, l.Buffers, l.BufferLen); err != nil {
		return nil, err
	}
	var counts [len(trackedNames)]int64
	for i, name := range trackedNames {
		if counts[i], err = counterFrom(f, prefix+name); err != nil {
			return nil, err
		}
	}
	s.NumBatchesTracked, s.TrackedLead = counts[0], counts[1]-counts[0]
	return s, nil
}

// counterFrom returns a counter of batches, 0 if it is missing. Converters leave counters as numbers
// of any type, and as arrays of one element.
func counterFrom(f *safetensors.File, name string) (int64, error) {
	t := f.Get(name)
	if t == nil {
		return 0, nil
	}
	if len(t.Shape) > 0 && !slices.Equal(t.Shape, []int{1}) {
		return 0, fmt.Errorf("tensor %q has shape %v, expected one number of batches", name, t.Shape)
	}
	var x float64
	switch t.DType {
	case safetensors.F64:
		v, err := t.Float64s()
		if err != nil {
			return 0, err
		}
		x = v[0]
	case safetensors.F32, safetensors.F16, safetensors.BF16:
		v, err := t.Float32s()
		if err != nil {
			return 0, err
		}
		x = float64(v[0])
	default:
		v, err := t.Int64s()
		if err != nil {
			return 0, err
		}
		if v[0] < 0 {
			return 0, fmt.Errorf("tensor %q is %d, expected a number of batches, at least 0", name, v[0])
		}
		return v[0], nil
	}
	if !(x >= 0 && x < 1<<63 && x == math.Trunc(x)) { // also false for NaN
		return 0, fmt.Errorf("tensor %q is %v, expected a number of batches, whole and at least 0", name, x)
	}
	return int64(x), nil
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
		t := list[i]
		if !slices.Contains(weightTypes, t.DType) {
			return nil, fmt.Errorf("tensor %q has dtype %s, expected F32, F16, BF16 or F64: "+
				"convert it with tensor.float() before save_file", t.Name, t.DType)
		}
		v, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		copy(flat[p.Offset:], v)
	}
	return flat, nil
}

// weightTypes are the types of weights that can be converted to float32.
var weightTypes = []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F64}

// find returns the tensor of that name and shape.
func find(f *safetensors.File, name string, shape []int) (*safetensors.Tensor, error) {
	t := f.Get(name)
	if t == nil && strings.Contains(name, "bias") {
		return nil, fmt.Errorf("tensor %q is missing, expected one of shape %v: a layer made with bias=False "+
			"computes the same with torch.zeros as its bias: add them before save_file", name, shape)
	}
	if t == nil {
		return nil, fmt.Errorf("tensor %q is missing, expected one of shape %v", name, shape)
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("tensor %q has shape %v, expected %v", name, t.Shape, shape)
	}
	return t, nil
}

// inferConfig reads the sizes of a network from the shapes of its weights, and from the metadata the
// size of its images. StateFrom checks the rest of the shapes.
func inferConfig(f *safetensors.File, prefix string) (Config, error) {
	c := Default()
	c.Dropout = 0
	for i, sizes := range [len(sizeNames)][]*int{ // those that each dimension gives; nil: none
		{&c.Channels[0], &c.ImageChannels, nil, &c.Kernel},
		{&c.Channels[1], nil, nil, nil},
		{&c.HiddenSize, &c.InputSize},
		{&c.Classes, nil},
	} {
		name := prefix + sizeNames[i]
		t := f.Get(name)
		if t == nil {
			return c, fmt.Errorf("tensor %q is missing: not the weights of this network", name)
		}
		if len(t.Shape) != len(sizes) {
			return c, fmt.Errorf("tensor %q has shape %v, expected %d dimensions", name, t.Shape, len(sizes))
		}
		for i, size := range sizes {
			if size != nil {
				*size = t.Shape[i]
			}
		}
	}
	c.NumLayers = 1
	for _, t := range f.Tensors {
		// rnn.weight_ih_l3, rnn.bias_hh_l3, … belong to layer 3, the fourth.
		i := strings.LastIndex(t.Name, "_l")
		if !strings.HasPrefix(t.Name, prefix+"rnn.") || i < 0 {
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
	text, recorded := f.Metadata[imageKey]
	if recorded {
		height, width, channels, err := imageset.ParseSize(text)
		if err != nil {
			return c, fmt.Errorf("metadata %q is %w", imageKey, err)
		}
		if channels != c.ImageChannels {
			return c, fmt.Errorf("metadata %q is %q, but tensor %q takes %d channels",
				imageKey, text, prefix+sizeNames[0], c.ImageChannels)
		}
		c.ImageHeight, c.ImageWidth = height, width
	}
	err := c.Validate()
	e := (*SizeError)(nil)
	switch {
	case err == nil:
		return c, nil
	case !errors.As(err, &e) || e.Field != "input-size":
		source := "the tensors' shapes give"
		if strings.HasPrefix(e.Field, "image") && e.Field != "image channels" {
			source = fmt.Sprintf("metadata %q gives", imageKey)
		}
		return c, fmt.Errorf("%s %w", source, err)
	case recorded:
		return c, fmt.Errorf("metadata %q is %q, but the network takes %d values a step, which do not divide "+
			"the %d that such an image gives", imageKey, text, c.InputSize, c.Features())
	}
	return c, fmt.Errorf("tensor %q takes %d values a step, which do not divide the %d that an image of %s gives: "+
		"the metadata lacks the size of the images: save_file(sd, FILE, metadata={%q: \"32x32x%d\"})",
		prefix+"rnn.weight_ih_l0", c.InputSize, c.Features(), c.imageSize().Size(), imageKey, c.ImageChannels)
}

// imageSize returns the description of images of the network's size, without classes.
func (c Config) imageSize() imageset.Description {
	return imageset.Description{Height: c.ImageHeight, Width: c.ImageWidth, Channels: c.ImageChannels}
}

// maxDimension bounds every dimension of a weight from a file.
const maxDimension = 1 << 20
