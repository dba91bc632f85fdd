package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crnn/data/imageset"
	"crnn/model/safetensors"
)

// smallConfig draws sizes that validate and keep a state to some kilobytes.
func smallConfig(t *rapid.T) Config {
	c := Default()
	c.Dropout = 0
	c.Channels = [2]int{rapid.IntRange(1, 5).Draw(t, "channels 1"), rapid.IntRange(1, 5).Draw(t, "channels 2")}
	c.Kernel = 2*rapid.IntRange(0, 2).Draw(t, "kernel/2") + 1
	c.ImageHeight = rapid.IntRange(4, 40).Draw(t, "height")
	c.ImageWidth = rapid.IntRange(4, 40).Draw(t, "width")
	c.ImageChannels = rapid.SampledFrom([]int{1, 3}).Draw(t, "image channels")
	c.InputSize = c.ImageWidth / 2 / 2 * rapid.SampledFrom([]int{1, c.ImageHeight / 2 / 2}).Draw(t, "input/width")
	c.HiddenSize = rapid.IntRange(1, 9).Draw(t, "hidden")
	c.NumLayers = rapid.IntRange(1, 12).Draw(t, "layers")
	c.Classes = rapid.IntRange(2, 11).Draw(t, "classes")
	return c
}

func TestWeightsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := NewState(smallConfig(t), rapid.Uint64().Draw(t, "seed"))
		want.NumBatchesTracked = rapid.Int64Range(0, math.MaxInt64).Draw(t, "batches of layer1")
		want.TrackedLead = rapid.Int64Range(0, math.MaxInt64).Draw(t, "batches of layer2") - want.NumBatchesTracked
		if rapid.Bool().Draw(t, "with classes") {
			n := want.Classes
			want.Images.Classes = rapid.SliceOfN(rapid.String(), n, n).Draw(t, "names")
			want.Images.Pixels = imageset.Pixels{
				Resize:     rapid.SampledFrom([]imageset.Resize{imageset.Stretch, imageset.Fit}).Draw(t, "resize"),
				Invert:     rapid.Bool().Draw(t, "invert"),
				Background: rapid.SampledFrom([]imageset.Background{imageset.Contrast, imageset.Black}).Draw(t, "background"),
			}
		}
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

// oddNames are names of classes that a careless writer or reader would change.
var oddNames = []string{"", " a ", "\x00\x1f\x7f", "one\ntwo\r\n", `"quoted" \ and \u0041`, "<b>&amp;</b>",
	"šál, 帽子, شال, 👟", "e\u0301", "\u2028\u2029\ufeff", `["a","b"]`}

// describedState is a small state with all that the metadata holds.
func describedState() *State {
	c := Default()
	c.ImageHeight, c.ImageWidth, c.ImageChannels, c.Classes, c.Dropout = 30, 23, 3, len(oddNames), 0
	c.Channels, c.InputSize, c.HiddenSize, c.NumLayers = [2]int{2, 4}, 28, 3, 2
	s := NewState(c, 1)
	s.Images.Classes = oddNames
	s.Images.Pixels = imageset.Pixels{Resize: imageset.Fit, Invert: true, Background: imageset.White}
	return s
}

// setVersion sets Version for a test.
func setVersion(t *testing.T, version string) {
	before := Version
	t.Cleanup(func() { Version = before })
	Version = version
}

