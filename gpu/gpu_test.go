//go:build cuda

package gpu

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"crnn/cpu"
	"crnn/data"
	"crnn/model"
	"crnn/tests/backendtest"
)

// opener returns a Device that opens GPU 0 with a precision.
func opener(precision string) backendtest.Device {
	return func(t testing.TB) model.Backend { return openTest(t, precision) }
}

// openTest opens GPU 0. If there is none, it skips the test, or fails it if CRNN_TEST_CUDA is set.
func openTest(t testing.TB, precision string) *Backend {
	t.Helper()
	be, err := Open(Options{Precision: precision})
	if old := (*PrecisionError)(nil); errors.As(err, &old) {
		t.Skip(err) // only the card's capability causes this error
	}
	if err != nil {
		if os.Getenv("CRNN_TEST_CUDA") == "" {
			t.Skip(err)
		}
		endIfRuined(t, err)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := be.Close()
		if e := (*Error)(nil); !errors.As(err, &e) && strings.HasSuffix(t.Name(), "/WhatDoesNotFit") {
			return // it calls operators wrongly on purpose
		}
		if err != nil {
			t.Error(err)
			endIfRuined(t, err)
		}
	})
	return be
}

func openCPU(t testing.TB) model.Backend {
	t.Helper()
	be, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return be
}

// trainingSet returns the real training images.
func trainingSet(t testing.TB) *data.Set {
	t.Helper()
	dir, err := data.Locate("")
	if err != nil {
		t.Fatal(err)
	}
	set, err := data.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set.Train
}

func TestOperators(t *testing.T) {
	t.Run("fp32", func(t *testing.T) { backendtest.Run(t, opener("fp32")) })
	t.Run("tf32", func(t *testing.T) { backendtest.RunPrecision(t, opener("tf32"), backendtest.TF32) })
	t.Run("bf16", func(t *testing.T) { backendtest.RunPrecision(t, opener("bf16"), backendtest.BF16) })
}

func TestTrajectory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute on the emulated driver")
	}
	backendtest.Trajectory(t, openTest(t, "fp32"), trainingSet(t), 30)
}

func TestLossesAreTheCPUs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute on the emulated driver")
	}
	backendtest.SameLosses(t, opener("fp32"), openCPU, trainingSet(t))
}

