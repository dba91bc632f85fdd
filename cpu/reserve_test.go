package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"crnn/model"
)

// reserve counts the memory that a network has after a training step and an evaluation: not less, which
// would accept a batch that does not fit, and not much more.
func TestReserveCountsWhatIsAllocated(t *testing.T) {
	wide := model.Default()
	wide.InputSize, wide.HiddenSize, wide.NumLayers = 28, 256, 3
	filters := model.Default() // take most of the memory
	filters.ImageHeight, filters.ImageWidth, filters.Channels = 8, 8, [2]int{256, 256}
	filters.InputSize, filters.HiddenSize, filters.NumLayers = 128, 16, 1
	filters3 := filters
	filters3.Kernel = 3
	widening := filters3 // few channels become many, on large images
	widening.ImageHeight, widening.ImageWidth, widening.Channels = 64, 64, [2]int{4, 512}
	widening.InputSize = 1024
	odd := filters // colours, and sides that no pool divides
	odd.ImageHeight, odd.ImageWidth, odd.ImageChannels = 15, 15, 3
	odd.InputSize = 256
	deep := model.Default()
	deep.HiddenSize, deep.NumLayers = 1024, 3
	for _, c := range []struct {
		config  model.Config
		batch   int
		threads int
		bf16    bool
	}{
		{model.Default(), 50, 2, false},
		{model.Default(), 400, 1, false},
		{model.Default(), 50, 16, false},
		{model.Default(), 100, 2, true},
		{model.Default(), 50, 16, true},
		{wide, 100, 2, false},
		{filters, 4, 1, false},
		{filters, 4, 1, true},
		{filters3, 4, 1, false},
		{odd, 4, 1, false},
		{odd, 4, 1, true},
		{widening, 1, 1, true},
		{deep, 50, 2, true},
	} {
		if testing.Short() && (c.batch > 50 || c.config.HiddenSize > 512) {
			continue // minutes, in an emulator
		}
		name := fmt.Sprintf("height=%d/channels=%d/kernel=%d/hidden=%d/batch=%d/threads=%d/bf16=%v",
			c.config.ImageHeight, c.config.Channels[0], c.config.Kernel, c.config.HiddenSize, c.batch, c.threads, c.bf16)
		t.Run(name, func(t *testing.T) {
			be, err := New(Options{Threads: c.threads, BF16: c.bf16})
			if errors.Is(err, ErrNoBF16) {
				t.Skip(err) // there is nothing to count
			}
			if err != nil {
				t.Fatal(err)
			}
			channels, height, width := c.config.ImageChannels, c.config.ImageHeight, c.config.ImageWidth
			pixels, labels := make([]uint8, c.batch*channels*height*width), make([]uint8, c.batch)
			images, err := be.NewImages(pixels, labels, channels, height, width)
			if err != nil {
				t.Fatal(err)
			}
			before := alive()
			net, err := model.New(be, c.config, model.Options{MaxBatch: c.batch, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			indices := make([]int32, c.batch)
			if err := errors.Join(net.Step(images, indices, 0), net.Evaluate(images, indices)); err != nil {
				t.Fatal(err)
			}
			allocated := alive() - before
			runtime.KeepAlive(net)
			t.Logf("reserved %.1f MB, allocated %.1f MB", float64(be.reserved)/1e6, float64(allocated)/1e6)
			// reserve leaves out offsets, and vectors of one element per channel or unit. A thread has
			// scratch only after its first work, and not all of 16 threads get work.
			if be.reserved < allocated*98/100 || c.threads <= 2 && be.reserved > allocated*5/4 {
				t.Errorf("reserved %d bytes, allocated %d", be.reserved, allocated)
			}
		})
	}
}

// alive returns the bytes of the heap that are in use.
func alive() int64 {
	runtime.GC()
	runtime.GC() // memory that a finaliser kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
