//go:build cuda

package gpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"crnn/model"
	"crnn/rng"
)

// rnnSize is an RNN and a batch to try.
type rnnSize struct {
	n, steps, in, hidden, layers int
	dropout                      float64
}

func (s rnnSize) String() string {
	return fmt.Sprintf("n=%d,steps=%d,in=%d,hidden=%d,layers=%d", s.n, s.steps, s.in, s.hidden, s.layers)
}

var rnnSizes = []rnnSize{
	{7, 56, 56, 128, 5, 0.4}, // the recipe's
	{5, 3, 13, 20, 5, 0.3},
	{4, 2, 1, 3, 5, 0},
	{11, 4, 5, 33, 2, 0.25},
	{9, 3, 130, 200, 3, 0.5}, // weights and inputs larger than a tile
	{2, 2, 260, 129, 2, 0},
}

// runRNN makes a forward and a backward pass with random numbers and returns y, dx and the
// parameters' gradients. change, if not nil, may change the operator first.
func runRNN(t *testing.T, be model.Backend, s rnnSize, change func(model.RNN)) [][]float32 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stream := rng.Stream{Seed: 5}
	array := func(scale float64, shape ...int) *tensor.Dense {
		a, err := be.Alloc(shape...)
		must(err)
		values := make([]float32, a.DataSize())
		for i := range values {
			values[i] = float32(scale * (2*float64(stream.Float32()) - 1))
			if scale == 0 { // a result: NaN reveals elements that are not written
				values[i] = float32(math.NaN())
			}
		}
		must(be.Upload(a, values))
		return a
	}
	bound := 1 / math.Sqrt(float64(s.hidden))
	spec := model.RNNSpec{
		MaxBatch: s.n, TimeSteps: s.steps, In: s.in, Hidden: s.hidden, Dropout: s.dropout, Seed: 1<<40 + 3,
	}
	x, dy := array(1, s.n, s.steps, s.in), array(1, s.n, s.hidden)
	y, dx := array(0, s.n, s.hidden), array(0, s.n, s.steps, s.in)
	spec.X, spec.Y, spec.DX, spec.DY = x, y, dx, dy
	results := []*tensor.Dense{y, dx}
	in := s.in
	for range s.layers {
		l := model.RNNLayer{
			WeightIH: array(bound, s.hidden, in), WeightHH: array(bound, s.hidden, s.hidden),
			BiasIH: array(bound, s.hidden), BiasHH: array(bound, s.hidden),
			DWeightIH: array(0, s.hidden, in), DWeightHH: array(0, s.hidden, s.hidden),
			DBiasIH: array(0, s.hidden), DBiasHH: array(0, s.hidden),
		}
		spec.Layers = append(spec.Layers, l)
		results = append(results, l.DWeightIH, l.DWeightHH, l.DBiasIH, l.DBiasHH)
		in = s.hidden
	}
	r, err := be.NewRNN(spec)
	must(err)
	if change != nil {
		change(r)
	}
	p := model.Pass{Samples: s.n, Whole: s.n, Train: true, Step: 1<<33 + 7}
	r.Forward(p)
	r.Backward(p)
	var values [][]float32
	for _, a := range results {
		v := make([]float32, a.DataSize())
		must(be.Download(v, a))
		values = append(values, v)
	}
	return values
}

// apart returns the largest difference of two results, relative to the largest magnitude of
// its array; NaN if there is one.
func apart(got, want [][]float32) float64 {
	worst := 0.0
	for i := range want {
		largest, off := 0.0, 0.0
		for j := range want[i] {
			largest = max(largest, math.Abs(float64(want[i][j])))
			off = max(off, math.Abs(float64(got[i][j])-float64(want[i][j])))
		}
		if off > 0 || math.IsNaN(off) {
			worst = max(worst, off/largest)
		}
	}
	return worst
}

