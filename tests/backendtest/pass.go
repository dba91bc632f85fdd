package backendtest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"crnn/model"
	"crnn/rng"
)

// random returns an array of numbers in [-scale, scale).
func (b *bench) random(stream *rng.Stream, scale float64, shape ...int) *tensor.Dense {
	b.Helper()
	a := b.alloc(shape...)
	values := make([]float32, a.DataSize())
	for i := range values {
		values[i] = float32(scale * (2*float64(stream.Float32()) - 1))
	}
	b.must(b.be.Upload(a, values))
	return a
}

// parts runs a batch as a whole and in two parts. Masks and the mean of the loss follow the whole
// batch. So the parts give the batch's outputs, and gradients that add up to the batch's gradients.
func parts(t *testing.T, be model.Backend, precision Precision) {
	// A GPU has separate kernels for five layers.
	for _, layers := range []int{3, 5} {
		for _, together := range []bool{false, true} {
			partsOf(&bench{T: t, be: be, precision: precision}, layers, together)
		}
	}
}

func partsOf(b *bench, layers int, together bool) {
	t, be := b.T, b.be
	const n, first, steps, in, hidden, classes = 7, 3, 4, 6, 12, 5
	stream := rng.Stream{Seed: 8}
	rnn := model.RNNSpec{
		MaxBatch: n, TimeSteps: steps, In: in, Hidden: hidden, Dropout: 0.4, Seed: 11,
		X: b.alloc(n, steps, in), DX: b.alloc(n, steps, in), Y: b.alloc(n, hidden), DY: b.alloc(n, hidden),
	}
	for l := range layers {
		width := hidden
		if l == 0 {
			width = in
		}
		rnn.Layers = append(rnn.Layers, model.RNNLayer{
			WeightIH: b.random(&stream, 0.3, hidden, width), WeightHH: b.random(&stream, 0.3, hidden, hidden),
			BiasIH: b.random(&stream, 0.3, hidden), BiasHH: b.random(&stream, 0.3, hidden),
			DWeightIH: b.alloc(hidden, width), DWeightHH: b.alloc(hidden, hidden),
			DBiasIH: b.alloc(hidden), DBiasHH: b.alloc(hidden),
		})
	}
	head := model.HeadSpec{
		MaxBatch: n, In: hidden, Classes: classes, X: rnn.Y, DX: rnn.DY, Logits: b.alloc(n, classes),
		Weight: b.random(&stream, 0.3, classes, hidden), Bias: b.random(&stream, 0.3, classes),
		DWeight: b.alloc(classes, hidden), DBias: b.alloc(classes),
	}
	r, err := be.NewRNN(rnn)
	b.must(err)
	h, err := be.NewHead(head)
	b.must(err)
	labels, err := h.NewLabels()
	b.must(err)
	x, classesOf := make([]float32, n*steps*in), []uint8{0, 4, 2, 2, 1, 3, 0}
	for i := range x {
		x[i] = 2*stream.Float32() - 1
	}

	// run returns the arrays with one row per sample, and the sums over samples.
	run := func(p model.Pass) (rows, sums [][]float32) {
		padded := make([]float32, len(x))
		copy(padded, x[p.First*steps*in:])
		b.must(be.Upload(rnn.X, padded))
		b.gatherLabels(labels, classesOf[p.First:][:p.Samples])
		do := func() {
			r.Forward(p)
			h.Forward(p)
			h.Loss(p, labels)
			h.Backward(p, labels)
			r.Backward(p)
		}
		b.must(h.SetTotals(model.Totals{}))
		if together {
			be.Together(do)
		} else {
			do()
		}
		totals, err := h.Totals()
		b.must(err)
		sums = append(sums, []float32{float32(totals.Loss), float32(totals.Hits), float32(totals.Count)})
		for _, a := range []*tensor.Dense{rnn.Y, head.Logits, rnn.DY, rnn.DX} {
			v := b.download(a)
			rows = append(rows, v[:len(v)/n*p.Samples])
		}
		sums = append(sums, b.download(head.DWeight), b.download(head.DBias))
		for _, l := range rnn.Layers {
			for _, a := range []*tensor.Dense{l.DWeightIH, l.DWeightHH, l.DBiasIH, l.DBiasHH} {
				sums = append(sums, b.download(a))
			}
		}
		return rows, sums
	}
	const step = 1<<33 + 5
	rows, sums := run(model.Pass{Samples: n, Whole: n, Train: true, Step: step})
	left, leftSums := run(model.Pass{Samples: first, Whole: n, Train: true, Step: step})
	right, rightSums := run(model.Pass{Samples: n - first, First: first, Whole: n, Train: true, Step: step})
	for i, want := range rows {
		// A sample's values do not depend on the other samples, but a device may compute them in
		// another way for another number of samples. A wrong mask or mean is off by a third or
		// more.
		near(t, fmt.Sprintf("%d layers, together %v: rows of %d", layers, together, i), append(left[i], right[i]...), want,
			8*float64(b.precision))
	}
	for i, want := range sums {
		got := leftSums[i]
		for j, v := range rightSums[i] {
			got[j] += v
		}
		near(t, fmt.Sprintf("%d layers, together %v: sum %d", layers, together, i), got, want, 8*float64(b.precision))
	}
}

