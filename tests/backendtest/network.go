package backendtest

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crnn/data"
	"crnn/model"
	"crnn/rng"
	"crnn/tests/fixture"
)

// lr is the recipe's learning rate.
const lr = 5e-4

// gradients gathers the images of the given indices and computes the network's gradients, one
// operator at a time.
func (b *bench) gradients(net *model.Network, images model.Images, indices []int32) {
	b.Helper()
	p := net.Pass(len(indices), true)
	b.must(net.Gather(p, images, indices))
	net.Forward(p)
	net.Loss(p)
	net.Backward(p)
}

// newNetwork returns a network without dropout that has the weights of a fixture.
func (b *bench) newNetwork(maxBatch int) *model.Network {
	b.Helper()
	state, err := model.ReadWeights(fixture.Path(b, b.Meta("weights")))
	b.must(err)
	state.Dropout = 0
	net, err := model.New(b.be, state.Config, model.Options{MaxBatch: maxBatch, Seed: 1})
	b.must(err)
	b.must(net.SetState(state))
	return net
}

func network(b *bench) {
	b.pooled = true
	n := b.int("batch")
	net := b.newNetwork(n)
	images, err := b.be.NewImages(b.U8("images"), b.U8("labels"), net.ImageChannels, net.ImageHeight, net.ImageWidth)
	b.must(err)
	indices := make([]int32, n)
	for i := range indices {
		indices[i] = int32(i)
	}
	b.gradients(net, images, indices)
	logits, err := net.Logits(n)
	b.must(err)
	b.checkValues("logits", logits)
	b.checkTotals(net, model.Totals{}, n)

	grads := b.download(net.Grads)
	for _, p := range net.Layout().Params {
		got := grads[p.Offset:][:p.Len()]
		if strings.HasSuffix(p.Name, ".0.bias") {
			// Batch normalisation removes the bias: its gradient is 0, and only the rounding of
			// sums of some thousand terms below 1 remains.
			for i, v := range got {
				if !(math.Abs(float64(v)) <= 1e-5) {
					b.Errorf("grad.%s[%d] = %v, want 0 within 1e-5", p.Name, i, v)
				}
			}
			continue
		}
		b.checkValues("grad."+p.Name, got)
	}
	state, err := net.State()
	b.must(err)
	for _, p := range net.Layout().Buffers {
		b.checkValues("after."+p.Name, state.Buffers[p.Offset:][:p.Len()])
	}
	if want := b.I64("after.layer1.1.num_batches_tracked")[0]; state.NumBatchesTracked != want {
		b.Errorf("num_batches_tracked %d, want %d", state.NumBatchesTracked, want)
	}
	net.Forward(net.Pass(n, false))
	logits, err = net.Logits(n)
	b.must(err)
	b.checkValues("logits_eval", logits)
}

// Trajectory trains steps (at most 30) steps of the recipe without dropout on the first images
// of the training set, from given weights, and compares each step's loss with PyTorch's in float64.
func Trajectory(t *testing.T, be model.Backend, set *data.Set, steps int) {
	b := &bench{T: t, File: fixture.Load(t, "trajectory"), be: be}
	n := b.int("batch")
	net := b.newNetwork(n)
	images, err := be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
	b.must(err)
	want, worst := b.F64("losses"), 0.0
	for i := range steps {
		indices := make([]int32, n)
		for j := range indices {
			indices[j] = int32(i*n + j)
		}
		b.must(net.SetTotals(model.Totals{}))
		b.gradients(net, images, indices)
		net.Update(lr)
		sum, err := net.Totals()
		b.must(err)
		loss := sum.Loss / float64(n)
		// PyTorch's own float32 run is 1.3e-7 away from its float64 run. Through 30 steps of Adam,
		// another order of summation has moved a loss by at most 1.9e-5 on any device so far.
		off := math.Abs(loss/want[i] - 1)
		worst = max(worst, off)
		if !(off <= 4e-5) {
			t.Errorf("step %d: loss %v, want %v", i+1, loss, want[i])
		}
	}
	t.Logf("largest difference from PyTorch in float64: %.2g", worst)
}

// SameLosses trains the recipe, dropout on, for 20 steps from the same seed on two devices.
// They draw the same initial weights and masks, so that their losses differ by rounding only.
func SameLosses(t *testing.T, open, other Device, set *data.Set) {
	losses := func(be model.Backend) []float64 {
		const n, seed = 50, 7
		b := &bench{T: t, be: be}
		net, err := model.New(be, model.Default(), model.Options{MaxBatch: n, Seed: seed})
		b.must(err)
		b.must(net.Init(seed))
		images, err := be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
		b.must(err)
		all, _ := data.Split(set.Count, 0.1, seed)
		order := data.Order(all, seed, 0, true)
		var losses []float64
		for i := range 20 {
			b.must(net.SetTotals(model.Totals{}))
			b.must(net.Step(images, order[i*n:][:n], lr))
			sum, err := net.Totals()
			b.must(err)
			losses = append(losses, sum.Loss/n)
		}
		return losses
	}
	got, want := losses(open(t)), losses(other(t))
	worst := 0.0
	for i := range want {
		// Another order of summation moves a gradient by some 1e-6 of it. Adam divides by the
		// gradient's size, so a parameter that hardly matters moves by up to a step. One element of
		// one mask moves the loss by more than 1e-3.
		off := math.Abs(got[i]/want[i] - 1)
		worst = max(worst, off)
		if !(off <= 1e-4) {
			t.Errorf("step %d: loss %v, want %v", i+1, got[i], want[i])
		}
	}
	t.Logf("largest difference: %.2g", worst)
}