func TestMetadata(t *testing.T) {
	setVersion(t, "1.2.3")
	path := filepath.Join(t.TempDir(), "w.safetensors")
	s := describedState()
	s.Images.Classes = slices.Clone(oddNames)
	s.Images.Classes[3] = "<é\n"
	for _, c := range []struct {
		name string
		make func()
		want map[string]string
	}{
		{"all", func() {}, map[string]string{
			"format": "pt", "crnn.image": "30x23x3", "crnn.version": "1.2.3",
			"crnn.classes": `[""," a ","\u0000\u001f` + "\x7f" + `","<é\n","\"quoted\" \\ and \\u0041","<b>&amp;</b>",` +
				`"šál, 帽子, شال, 👟","e` + "\u0301" + `","\u2028\u2029` + "\ufeff" + `","[\"a\",\"b\"]"]`,
			"crnn.pixels": `{"resize":"fit","invert":true,"background":"white"}`,
		}},
		{"without data", func() { s.Images.Classes = nil },
			map[string]string{"format": "pt", "crnn.image": "30x23x3", "crnn.version": "1.2.3"}},
		{"without a version", func() { Version = "" }, map[string]string{"format": "pt", "crnn.image": "30x23x3"}},
	} {
		c.make()
		if err := WriteWeights(path, s); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, f.Metadata); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	s.Images.Classes = []string{"one"}
	if err := WriteWeights(path, s); err == nil || !strings.Contains(err.Error(), "names of 1 classes, expected 10") {
		t.Errorf("one name for 10 classes: error %v", err)
	}
}

// Weights for images of another size record it: nothing else in them shows it.
func TestWeightsOfAnotherImageSize(t *testing.T) {
	c := Default()
	c.ImageHeight, c.ImageWidth, c.InputSize, c.Dropout = 32, 24, 64, 0
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := WriteWeights(path, NewState(c, 1)); err != nil {
		t.Fatal(err)
	}
	state, err := ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := newHostNetwork(t, Default()).SetState(state); err == nil {
		t.Error("a network for images of 28x28 took weights for 32x24")
	}
}

func TestReadWeightsRefusesMetadata(t *testing.T) {
	const classes, pixels = "crnn.classes", "crnn.pixels"
	for _, c := range []struct{ key, text, want string }{
		{imageKey, "", `"": expected height, width and channels`},
		{imageKey, "32", "expected height, width and channels"},
		{imageKey, "30x23", "expected height, width and channels"},
		{imageKey, "30x23x3x1", "expected height, width and channels"},
		{imageKey, "0x23x3", "expected height, width and channels"},
		{imageKey, "30x-4x3", "expected height, width and channels"},
		{imageKey, "30x23xthree", "expected height, width and channels"},
		{imageKey, "99999999x23x3", "expected height, width and channels"},
		{imageKey, "30x3x3", "gives image width 3: must be from 4"},
		{imageKey, "30x23x1", `is "30x23x1", but tensor "layer1.0.weight" takes 3 channels`},
		{imageKey, "22x23x3", "takes 28 values a step, which do not divide the 100 that such an image gives"},
		{classes, "", "expected a JSON list of names"},
		{classes, `{"a":1}`, "expected a JSON list of names"},
		{classes, `[1,2]`, "expected a JSON list of names"},
		{classes, `["a","b"]x`, "expected a JSON list of names"},
		{classes, `null`, "has 0 names, expected 10, the rows of fc.weight"},
		{classes, `["a","b"]`, "has 2 names, expected 10, the rows of fc.weight"},
		{pixels, `fit`, "expected how pictures are prepared"},
		{pixels, `{"resize":"crop"}`, "expected how pictures are prepared"},
		{pixels, `{"background":"pink\n"}`, "expected how pictures are prepared"},
		{pixels, `{"invert":"yes"}`, "expected how pictures are prepared"},
	} {
		f := fileOf(describedState())
		f.Metadata = map[string]string{imageKey: "30x23x3"}
		if _, err := stateOf(f); err != nil {
			t.Fatal(err)
		}
		f.Metadata[c.key] = c.text
		_, err := stateOf(f)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), strconv.Quote(c.key)) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %q: error %v, want one line with %s", c.key, c.text, err, c.want)
		}
	}
}

