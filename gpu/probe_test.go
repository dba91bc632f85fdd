//go:build cuda

package gpu

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"crnn/kernels"
	"crnn/model"
	"crnn/tests/probe"
)

// The time that a card takes for launches, and for the hand-over between the blocks of the RNN. On a
// machine with a card, run a test binary:
//
//	gpu.test -test.run '^$' -test.bench '^BenchmarkLaunchFloor$|^BenchmarkWaves$' -test.benchtime 1x -test.v
//
// A kernel that waits in vain ends with an error, but the time until then depends on the card: set a
// limit.

// recipeSteps and recipeChains are the recipe's: sequences of 56 steps, which make 60 waves, and
// 50 images, three per chain.
const (
	recipeSteps  = 56
	recipeChains = 17
)

// way is a way of handing vectors on.
type way struct {
	name     string
	source   string
	clusters bool
	call     func(out, ring kernels.U32, flags kernels.Ptr, seed uint32, steps int32) kernels.Call
}

func clusterWay(name, source string, call func(out kernels.U32, seed uint32, steps int32) kernels.Call) way {
	return way{name, source, true, func(out, _ kernels.U32, _ kernels.Ptr, seed uint32, steps int32) kernels.Call {
		return call(out, seed, steps)
	}}
}

var ways = []way{
	clusterWay("barrier", "waves", probe.WavesBarrier),
	clusterWay("mbarrier", "waves", probe.WavesMbarrier),
	clusterWay("bulk", "waves", probe.WavesBulk),
	clusterWay("async", "waves_async", probe.WavesAsync),
	clusterWay("async-cta", "waves_async", probe.WavesAsyncCta),
	{"flags", "waves_flags", false, probe.WavesFlags},
}

// probing is a Backend whose code is the probes', with memory for chains of blocks.
type probing struct {
	*Backend
	chains    int
	out, ring kernels.U32
	flags     kernels.Ptr
}

// openProbes opens GPU 0 for a way and a number of chains. It skips the test if they cannot run.
func openProbes(t testing.TB, w way, chains int) *probing {
	t.Helper()
	p := &probing{Backend: openTest(t, "fp32"), chains: chains}
	p.sources = probe.Built.PTX
	if why := p.lacks(t, w); why != "" {
		t.Skip(why)
	}
	for _, a := range []struct {
		to    *uint64
		words int
	}{
		{(*uint64)(&p.out), chains * probe.Width},
		{(*uint64)(&p.ring), chains * (probe.Layers - 1) * probe.Slots * probe.Width},
		{(*uint64)(&p.flags), p.flagWords()},
	} {
		var err error
		if *a.to, err = p.alloc(int64(4 * a.words)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// lacks says what the card or the driver lacks for a way; it returns an empty string for nothing.
func (p *probing) lacks(t testing.TB, w way) string {
	t.Helper()
	text, _, ok := probe.Built.PTX(w.source, p.card.Capability)
	if !ok || w.clusters && !p.card.clusters {
		return fmt.Sprintf("%s, of compute capability %s, has no clusters", p.card.Name, dotted(p.card.Capability))
	}
	version, err := supportedVersion()
	if err != nil {
		t.Fatal(err)
	}
	if needed := probe.CUDA(text); version < needed {
		return fmt.Sprintf("the driver has CUDA %d.%d, and %s needs %d.%d",
			version/1000, version%1000/10, w.name, needed/1000, needed%1000/10)
	}
	defer p.enter()()
	call := w.call(0, 0, 0, 0, 0)
	f, err := p.function(w.source, call.Name)
	if err != nil {
		t.Fatal(err)
	}
	var chains int
	if w.clusters {
		chains, err = residentClusters(f, call)
	} else {
		var blocks int
		blocks, err = f.MaxActiveBlocksPerMultiProcessor(call.Threads, 0)
		chains = blocks * p.card.multiprocessors / probe.Layers
	}
	if err != nil {
		t.Fatal(err)
	}
	if chains < p.chains {
		return fmt.Sprintf("%s holds the blocks of %d chains at once, and %d are tried", p.card.Name, chains, p.chains)
	}
	return ""
}

// run starts a way's kernel.
func (p *probing) run(w way, seed uint32, steps int) {
	p.launch(w.call(p.out, p.ring, p.flags, seed, int32(steps)),
		grid{probe.Layers * p.chains, 1, 1})
}

// check runs a way's kernel and compares the result.
func (p *probing) check(t testing.TB, w way, seed uint32, steps int) {
	t.Helper()
	p.run(w, seed, steps)
	got := make([]uint32, probe.Width*p.chains)
	if err := p.download(bytesOf(got), uint64(p.out)); err != nil {
		t.Fatal(err)
	}
	want := probe.Waves(seed, steps)
	for chain := range p.chains {
		for i, word := range got[chain*probe.Width:][:probe.Width] {
			if word != want[i] {
				t.Fatalf("%s, %d steps: word %d of chain %d is %#x, want %#x: a hand-over went wrong",
					w.name, steps, i, chain, word, want[i])
			}
		}
	}
	flags := make([]uint32, p.flagWords())
	if err := p.download(bytesOf(flags), uint64(p.flags)); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(flags, func(f uint32) bool { return f != 0 }); i >= 0 {
		t.Fatalf("%s, %d steps: flag %d is left at %d, want 0", w.name, steps, i, flags[i])
	}
}

// flagWords returns the number of words of all chains' flags.
func (p *probing) flagWords() int { return p.chains * (probe.Layers - 1) * 2 }

func TestProbes(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			p := openProbes(t, w, 2)
			// Fewer steps than slots, as many, one more, and many more.
			for i, steps := range []int{1, probe.Slots, probe.Slots + 1, 23} {
				p.check(t, w, uint32(1000*i+7), steps)
			}
		})
	}
}