// small is a network of odd sizes with dropout, in which every operator must pad something, and both
// pools leave out a row or column.
func small() model.Config {
	return model.Config{
		ImageHeight: 9, ImageWidth: 14, ImageChannels: 3, Channels: [2]int{3, 5}, Kernel: 3,
		InputSize: 6, HiddenSize: 7, NumLayers: 3, Classes: 4, Dropout: 0.3,
	}
}

// small5 is a network whose 5x5 filters take a faster way on the CPU, with many threads and groups
// of samples. Its channels and rows of tiles are odd there.
func small5() model.Config {
	c := smallest5()
	c.ImageHeight, c.ImageWidth, c.InputSize = 13, 46, 11
	return c
}

// smallest5 is small5 with images as small as small's, for emulators and for float64.
func smallest5() model.Config {
	c := small()
	c.Channels, c.Kernel = [2]int{9, 17}, 5
	return c
}

// randomImages returns n images of c's size. A larger n gives the same images first.
func randomImages(c model.Config, n int) (pixels, labels []uint8) {
	stream := rng.Stream{Seed: 99}
	for range n {
		labels = append(labels, uint8(stream.Below(uint32(c.Classes))))
		for range c.ImageHeight * c.ImageWidth * c.ImageChannels {
			pixels = append(pixels, uint8(stream.Below(256)))
		}
	}
	return
}

func count(n int) []int32 {
	a := make([]int32, n)
	for i := range a {
		a[i] = int32(i)
	}
	return a
}

// finiteDifferences compares the gradient of a small network, dropout on, with differences of
// its loss in float64.
func finiteDifferences(t *testing.T, be model.Backend, c model.Config) {
	b := &bench{T: t, be: be}
	const n, seed, step = 4, 3, 11
	net, err := model.New(be, c, model.Options{MaxBatch: n, Seed: seed})
	b.must(err)
	b.must(net.Init(5))
	net.SetStep(step)
	pixels, labels := randomImages(c, n)
	images, err := be.NewImages(pixels, labels, c.ImageChannels, c.ImageHeight, c.ImageWidth)
	b.must(err)
	b.gradients(net, images, count(n))

	state, err := net.State()
	b.must(err)
	r := &reference{Config: c, params: map[string][]float64{}, seed: seed, step: step}
	for _, p := range net.Layout().Params {
		for _, v := range state.Params[p.Offset:][:p.Len()] {
			r.params[p.Name] = append(r.params[p.Name], float64(v))
		}
	}
	var inputs []image
	for i := range n {
		m := newImage(c.ImageChannels, c.ImageHeight, c.ImageWidth)
		for j := range m.v {
			m.v[j] = float64(pixels[i*len(m.v)+j]) / 255
		}
		inputs = append(inputs, m)
	}

	sum, err := net.Totals()
	b.must(err)
	if want := r.loss(inputs, labels); math.Abs(sum.Loss/n-want) > 1e-6 {
		t.Errorf("loss %v, want %v", sum.Loss/n, want)
	}
	grads := b.download(net.Grads)
	for _, p := range net.Layout().Params {
		values := r.params[p.Name]
		for i := 0; i < p.Len(); i += max(1, p.Len()/25) {
			const h = 1e-6 // the loss rounds to 1e-16, so a difference errs by 1e-10 and by h²
			at := values[i]
			values[i] = at + h
			up := r.loss(inputs, labels)
			values[i] = at - h
			down := r.loss(inputs, labels)
			values[i] = at
			want, got := (up-down)/(2*h), float64(grads[p.Offset+i])
			// float32 loses some 1e-6 of the largest gradients, which are below 1 here.
			if !(math.Abs(got-want) <= 2e-6) {
				t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
			}
		}
	}
}

// run makes some training steps of a network with n images per step, and returns all the resulting
// bits.
func run(t testing.TB, be model.Backend, c model.Config, maxBatch, n int) []float32 {
	b := &bench{T: t.(*testing.T), be: be}
	net, err := model.New(be, c, model.Options{MaxBatch: maxBatch, Seed: 3})
	b.must(err)
	b.must(net.Init(5))
	pixels, labels := randomImages(c, maxBatch)
	images, err := be.NewImages(pixels, labels, c.ImageChannels, c.ImageHeight, c.ImageWidth)
	b.must(err)
	if maxBatch > n { // fill the rest of every buffer
		all := net.Pass(maxBatch, true)
		b.must(net.Gather(all, images, count(maxBatch)))
		net.Forward(all)
		net.Backward(all)
		// A diverged run leaves NaN behind.
		nan := make([]float32, net.Layout().ParamLen)
		for i := range nan {
			nan[i] = float32(math.NaN())
		}
		b.must(be.Upload(net.Params, nan))
		net.Forward(all)
		net.Backward(all)
		b.must(net.Init(5))
	}
	for range 3 {
		b.gradients(net, images, count(n))
		net.Update(lr)
	}
	net.Forward(net.Pass(n, false))
	logits, err := net.Logits(n)
	b.must(err)
	return slices.Concat(b.download(net.Params), b.download(net.Grads), b.download(net.Buffers), logits)
}