// near fails if an array differs from another by more than a part of its largest magnitude.
func near(t *testing.T, what string, got, want []float32, part float64) {
	t.Helper()
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	if len(got) != len(want) || largest == 0 {
		t.Fatalf("%s: %d values, want %d, the largest %v", what, len(got), len(want), largest)
	}
	for i, v := range want {
		if !(math.Abs(float64(got[i])-float64(v)) <= part*largest) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], v)
		}
	}
}

// whatDoesNotFit passes arguments that must be refused, with an error that names the expected value
// and without a write outside of an array.
func whatDoesNotFit(t *testing.T, open Device) {
	b := &bench{T: t, be: open(t)}
	const n = 3
	c := small()
	net, err := model.New(b.be, c, model.Options{MaxBatch: n, Seed: 1})
	b.must(err)
	b.must(net.Init(1))
	images := func(count, channels, height, width int, label uint8) model.Images {
		labels := make([]uint8, count)
		labels[count-1] = label
		s, err := b.be.NewImages(make([]uint8, count*channels*height*width), labels, channels, height, width)
		b.must(err)
		return s
	}
	right := images(9, c.ImageChannels, c.ImageHeight, c.ImageWidth, uint8(c.Classes-1))
	b.must(net.Step(right, []int32{0, 8, 8}, lr))
	before := b.download(net.Params)

	refused := func(what, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", what, err, want)
		}
	}
	for _, c := range []struct {
		what    string
		images  model.Images
		indices []int32
		want    string
	}{
		{"images of another size", images(9, 3, 16, 14, 0), []int32{0}, "images of 16x14x3, expected 9x14x3"},
		{"gray images", images(9, 1, 9, 14, 0), []int32{0}, "images of 9x14x1, expected 9x14x3"},
		{"a label too large", images(9, c.ImageChannels, c.ImageHeight, c.ImageWidth, uint8(c.Classes)), []int32{0},
			"expected labels below 4"},
		{"an index too large", right, []int32{0, 9}, "image 9 of 9, expected from 0 to 8"},
		{"a negative index", right, []int32{-1}, "image -1 of 9, expected from 0 to 8"},
		{"a batch too large", right, []int32{0, 1, 2, 3}, "gather of 4 samples, expected from 1 to 3"},
		{"an empty batch", right, nil, "gather of 0 samples"},
	} {
		refused(c.what+", training", c.want, net.Step(c.images, c.indices, lr))
		refused(c.what+", evaluated", c.want, net.Evaluate(c.images, c.indices))
		refused(c.what+", predicted", c.want, net.Predict(c.images, c.indices))
	}
	refused("indices for another pass", "2 indices of images for a pass of 1",
		net.Gather(net.Pass(1, false), right, []int32{0, 1}))
	sameBits(t, b.download(net.Params), before) // nothing was trained

	_, err = b.be.NewImages(make([]uint8, 50), make([]uint8, 2), 1, 5, 6)
	refused("pixels for other images", "50 pixels", err)
	_, err = b.be.NewImages(nil, make([]uint8, 2), 1, 0, 6)
	refused("images without pixels", "0x6", err)
	_, err = net.Logits(n + 1)
	refused("logits of too many", "4 samples, expected at most 3", err)
	refused("an optimiser's state of another length", "expected",
		net.SetOptimizerState(model.OptimizerState{"adam_m": {1}}))

	conv := model.ConvBlockSpec{
		MaxBatch: 2, In: 1, Out: 3, Height: 4, Width: 6, Kernel: 3, Eps: 1e-5, Momentum: 0.1,
		X: b.alloc(2, 1, 4, 6), Y: b.alloc(2, 3, 2, 3), DY: b.alloc(2, 3, 2, 3),
		Weight: b.alloc(3, 1, 3, 3), Bias: b.alloc(3), Gamma: b.alloc(3), Beta: b.alloc(3),
		RunningMean: b.alloc(3), RunningVar: b.alloc(3),
		DWeight: b.alloc(3, 1, 3, 3), DBias: b.alloc(3), DGamma: b.alloc(3), DBeta: b.alloc(3),
	}
	for want, change := range map[string]func(s *model.ConvBlockSpec){
		"X has shape [2 1 4 4], expected [2 1 4 6]":    func(s *model.ConvBlockSpec) { s.X = b.alloc(2, 1, 4, 4) },
		"Y has shape [1 3 2 3], expected [2 3 2 3]":    func(s *model.ConvBlockSpec) { s.Y = b.alloc(1, 3, 2, 3) },
		"DX has shape [24], expected [2 1 4 6]":        func(s *model.ConvBlockSpec) { s.DX = b.alloc(24) },
		"Gamma has shape [1], expected [3]":            func(s *model.ConvBlockSpec) { s.Gamma = b.alloc(1) },
		"DBeta is missing, expected an array of shape": func(s *model.ConvBlockSpec) { s.DBeta = nil },
		"expected an odd number":                       func(s *model.ConvBlockSpec) { s.Kernel = 4 },
		"Width is 1, expected at least 2":              func(s *model.ConvBlockSpec) { s.Width = 1 },
	} {
		s := conv
		change(&s)
		_, err := b.be.NewConvBlock(s)
		refused("convolution block", "convolution block 1→3: ", err)
		refused("convolution block", want, err)
	}
	_, err = b.be.NewRNN(model.RNNSpec{MaxBatch: 1, TimeSteps: 2, In: 3, Hidden: 4, Layers: make([]model.RNNLayer, 1),
		X: b.alloc(1, 5)})
	refused("RNN", "RNN: X has shape [1 5], expected [1 2 3]", err)
	_, err = b.be.NewHead(model.HeadSpec{MaxBatch: 1, In: 3, Classes: 300})
	refused("head", "head: Classes is 300, expected from 1 to 256", err)

	// A single operator is refused too: by the next call that returns an error.
	eval, one := model.Pass{Samples: 1, Whole: 1}, model.Pass{Samples: 1, Whole: 1, Train: true}
	most := model.Pass{Samples: n + 1, Whole: n + 1, Train: true}
	beyond := model.Pass{Samples: 2, First: 1, Whole: 2, Train: true}
	for want, do := range map[string]func(o operators){
		"convolution block 1→3 forward of 4 samples, expected from 1 to 3": func(o operators) {
			o.conv.Forward(most)
		},
		"convolution block 1→3 forward of samples 1 to 2 of a batch of 2": func(o operators) {
			o.conv.Forward(beyond)
		},
		"convolution block 1→3 backward of 4 samples": func(o operators) {
			o.conv.Forward(one)
			o.conv.Backward(most)
		},
		"convolution block 1→3 backward for a pass that is not a": func(o operators) {
			o.conv.Forward(one)
			o.conv.Backward(eval)
		},
		"RNN forward of 4 samples": func(o operators) { o.rnn.Forward(most) },
		"convolution block 1→3 backward of samples 0 to 0 of a batch of 1 in training after 0 steps, " +
			"expected the pass of the last forward: samples 0 to 2 of a batch of 3 in training": func(o operators) {
			o.conv.Forward(pass(n, true))
			o.conv.Backward(one)
		},
		"convolution block 1→3 backward of samples 0 to 0 of a batch of 1 in training after 0 steps, " +
			"expected the pass of the last forward: none": func(o operators) { o.conv.Backward(one) },
		"RNN backward of samples 0 to 0 of a batch of 1 in training after 0 steps, " +
			"expected the pass of the last forward: samples 0 to 0 of a batch of 2": func(o operators) {
			o.rnn.Forward(model.Pass{Samples: 1, Whole: 2, Train: true})
			o.rnn.Backward(one)
		},
		"RNN backward of 4 samples": func(o operators) {
			o.rnn.Forward(one)
			o.rnn.Backward(most)
		},
		"RNN backward for a pass that is not a training pass": func(o operators) {
			o.rnn.Forward(one)
			o.rnn.Backward(eval)
		},
		"head forward of 4 samples":                       func(o operators) { o.head.Forward(most) },
		"loss of 4 samples":                               func(o operators) { o.head.Loss(most, o.labels) },
		"loss of 3 samples with room for the labels of 2": func(o operators) { o.head.Loss(pass(n, true), o.few) },
		"loss of 4 classes with labels of 5":              func(o operators) { o.head.Loss(one, o.more) },
		"head backward of 4 samples":                      func(o operators) { o.head.Backward(most, o.labels) },
		"head backward of 3 samples with room for the labels of 2": func(o operators) {
			o.head.Backward(pass(n, true), o.few)
		},
		"Adam of 6 parameters with an array of 5 elements": func(o operators) {
			o.be.Adam(o.flat, o.flat, o.flat, o.shorter, model.AdamStep{Step: 1})
		},
	} {
		be := open(t)
		o := newOperators(t, be, n)
		do(o)
		refused("a single operator", want, be.Sync())
		refused("all that follows", want, be.Upload(o.flat, make([]float32, 6)))
		refused("all that follows", want, be.Download(make([]float32, 6), o.flat))
	}
	// Labels with room for fewer samples than the images' array.
	o := newOperators(t, b.be, n)
	refused("few labels", "gather of 3 samples with room for the labels of 2",
		right.Gather(pass(n, false), []int32{0, 1, 2}, b.alloc(n, c.ImageChannels, c.ImageHeight, c.ImageWidth), o.few))
}