// rnnTolerance is the largest allowed difference from the CPU's results, relative to the largest
// magnitude of their array. Its unit is the rounding of one operand: 2^-24 in fp32, 2^-11 in tf32, 2^-8
// in bf16. The roundings of a sum's terms are independent, and W_hh shrinks errors of earlier steps. So
// errors stay at a few units, whatever the number of steps: at most 5 at these sizes in tf32 and bf16.
// In fp32 everything after a product is rounded as coarsely, in an order that differs by device.
// PyTorch's fp32 is up to 9 units from float64 in the fixtures of these sizes.
func rnnTolerance(precision string) float64 {
	return map[string]float64{"fp32": 32 * 0x1p-24, "tf32": 8 * 0x1p-11, "bf16": 8 * 0x1p-8}[precision]
}

func TestRNNIsTheCPUs(t *testing.T) {
	for _, size := range rnnSizes {
		want := runRNN(t, openCPU(t), size, nil)
		for _, precision := range []string{"fp32", "tf32", "bf16"} {
			t.Run(size.String()+"/"+precision, func(t *testing.T) {
				be := openTest(t, precision)
				check := func(path string, got [][]float32) {
					off := apart(got, want)
					t.Logf("%s: %.2g", path, off)
					if !(off <= rnnTolerance(precision)) {
						t.Errorf("%s: off by %v, at most %v expected", path, off, rnnTolerance(precision))
					}
				}
				check("as chosen", runRNN(t, be, size, nil))
				inBlocks := runRNN(t, be, size, func(r model.RNN) { r.(*rnn).clusters = 0 })
				check("layer by layer", inBlocks)
				// The number of samples per block must not change a bit.
				for _, multiprocessors := range []int{4, 2, 1} {
					be.card.multiprocessors = multiprocessors
					got := runRNN(t, be, size, func(r model.RNN) { r.(*rnn).clusters = 0 })
					if !slices.EqualFunc(got, inBlocks, slices.Equal[[]float32]) {
						t.Errorf("with %d multiprocessors the result differs", multiprocessors)
					}
				}
			})
		}
	}
}

// A card that holds the clusters of the recipe's batch at once must use them. A part of a card (MIG,
// vGPU), or a small card, may hold fewer or none.
func TestRecipeRunsInClusters(t *testing.T) {
	be := openTest(t, "fp32")
	if !be.card.clusters {
		t.Skip("the card has no clusters")
	}
	size := rnnSizes[0]
	size.steps = 2
	const batch, needed = 50, 17 // the recipe's, in clusters of three samples
	runRNN(t, be, size, func(m model.RNN) {
		r := m.(*rnn)
		if r.clusters < needed {
			t.Skipf("the card holds %d clusters at once, and the recipe's batch needs %d", r.clusters, needed)
		}
		t.Logf("%d clusters at once", r.clusters)
		if !r.inClusters(batch) {
			t.Errorf("%d samples are not computed in clusters, though the card holds %d at once", batch, r.clusters)
		}
	})
}

// A word that equals the threshold keeps its element. Random cases hardly ever have one, so the
// rate is computed from a word of the mask: once from a low half, once from a high half.
func TestWordAtThresholdKeeps(t *testing.T) {
	size := rnnSize{n: 3, steps: 4, in: 5, hidden: 20, layers: 5}
	blocks := (size.hidden + 7) / 8
	for half := range 2 {
		stream := rng.Stream{Seed: 1<<40 + 3, Purpose: rng.Dropout.Sub(1), Step: 1<<33 + 7} // as in runRNN
		for i := range size.n * size.steps * blocks {
			word := stream.Block(uint32(i))[0] >> (16 * half) & 0xffff
			// Elements 0 and 1 of a block always exist; with a rate near the middle some are dropped, some not.
			if size.dropout == 0 && word > 0x4000 && word < 0x8000 {
				size.dropout = float64(word) / (1 << 16)
			}
		}
		want, be := runRNN(t, openCPU(t), size, nil), openTest(t, "fp32")
		for path, change := range map[string]func(model.RNN){
			"as chosen":      nil,
			"layer by layer": func(r model.RNN) { r.(*rnn).clusters = 0 },
		} {
			if off := apart(runRNN(t, be, size, change), want); !(off <= rnnTolerance("fp32")) {
				t.Errorf("half %d, rate %v, %s: off by %v, at most %v expected",
					half, size.dropout, path, off, rnnTolerance("fp32"))
			}
		}
		size.dropout = 0
	}
}