// partialBatch checks that a network for larger batches gives a smaller one the same bits.
func partialBatch(t *testing.T, be model.Backend) {
	for _, c := range []model.Config{small(), small5()} {
		sameBits(t, run(t, be, c, 9, 5), run(t, be, c, 5, 5))
	}
}

func repeats(t *testing.T, open Device) {
	for _, c := range []model.Config{small(), small5()} {
		sameBits(t, run(t, open(t), c, 9, 9), run(t, open(t), c, 9, 9))
	}
}

// together checks that operators inside Together give the same bits as one by one, for batches of
// changing size.
func together(t *testing.T, open Device) {
	for _, c := range []model.Config{small(), smallest5()} {
		type do func(b *bench, net *model.Network, images model.Images, indices []int32)
		results := func(step, evaluate do) (all []float32) {
			b := &bench{T: t, be: open(t)}
			const most = 17
			net, err := model.New(b.be, c, model.Options{MaxBatch: most, Seed: 3})
			b.must(err)
			b.must(net.Init(5))
			pixels, labels := randomImages(c, most)
			images, err := b.be.NewImages(pixels, labels, c.ImageChannels, c.ImageHeight, c.ImageWidth)
			b.must(err)
			for _, n := range []int{most, 5, 9} {
				evaluate(b, net, images, count(most)[most-n:])
				logits, err := net.Logits(n)
				b.must(err)
				totals, err := net.Totals()
				b.must(err)
				all = append(append(all, logits...), float32(totals.Loss), float32(totals.Hits))
				step(b, net, images, count(n))
			}
			return append(all, b.download(net.Params)...)
		}
		got := results(
			func(b *bench, net *model.Network, images model.Images, indices []int32) {
				b.must(net.Step(images, indices, lr))
			},
			func(b *bench, net *model.Network, images model.Images, indices []int32) {
				b.must(net.Evaluate(images, indices))
			})
		want := results(
			func(b *bench, net *model.Network, images model.Images, indices []int32) {
				b.gradients(net, images, indices)
				net.Update(lr)
			},
			func(b *bench, net *model.Network, images model.Images, indices []int32) {
				p := net.Pass(len(indices), false)
				b.must(net.Gather(p, images, indices))
				net.Forward(p)
				net.Loss(p)
			})
		sameBits(t, got, want)
	}
}

// weightsInForce trains a step and evaluates, in turn. Data that a device derives from the weights,
// such as packed filters, must follow them: a new network with the same weights gives the same
// bits.
func weightsInForce(t *testing.T, open Device) {
	for _, c := range []model.Config{small(), smallest5()} {
		c.Dropout = 0
		const n = 5
		pixels, labels := randomImages(c, n)
		logits := func(net *model.Network, be model.Backend) (all []float32) {
			b := &bench{T: t, be: be}
			images, err := be.NewImages(pixels, labels, c.ImageChannels, c.ImageHeight, c.ImageWidth)
			b.must(err)
			for _, train := range []bool{false, true} {
				p := net.Pass(n, train)
				b.must(net.Gather(p, images, count(n)))
				net.Forward(p)
				values, err := net.Logits(n)
				b.must(err)
				all = append(all, values...)
			}
			b.must(net.Step(images, count(n), lr))
			return
		}
		b := &bench{T: t, be: open(t)}
		net, err := model.New(b.be, c, model.Options{MaxBatch: n, Seed: 3})
		b.must(err)
		b.must(net.Init(5))
		for range 2 {
			state, err := net.State()
			b.must(err)
			be := open(t)
			fresh, err := model.New(be, c, model.Options{MaxBatch: n, Seed: 3})
			b.must(err)
			b.must(fresh.SetState(state))
			sameBits(t, logits(net, b.be), logits(fresh, be))
		}
	}
}

// SameBits trains a network on two devices, which must give the same bits.
func SameBits(t *testing.T, open, other Device) {
	for _, n := range []int{1, 2, 9, 40} {
		t.Run("batch="+strconv.Itoa(n), func(t *testing.T) {
			sameBits(t, run(t, open(t), small(), n, n), run(t, other(t), small(), n, n))
		})
	}
	t.Run("5x5", func(t *testing.T) { sameBits(t, run(t, open(t), small5(), 37, 37), run(t, other(t), small5(), 37, 37)) })
}

func sameBits(t *testing.T, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("value %d of %d is %v, want %v", i, len(want), got[i], want[i])
		}
	}
}