// operators are one of each kind.
type operators struct {
	be                model.Backend
	conv              model.ConvBlock
	rnn               model.RNN
	head              model.Head
	labels, few, more model.Labels // the head's; with room for fewer samples, and of more classes
	flat, shorter     *tensor.Dense
}

func newOperators(t *testing.T, be model.Backend, n int) operators {
	b := &bench{T: t, be: be}
	conv, err := be.NewConvBlock(model.ConvBlockSpec{
		MaxBatch: n, In: 1, Out: 3, Height: 4, Width: 6, Kernel: 3, Eps: 1e-5, Momentum: 0.1,
		X: b.alloc(n, 1, 4, 6), Y: b.alloc(n, 3, 2, 3), DY: b.alloc(n, 3, 2, 3),
		Weight: b.alloc(3, 1, 3, 3), Bias: b.alloc(3), Gamma: b.alloc(3), Beta: b.alloc(3),
		RunningMean: b.alloc(3), RunningVar: b.alloc(3),
		DWeight: b.alloc(3, 1, 3, 3), DBias: b.alloc(3), DGamma: b.alloc(3), DBeta: b.alloc(3),
	})
	b.must(err)
	rnn, err := be.NewRNN(model.RNNSpec{
		MaxBatch: n, TimeSteps: 2, In: 3, Hidden: 4, Layers: []model.RNNLayer{{
			WeightIH: b.alloc(4, 3), WeightHH: b.alloc(4, 4), BiasIH: b.alloc(4), BiasHH: b.alloc(4),
			DWeightIH: b.alloc(4, 3), DWeightHH: b.alloc(4, 4), DBiasIH: b.alloc(4), DBiasHH: b.alloc(4),
		}},
		X: b.alloc(n, 2, 3), DX: b.alloc(n, 2, 3), Y: b.alloc(n, 4), DY: b.alloc(n, 4),
	})
	b.must(err)
	head := func(maxBatch, classes int) (model.Head, model.Labels) {
		h, err := be.NewHead(model.HeadSpec{
			MaxBatch: maxBatch, In: 4, Classes: classes, X: b.alloc(maxBatch, 4), DX: b.alloc(maxBatch, 4),
			Logits: b.alloc(maxBatch, classes), Weight: b.alloc(classes, 4), Bias: b.alloc(classes),
			DWeight: b.alloc(classes, 4), DBias: b.alloc(classes),
		})
		b.must(err)
		labels, err := h.NewLabels()
		b.must(err)
		return h, labels
	}
	o := operators{be: be, conv: conv, rnn: rnn, flat: b.alloc(6), shorter: b.alloc(5)}
	o.head, o.labels = head(n, 4)
	_, o.few = head(n-1, 4)
	_, o.more = head(n, 5)
	return o
}