// Metadata of other programs and of later versions say nothing to this one.
func TestForeignMetadata(t *testing.T) {
	want := describedState()
	want.Images.Classes, want.Images.Pixels = nil, imageset.Pixels{}
	f := fileOf(want)
	f.Metadata = map[string]string{imageKey: "30x23x3", "crnn.mood": "?", "classes": "3", "author": "\n"}
	got, err := stateOf(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A file without the size of its images is taken as of the recipe's size, with the channels of its
// first convolution.
func TestMissingImageSize(t *testing.T) {
	c := Default()
	c.ImageChannels, c.Dropout = 3, 0
	got, err := stateOf(fileOf(NewState(c, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := NewState(c, 1)
	want.Notes = []string{`its metadata lacks "crnn.image", so images of 28x28x3 are expected`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// It divides the 64*8*7 values of these images, but not the 64*7*7 of 28x28.
	c.ImageHeight, c.ImageWidth, c.InputSize = 32, 30, 512
	_, err = stateOf(fileOf(NewState(c, 1)))
	const remedy = `save_file(sd, FILE, metadata={"crnn.image": "32x32x3"})`
	if err == nil || !strings.Contains(err.Error(), remedy) || !strings.Contains(err.Error(), "28x28x3") {
		t.Errorf("error %v, want one with %s", err, remedy)
	}
}

// Weights that PyTorch wrote are read and written back to the same bytes, but for the metadata.
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
		size := Default().imageSize().Size()
		wantHeader := strings.Replace(header(want), `{"format":"pt"}`, `{"crnn.image":"`+size+`","format":"pt"}`, 1)
		if diff := cmp.Diff(wantHeader, header(got)); diff != "" {
			t.Errorf("%s: header %s", name, diff)
		}
		if !bytes.Equal(data(got), data(want)) {
			t.Errorf("%s: the copy's data differ from what PyTorch wrote", name)
		}
	}
}

// header returns the JSON of a safetensors file without the spaces that fill it.
func header(b []byte) string {
	return strings.TrimRight(string(b[8:8+binary.LittleEndian.Uint64(b)]), " ")
}

// data returns the tensors' bytes of a safetensors file.
func data(b []byte) []byte { return b[8+binary.LittleEndian.Uint64(b):] }

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
	as := func(d safetensors.DType, name string, shape []int, data ...byte) func(f *safetensors.File) {
		return replace(safetensors.Tensor{Name: name, DType: d, Shape: shape, Data: data})
	}
	rename := func(change func(name string) string) func(f *safetensors.File) {
		return func(f *safetensors.File) {
			for i := range f.Tensors {
				f.Tensors[i].Name = change(f.Tensors[i].Name)
			}
		}
	}
	const counter = "layer1.1.num_batches_tracked"
	for name, test := range map[string]struct {
		change func(*safetensors.File)
		want   string
	}{
		"weight missing": {remove("rnn.weight_hh_l1"),
			`"rnn.weight_hh_l1" is missing, expected one of shape [3 3]`},
		"first weight missing":      {remove("layer1.0.weight"), `"layer1.0.weight" is missing`},
		"weight_ih of the last":     {remove("rnn.weight_ih_l1"), `"rnn.weight_ih_l1" is missing`},
		"running statistic missing": {remove("layer2.1.running_var"), `"layer2.1.running_var" is missing`},
		"one too many":              {add(floats("extra", 1)), `"extra" is one too many`},
		"a reverse direction": {add(floats("rnn.weight_ih_l0_reverse", 3, 28)),
			`"rnn.weight_ih_l0_reverse" of shape [3 28] is of a bidirectional RNN, expected nn.RNN`},
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
			"image channels 2: must be 1 (gray) or 3 (colours)"},
		"no channel":           {replace(floats("layer2.0.weight", 0, 2, 5, 5)), "dimension of 0"},
		"huge empty dimension": {replace(floats("layer2.0.weight", 1<<40, 0, 5, 5)), "dimension of 1099511627776"},
		"huge hidden size":     {replace(floats("rnn.weight_ih_l0", 1<<20, 0)), "dimension of 0"},
		"input that does not fit": {replace(floats("rnn.weight_ih_l0", 3, 57)),
			"takes 57 values a step, which do not divide the 196 that an image of 28x28x1 gives"},
		"an LSTM": {func(f *safetensors.File) {
			replace(floats("rnn.weight_ih_l0", 12, 28))(f)
			replace(floats("rnn.weight_hh_l0", 12, 3))(f)
		}, `"rnn.weight_hh_l0" of shape [12 3] is of an LSTM, expected nn.RNN with tanh`},
		"a GRU of another name": {rename(func(name string) string { return strings.Replace(name, "rnn.", "gru.", 1) }),
			`"rnn.weight_ih_l0" is missing: not the weights of this network`},
		"a GRU": {func(f *safetensors.File) {
			replace(floats("rnn.weight_hh_l0", 9, 3))(f)
			rename(func(name string) string { return "m." + strings.Replace(name, "rnn.", "gru.", 1) })(f)
		}, `"m.gru.weight_hh_l0" of shape [9 3] is of a GRU, expected nn.RNN with tanh`},
		"an RNN without bias": {func(f *safetensors.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool {
				return strings.HasPrefix(t.Name, "rnn.bias")
			})
		}, `"rnn.bias_ih_l0" is missing, expected one of shape [3]: a layer made with bias=False computes the same`},
		"8-bit floats": {as(safetensors.F8E4M3, "fc.bias", []int{10}, make([]byte, 10)...),
			`"fc.bias" has dtype F8_E4M3, expected F32, F16, BF16 or F64: convert it with tensor.float() before save_file`},
		"integers": {as(safetensors.I8, "layer1.1.running_var", []int{2}, 1, 1),
			`"layer1.1.running_var" has dtype I8, expected F32, F16, BF16 or F64`},
		"too large for float32": {as(safetensors.F64, "layer1.1.bias", []int{2},
			// 0 and 2^128
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x47),
			`"layer1.1.bias": element 1 is 3.402823669209385e+38, beyond the range of float32`},
		"infinity in F16": {as(safetensors.F16, "layer1.1.bias", []int{2}, 0, 0, 0, 0x7c),
			`"layer1.1.bias": element 1 is +Inf`},
		"negative counter": {as(safetensors.I32, counter, nil, 0xff, 0xff, 0xff, 0xff),
			`"layer1.1.num_batches_tracked" is -1, expected a number of batches, at least 0`},
		"broken counter": {as(safetensors.F32, counter, nil, 0, 0, 0xc0, 0x3f),
			`"layer1.1.num_batches_tracked" is 1.5, expected a number of batches, whole`},
		"counter that is no number": {as(safetensors.F16, counter, nil, 0, 0x7e),
			`"layer1.1.num_batches_tracked" is NaN, expected a number of batches, whole`},
		"counter of 2^63": {as(safetensors.F64, counter, nil, 0, 0, 0, 0, 0, 0, 0xe0, 0x43),
			`"layer1.1.num_batches_tracked" is 9.223372036854776e+18, expected a number of batches`},
		"two counters": {as(safetensors.U8, counter, []int{2}, 1, 1),
			`"layer1.1.num_batches_tracked" has shape [2], expected one number of batches`},
		"no counter": {as(safetensors.I64, counter, []int{0}), "has shape [0], expected one number of batches"},
		"counter of other dtype": {as(safetensors.BOOL, counter, nil, 1),
			`"layer1.1.num_batches_tracked" has dtype BOOL, expected whole numbers`},
		"another prefix": {func(f *safetensors.File) { f.Get("fc.bias").Name = "module.fc.bias" },
			`"module.fc.bias" has "module." before its name, but others have no prefix`},
		"no prefix for one": {rename(func(name string) string {
			if name == "fc.bias" {
				return name
			}
			return "module." + name
		}), `"fc.bias" has no prefix before its name, but others have "module."`},
		// It would be a network of one layer otherwise.
		"a layer of another prefix": {rename(func(name string) string {
			if strings.HasSuffix(name, "_l1") {
				return "b." + name
			}
			return "a." + name
		}), `"b.rnn.bias_hh_l1" has "b." before its name, but others have "a."`},
		"two networks": {func(f *safetensors.File) {
			rename(func(name string) string { return "ema." + name })(f)
			f.Tensors = append(f.Tensors, NewState(c, 2).Tensors("model.")...)
		}, `two networks, one with "ema." and one with "model." before its tensors' names`},
		"a moving average beside": {func(f *safetensors.File) {
			f.Tensors = append(f.Tensors, NewState(c, 2).Tensors("ema.")...)
		}, `two networks, one with no prefix and one with "ema." before`},
		"a compiled part": {rename(func(name string) string { return strings.Replace(name, "rnn.", "rnn._orig_mod.", 1) }),
			`"rnn._orig_mod.bias_hh_l0" is named after a wrapper of a part of the network, expected "rnn.bias_hh_l0"`},
		"one too many behind a prefix": {func(f *safetensors.File) {
			add(floats("extra", 1))(f)
			rename(func(name string) string { return "m." + name })(f)
		}, `"m.extra" is one too many`},
		"missing behind a prefix": {func(f *safetensors.File) {
			remove("fc.weight")(f)
			rename(func(name string) string { return "m." + name })(f)
		}, `"m.fc.weight" is missing`},
		"NaN behind a prefix": {func(f *safetensors.File) {
			replace(safetensors.NewF32("fc.bias", []int{10}, []float32{9: float32(math.NaN())}))(f)
			rename(func(name string) string { return "m." + name })(f)
		}, `"m.fc.bias": element 9 is NaN`},
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
			writeFile(t, path, f)
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

// What wrappers and converters make of a state_dict is read as the same state.
func TestReadWeightsTakes(t *testing.T) {
	c := Default()
	c.Channels, c.InputSize, c.HiddenSize, c.NumLayers, c.Dropout = [2]int{2, 4}, 28, 3, 2, 0
	prefixed := func(prefix string) func(*safetensors.File) {
		return func(f *safetensors.File) {
			for i := range f.Tensors {
				f.Tensors[i].Name = prefix + f.Tensors[i].Name
			}
		}
	}
	// The weights of the state below are eighths, which every type holds.
	convert := func(d safetensors.DType, names ...string) func(*safetensors.File) {
		return func(f *safetensors.File) {
			for i := range f.Tensors {
				t := &f.Tensors[i]
				if t.DType != safetensors.F32 || len(names) > 0 && !slices.Contains(names, t.Name) {
					continue
				}
				v, _ := t.Float32s()
				data := []byte{}
				for _, x := range v {
					switch d {
					case safetensors.BF16:
						data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(x)>>16))
					case safetensors.F64:
						data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(x)))
					}
				}
				t.DType, t.Data = d, data
			}
		}
	}
	counters := func(d safetensors.DType, shape []int, first, second []byte) func(*safetensors.File) {
		return func(f *safetensors.File) {
			for i, data := range [][]byte{first, second} {
				*f.Get(trackedNames[i]) = safetensors.Tensor{Name: trackedNames[i], DType: d, Shape: shape, Data: data}
			}
		}
	}
	all := func(changes ...func(*safetensors.File)) func(*safetensors.File) {
		return func(f *safetensors.File) {
			for _, change := range changes {
				change(f)
			}
		}
	}
	beside := func(names ...string) func(*safetensors.File) {
		return func(f *safetensors.File) {
			for _, name := range names {
				f.Tensors = append(f.Tensors, safetensors.NewI64(name, nil, []int64{3}))
			}
		}
	}
	const left = ", which was left out"
	for name, test := range map[string]struct {
		change      func(*safetensors.File)
		first, lead int64
		notes       []string // after the file's name
	}{
		"module.": {prefixed("module."), 7, 0, []string{`its tensors' names have the prefix "module."` + left}},
		"module._orig_mod.": {prefixed("module._orig_mod."), 7, 0,
			[]string{`its tensors' names have the prefix "module._orig_mod."` + left}},
		"odd prefix": {prefixed("rnn.\n"), 7, 0, []string{`its tensors' names have the prefix "rnn.\n"` + left}},
		"a loss beside": {all(prefixed("model."), beside("loss_fn.weight")), 7, 0, []string{
			`its tensors' names have the prefix "model."` + left,
			`tensor "loss_fn.weight", which is not the network's, was left out`}},
		"a layer of the same name beside": {all(prefixed("model."), beside("n_averaged", "aux.fc.weight")), 7, 0, []string{
			`its tensors' names have the prefix "model."` + left,
			`2 tensors that are not the network's, such as "aux.fc.weight", were left out`}},
		"BF16": {convert(safetensors.BF16), 7, 0, []string{"weights of dtype BF16 were converted to float32"}},
		"mixed types": {all(convert(safetensors.F64, "fc.weight", "layer1.1.running_mean"),
			convert(safetensors.BF16, "rnn.bias_hh_l1"), prefixed("m.")), 7, 0, []string{
			`its tensors' names have the prefix "m."` + left, "weights of dtype BF16 and F64 were converted to float32"}},
		"a frozen layer1":  {counters(safetensors.I64, nil, []byte{7, 7: 0}, []byte{9, 7: 0}), 7, 2, nil},
		"a frozen layer2":  {counters(safetensors.I64, nil, []byte{9, 7: 0}, []byte{7, 7: 0}), 9, -2, nil},
		"counters in I32":  {counters(safetensors.I32, nil, []byte{7, 0, 1, 0}, []byte{7, 0, 1, 0}), 65543, 0, nil},
		"counters in U64":  {counters(safetensors.U64, nil, []byte{7, 7: 0}, []byte{8, 7: 0}), 7, 1, nil},
		"counters in U8":   {counters(safetensors.U8, []int{1}, []byte{200}, []byte{201}), 200, 1, nil},
		"counters in F32":  {counters(safetensors.F32, nil, []byte{0, 0, 0x40, 0x40}, []byte{0, 0, 0x80, 0x40}), 3, 1, nil},
		"counters in BF16": {counters(safetensors.BF16, []int{1}, []byte{0x40, 0x40}, []byte{0x40, 0x40}), 3, 0, nil},
		"counters in F64":  {counters(safetensors.F64, []int{1}, []byte{6: 8, 7: 0x40}, []byte{6: 8, 7: 0x40}), 3, 0, nil},
		"no counters": {func(f *safetensors.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.DType == safetensors.I64 })
		}, 0, 0, nil},
		"no counter of layer2": {func(f *safetensors.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == trackedNames[1] })
		}, 7, -7, nil},
	} {
		t.Run(name, func(t *testing.T) {
			want := NewState(c, 1)
			fill := func(list []Param, flat []float32) {
				for _, p := range list {
					for i := range p.Len() {
						flat[p.Offset+i] = float32(i%50) / 8
					}
				}
			}
			fill(want.Layout().Params, want.Params)
			fill(want.Layout().Buffers, want.Buffers)
			want.NumBatchesTracked = 7
			f := fileOf(want)
			test.change(f)
			path := filepath.Join(t.TempDir(), "w.safetensors")
			writeFile(t, path, f)
			got, err := ReadWeights(path)
			if err != nil {
				t.Fatal(err)
			}
			want.NumBatchesTracked, want.TrackedLead = test.first, test.lead
			for _, note := range test.notes {
				want.Notes = append(want.Notes, path+": "+note)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func writeFile(t *testing.T, path string, f *safetensors.File) {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// States under different prefixes share a file and are read back separately.
func TestStatesShareAFile(t *testing.T) {
	c := Default()
	c.Channels, c.HiddenSize = [2]int{2, 4}, 3
	a, b := NewState(c, 1), NewState(c, 2)
	b.NumBatchesTracked, b.TrackedLead = 7, -2
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

// Python reads the names of classes as they are, and PyTorch converts to float32 as ReadWeights does.
// CRNN_PYTHON names a Python with PyTorch; without it, that of scripts/python-env is used.
func TestWeightsInPython(t *testing.T) {
	python := os.Getenv("CRNN_PYTHON")
	if python == "" {
		venv := filepath.Join("..", ".tools", "venv")
		if _, err := os.Stat(filepath.Join(venv, "installed.txt")); err != nil {
			t.Skip("scripts/python-env has not installed PyTorch")
		}
		python = filepath.Join(venv, "bin", "python")
	}
	setVersion(t, "1.2.3")
	dir := t.TempDir()
	want := describedState()
	if err := WriteWeights(filepath.Join(dir, "w.safetensors"), want); err != nil {
		t.Fatal(err)
	}
	const script = `
import json, sys, torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
folder = sys.argv[1] + "/"
with safe_open(folder + "w.safetensors", "pt") as f:
    m = f.metadata()
print(json.dumps([m["format"], m["crnn.image"], m["crnn.version"], m["crnn.pixels"]] + json.loads(m["crnn.classes"])))
# json.dumps escapes what is not ASCII.
m["crnn.classes"] = json.dumps(json.loads(m["crnn.classes"]))
sd = load_file(folder + "w.safetensors")
sd["fc.bias"] = torch.tensor([1e-45, 6e-8, -6.1e-5, 1/3, -65504, 65519, 3e-39, 0, -0.0, 1e-7])
double = torch.float64
sd["layer2.1.bias"] = torch.tensor([1/3, 3.4028235677973362e38, 7.1e-46, 1 + 2**-24 + 2**-40], dtype=double)
for name in "float16", "bfloat16", "float64":
    # A weight of float64 has bits that float32 drops.
    convert = lambda v: v.to(getattr(torch, name)) if v.is_floating_point() else v
    for suffix, float32 in ("", False), ("-as-float32", True):
        tensors = {k: convert(v) for k, v in sd.items()}
        if name != "float64":
            tensors["layer2.1.bias"] = torch.ones(4).to(getattr(torch, name))
        if float32:
            tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        save_file(tensors, folder + name + suffix + ".safetensors", m)
`
	out, err := exec.Command(python, "-c", script, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	metadata := append([]string{"pt", "30x23x3", "1.2.3", `{"resize":"fit","invert":true,"background":"white"}`},
		want.Images.Classes...)
	if diff := cmp.Diff(metadata, got); diff != "" {
		t.Error(diff)
	}
	for name, dtype := range map[string]string{"float16": "F16", "bfloat16": "BF16", "float64": "F64"} {
		path := filepath.Join(dir, name+".safetensors")
		got, err := ReadWeights(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ReadWeights(filepath.Join(dir, name+"-as-float32.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		want.Notes = []string{path + ": weights of dtype " + dtype + " were converted to float32"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for i, v := range want.Params {
			if math.Float32bits(v) != math.Float32bits(got.Params[i]) { // cmp.Diff takes -0 for 0
				t.Errorf("%s: element %d is %v, want %v", name, i, got.Params[i], v)
			}
		}
		if diff := cmp.Diff(oddNames, got.Images.Classes); diff != "" {
			t.Errorf("%s: names %s", name, diff)
		}
	}
}

// Weights that were read can be written, and read back the same. An error is one line.
func FuzzWeights(f *testing.F) {
	add := func(state *State, metadata map[string]string, change func(name string) string) {
		file := fileOf(state)
		file.Metadata = metadata
		for i := range file.Tensors {
			file.Tensors[i].Name = change(file.Tensors[i].Name)
		}
		var b bytes.Buffer
		if err := safetensors.Write(&b, file); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	// Small files, since the fuzzer takes long to make inputs shorter.
	c := Default()
	c.ImageHeight, c.ImageWidth, c.Channels, c.Kernel, c.InputSize = 4, 5, [2]int{1, 1}, 1, 1
	c.HiddenSize, c.NumLayers, c.Classes = 1, 1, 2
	state := NewState(c, 1)
	state.Images.Classes = []string{"a", "\n"}
	metadata, err := state.metadata()
	if err != nil {
		f.Fatal(err)
	}
	add(state, metadata, func(name string) string { return name })
	add(state, map[string]string{imageKey: "4x5x1", pixelsKey: `{}`}, func(name string) string { return "module." + name })
	add(state, metadata, func(name string) string { return strings.Replace(name, "_l0", "_l0_reverse", 1) })
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := safetensors.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		state, err := stateOf(file)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		for _, note := range state.Notes {
			if strings.Contains(note, "\n") {
				t.Errorf("note of several lines: %q", note)
			}
		}
		again := fileOf(state)
		if again.Metadata, err = state.metadata(); err != nil {
			t.Fatal(err)
		}
		got, err := stateOf(again)
		if err != nil {
			t.Fatal(err)
		}
		state.Notes = nil
		if len(state.Images.Classes) == 0 { // then Pixels are not written
			state.Images.Pixels = imageset.Pixels{}
		}
		if diff := cmp.Diff(state, got); diff != "" {
			t.Error(diff)
		}
	})
}