// The empty graph has the shape of the recipe's step.
func TestLaunchFloor(t *testing.T) {
	list := emptyStep(t, openTest(t, "fp32"))
	if len(list) < 15 || len(list) > 25 {
		t.Errorf("%d launches, but a training step has 22", len(list))
	}
	for _, l := range list {
		if l.call.Count != 0 || !strings.HasPrefix(l.call.Name, "empty") {
			t.Errorf("%v is not empty", l)
		}
	}
}

// emptyStep returns the launches of a training step of the recipe, with empty kernels instead of the
// step's.
func emptyStep(t testing.TB, be *Backend) []launch {
	t.Helper()
	const batch = 50
	net, err := model.New(be, model.Default(), model.Options{MaxBatch: batch, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	images, err := be.NewImages(make([]uint8, batch*28*28), make([]uint8, batch), 1, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	be.record(func() {
		p := net.Pass(batch, true)
		if err := net.Gather(p, images, make([]int32, batch)); err != nil {
			t.Fatal(err)
		}
		net.Forward(p)
		net.Loss(p)
		net.Backward(p)
		net.Update(1e-3)
	})
	list := slices.Clone(be.list)
	for i, l := range list {
		if strings.HasPrefix(l.call.Source, "rnn_cluster") {
			list[i].call = probe.EmptyCluster()
		} else {
			list[i].call = probe.Empty()
		}
		list[i].call.Threads = l.call.Threads // instead of the empty kernel's largest possible block
	}
	be.sources = probe.Built.PTX
	return list
}

// probeRuns is how often a probe is timed.
func probeRuns(b *testing.B) int { return setting(b, measureSteps, 200) }

// BenchmarkLaunchFloor times the graph of a training step whose kernels do nothing.
func BenchmarkLaunchFloor(b *testing.B) {
	be := openTest(b, "fp32")
	list := emptyStep(b, be)
	leave := be.enter()
	g, err := be.graphOf(list)
	leave()
	if err != nil {
		b.Fatal(err)
	}
	times := be.timeRuns(b, probeRuns(b), nil, func() {
		defer be.enter()()
		be.fail(g.launch(be.stream))
	})
	reportMetrics(b, map[string]float64{
		"nodes": float64(g.nodes), "us/graph": median(times), "fastest-us/graph": times[0],
		"clock-MHz": float64(be.ClockMHz()),
	})
}

// BenchmarkWaves times empty waves of the recipe's number of chains, and of one, in each way of
// handing vectors on. It reports the time of a launch with the recipe's steps. It also reports the time
// per wave without start and end: how much longer a launch with twice the steps takes.
func BenchmarkWaves(b *testing.B) {
	for _, w := range ways {
		for _, chains := range []int{recipeChains, 1} {
			b.Run(fmt.Sprintf("%s/chains=%d", w.name, chains), func(b *testing.B) {
				p := openProbes(b, w, chains)
				p.check(b, w, 12345, recipeSteps)
				once := p.timeRuns(b, probeRuns(b), nil, func() { p.run(w, 12345, recipeSteps) })
				twice := p.timeRuns(b, probeRuns(b), nil, func() { p.run(w, 12345, 2*recipeSteps) })
				clock := p.ClockMHz()
				p.check(b, w, 54321, recipeSteps)
				reportMetrics(b, map[string]float64{
					"us/launch": median(once), "us/wave": (median(twice) - median(once)) / recipeSteps,
					"fastest-us/wave": (twice[0] - once[0]) / recipeSteps, "clock-MHz": float64(clock),
				})
			})
		}
	}
}
