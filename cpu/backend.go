// Package cpu runs the network on the processor: C micro-kernels behind cgo, chosen by
// instruction set at run time, or plain Go where cgo is off.
//
// Work is divided by sample. A sum over samples is divided into groups of samples: one thread sums a
// group, and the sums of the groups are added in order. The number of groups depends on the batch
// alone, so the bits of a result do not depend on the number of threads.
package cpu

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"gorgonia.org/tensor"

	"crnn/model"
)

// Options choose how the CPU is used.
type Options struct {
	Threads int    // 0: one per processor
	Kernels string // one of Kernels(); empty: DefaultKernels
	// BF16 rounds the operands of products to bfloat16. Kernels with tiles do so in the RNN and the
	// convolutions; others in the RNN, in Winograd's forward pass and in its input gradient. Kernels
	// without products of bfloat16 are an error.
	BF16   bool
	Memory int64 // bytes that all networks on the Backend may take for training; 0: no limit
}

// ErrNoBF16 is the error of New if the kernels lack products of bfloat16.
var ErrNoBF16 = errors.New("these kernels have no products of bfloat16, which need AVX-512 BF16 or BF16 of Armv8.6")

// MaxThreads is the largest number of threads that New accepts.
const MaxThreads = 1024

// Backend is the CPU as a model.Backend.
type Backend struct {
	kernels
	pool  *pool
	bf16  bool // Options.BF16
	tiles bool // products of bfloat16 are made in tiles

	memory, reserved int64 // bytes: the limit, and the part taken so far

	// err is the first error of a call that cannot return it.
	err error

	// weights counts the changes of parameters: it tells whether packed copies are stale.
	weights int64

	laps []time.Time

	profile *profile // while Profile runs
	peak    float64  // floating-point operations per second, as Profile measured them
}

var (
	_ model.Backend  = (*Backend)(nil)
	_ model.Profiler = (*Backend)(nil)
)

// New returns the CPU with the given options.
func New(o Options) (*Backend, error) {
	if o.Threads < 0 || o.Threads > MaxThreads {
		return nil, fmt.Errorf("threads %d: must be from 1 to %d, or 0 for one per processor", o.Threads, MaxThreads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	k := kernelsFor(o.Kernels, o.BF16)
	if k == nil {
		return nil, fmt.Errorf("kernels %q: this processor and build offer %s", o.Kernels, strings.Join(Kernels(), ", "))
	}
	if o.BF16 && !k.hasBF16() {
		return nil, ErrNoBF16
	}
	be := &Backend{kernels: k, pool: newPool(o.Threads), bf16: o.BF16, tiles: o.BF16 && k.hasTiles(), memory: o.Memory}
	if be.tiles {
		be.pool.chunk = tileRows
	}
	return be, nil
}

// Name returns "cpu".
func (be *Backend) Name() string { return "cpu" }

// KernelName returns the name of the kernels in use, one of Kernels().
func (be *Backend) KernelName() string { return be.name() }

// Threads returns the number of threads in use.
func (be *Backend) Threads() int { return be.pool.threads }

// reserve takes the memory of arrays out of the limit, given their numbers of 4-byte elements.
// Buffers are made at their first use, but a network that cannot fit is refused before the first step.
func (be *Backend) reserve(elements ...int) error {
	for _, n := range elements {
		be.reserved += 4 * int64(n)
	}
	if be.memory > 0 && be.reserved > be.memory {
		return fmt.Errorf("the network and its batch need more than the %.1f GiB of memory available: "+
			"take a smaller batch-size, image-size, hidden-size or num-layers", float64(be.memory)/(1<<30))
	}
	return nil
}

// elements returns the product of sizes, or an error if it exceeds the kernels' 32-bit offsets.
func elements(sizes ...int) (int, error) {
	n := 1
	for _, d := range sizes {
		if d < 1 || n > math.MaxInt32/d {
			return 0, fmt.Errorf("an array of %v elements is too large, at most %d fit the kernels: "+
				"take a smaller batch-size, image-size, hidden-size or input-size", sizes, math.MaxInt32)
		}
		n *= d
	}
	return n, nil
}

// Alloc returns a zeroed array.
func (be *Backend) Alloc(shape ...int) (*tensor.Dense, error) {
	n, err := elements(shape...)
	if err == nil {
		err = be.reserve(n)
	}
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(make([]float32, n))), nil
}

// View returns a part of the flat array a as an array of its own, sharing memory.
func (be *Backend) View(a *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error) {
	all, n := values(a), tensor.Shape(shape).TotalSize()
	if offset < 0 || n > len(all)-offset {
		return nil, fmt.Errorf("a view of %d elements at %d in an array of %d", n, offset, len(all))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(all[offset:offset+n:offset+n])), nil
}

// Upload copies src into dst.
func (be *Backend) Upload(dst *tensor.Dense, src []float32) error {
	be.pool.flush()
	be.weights++
	if be.err != nil {
		return be.err
	}
	if len(src) != dst.DataSize() {
		return fmt.Errorf("upload of %d elements into an array of %d", len(src), dst.DataSize())
	}
	copy(values(dst), src)
	return nil
}

// Download copies src into dst.
func (be *Backend) Download(dst []float32, src *tensor.Dense) error {
	be.pool.flush()
	if be.err != nil {
		return be.err
	}
	if len(dst) != src.DataSize() {
		return fmt.Errorf("download of an array of %d elements into %d", src.DataSize(), len(dst))
	}
	copy(dst, values(src))
	return nil
}

// Together implements model.Backend. Operators that treat each sample by itself, as in eval mode, run
// chunk by chunk: a chunk of samples goes through all of them before the next chunk begins.
func (be *Backend) Together(body func()) { be.pool.together(body) }

// samples is pool.samples, but puts nothing off during a profile, which times each operator by itself.
func (be *Backend) samples(n int, f func(thread, lo, hi int)) {
	be.pool.samples(n, f)
	if be.profile != nil {
		be.pool.flush()
	}
}

// Lap implements model.Backend.
func (be *Backend) Lap() {
	be.pool.flush()
	be.laps = append(be.laps, time.Now())
}

// Laps implements model.Backend.
func (be *Backend) Laps() ([]time.Duration, error) {
	var times []time.Duration
	for i := 1; i < len(be.laps); i++ {
		times = append(times, be.laps[i].Sub(be.laps[i-1]))
	}
	be.laps = nil
	return times, be.err
}

// Sync has nothing to wait for: every operator has run when its call, or Together, returns.
func (be *Backend) Sync() error { return be.err }

// Close does nothing: the garbage collector frees the memory, and idle threads end by themselves.
func (be *Backend) Close() error { return nil }

// begin starts an operator, given the results of its checks, and reports whether it may run. If not,
// the next call that returns an error says why. A profile counts the kernels that follow as its own.
func (be *Backend) begin(operator string, checks ...error) bool {
	for _, err := range checks {
		if err != nil && be.err == nil {
			be.err = fmt.Errorf("%s %w", operator, err)
		}
	}
	be.profile.begin(operator)
	return be.err == nil
}

// sumGroups adds the sums of all groups, size elements each, to the first group's and returns that.
func (be *Backend) sumGroups(sums []float32, size, groups int) []float32 {
	const chunk = 1 << 12
	be.pool.run((size+chunk-1)/chunk, func(_, i int) {
		lo, hi := i*chunk, min((i+1)*chunk, size)
		for g := 1; g < groups; g++ {
			be.sumRows(sums[lo:], sums[g*size+lo:], 1, size, hi-lo)
		}
	})
	return sums[:size]
}