// tiny is a network and its images, on a device.
func tiny(t *testing.T, be model.Backend, batch int) (*model.Network, model.Images) {
	t.Helper()
	c := model.Config{
		ImageHeight: 8, ImageWidth: 8, ImageChannels: 1, Channels: [2]int{4, 8}, Kernel: 3,
		InputSize: 8, HiddenSize: 16, NumLayers: 2, Classes: 3, Dropout: 0.25,
	}
	net, err := model.New(be, c, model.Options{MaxBatch: batch, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Init(1); err != nil {
		t.Fatal(err)
	}
	const count = 40
	pixels, labels := make([]uint8, count*64), make([]uint8, count)
	for i := range pixels {
		pixels[i] = uint8(i * 37 % 251)
	}
	for i := range labels {
		labels[i] = uint8(i % 3)
	}
	images, err := be.NewImages(pixels, labels, 1, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	return net, images
}

func params(t *testing.T, net *model.Network) []float32 {
	t.Helper()
	state, err := net.State()
	if err != nil {
		t.Fatal(err)
	}
	return state.Params
}

// steps makes training steps on changing images; every fourth step has fewer.
func steps(t *testing.T, count int, step func(indices []int32) error) {
	for i := range count {
		indices := []int32{int32(i), int32(i + 3), int32(2 * i), 5, 1}
		if i%4 == 3 {
			indices = indices[:2]
		}
		if err := step(indices); err != nil {
			t.Fatal(err)
		}
	}
}

// A replayed graph must give the same bits as its launches one by one.
func TestGraphGivesTheSameBits(t *testing.T) {
	be := openTest(t, "fp32")
	net, images := tiny(t, be, 5)
	steps(t, 12, func(indices []int32) error { return net.Step(images, indices, 1e-3) })
	replayed := params(t, net)
	if len(be.graphs) != 2 {
		t.Errorf("%d graphs were made of 12 steps on 5 or 2 images, want 2", len(be.graphs))
	}

	net, images = tiny(t, be, 5)
	steps(t, 12, func(indices []int32) error {
		p := net.Pass(len(indices), true)
		if err := net.Gather(p, images, indices); err != nil {
			return err
		}
		net.Forward(p)
		net.Loss(p)
		net.Backward(p)
		net.Update(1e-3)
		return nil
	})
	if !slices.Equal(params(t, net), replayed) {
		t.Error("graphs give other parameters than single launches")
	}
}

// The recipe's training step must be at most 25 nodes. More networks than kept graphs must still
// work.
func TestStepIsOneSmallGraph(t *testing.T) {
	be := openTest(t, "fp32")
	net, err := model.New(be, model.Default(), model.Options{MaxBatch: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	images, err := be.NewImages(make([]uint8, 4*28*28), make([]uint8, 4), 1, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Step(images, []int32{0, 1, 2, 3}, 1e-3); err != nil {
		t.Fatal(err)
	}
	if err := be.Sync(); err != nil {
		t.Fatal(err)
	}
	nodes := be.graphs[0].graph.nodes
	if nodes > 25 || nodes != len(be.graphs[0].list) {
		t.Errorf("a training step has %d nodes for %d launches, want as many and at most 25", nodes, len(be.graphs[0].list))
	}
	t.Logf("%d nodes", nodes)
	for range maxGraphs + 3 {
		net, images := tiny(t, be, 3)
		if err := net.Step(images, []int32{0, 1}, 1e-3); err != nil {
			t.Fatal(err)
		}
	}
	if err := be.Sync(); err != nil {
		t.Fatal(err)
	}
	if len(be.graphs) != maxGraphs {
		t.Errorf("%d graphs are kept, want %d", len(be.graphs), maxGraphs)
	}
}

// The plan must count the memory that a network takes.
func TestPlanCountsWhatIsTaken(t *testing.T) {
	be := openTest(t, "fp32")
	// The indices of the second batch need more room than the step block has at first.
	for _, batch := range []int{7, 300} {
		plan := be.Plan()
		if _, err := model.New(plan, model.Default(), model.Options{MaxBatch: batch, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		before := be.MemoryUsed()
		if _, err := model.New(be, model.Default(), model.Options{MaxBatch: batch, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		if taken := be.MemoryUsed() - before; taken != plan.MemoryUsed() {
			t.Errorf("a network for %d images took %d bytes, planned %d", batch, taken, plan.MemoryUsed())
		}
	}
}

// Sizes at the limits are planned without overflow, or refused. A parameter, its gradient and
// Adam's two moments take at least 16 bytes.
func TestPlanOfLargeSizes(t *testing.T) {
	be := openTest(t, "fp32")
	for _, c := range []struct{ hidden, layers, batch int }{
		{8192, 4, 1}, {8192, 2, 5000}, {128, 256, 50}, {128, 5, 54000}, {1, 1, 1},
	} {
		config := model.Default()
		config.HiddenSize, config.NumLayers = c.hidden, c.layers
		plan := be.Plan()
		if _, err := model.New(plan, config, model.Options{MaxBatch: c.batch, Seed: 1}); err != nil {
			t.Logf("%+v: %v", c, err)
			continue
		}
		states := 2 * 4 * int64(c.layers) * int64(c.batch) * int64(config.SeqLen()) * int64(c.hidden)
		if least := 16*int64(config.Layout().ParamLen) + states; plan.MemoryUsed() < least {
			t.Errorf("%+v: planned %d bytes, at least %d expected", c, plan.MemoryUsed(), least)
		}
	}
}

// A step takes no memory, even with a batch larger than the step block's first room.
func TestLargeBatch(t *testing.T) {
	be := openTest(t, "fp32")
	indices := make([]int32, 300)
	for i := range indices {
		indices[i] = int32(i % 40)
	}
	net, images := tiny(t, be, len(indices))
	used := be.MemoryUsed()
	if err := net.Step(images, indices, 1e-3); err != nil {
		t.Fatal(err)
	}
	sum, err := net.Totals()
	if err != nil || sum.Count != int64(len(indices)) {
		t.Errorf("%d images, error %v, want %d", sum.Count, err, len(indices))
	}
	if used != be.MemoryUsed() {
		t.Errorf("a step took %d bytes", be.MemoryUsed()-used)
	}
}
