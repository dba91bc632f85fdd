//go:build cuda

package gpu

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"
	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// pool is all device memory of a Backend: taken when operators are made, given back by Close.
// Each array is a separate allocation of the driver, so that tools like compute-sanitizer know its
// bounds. Nothing is allocated while the network runs.
type pool struct {
	taken []cu.DevicePtr
	used  int64 // bytes

	// plan makes the Backend only count memory: its arrays have made-up addresses.
	plan bool
}

// planning says that the Backend only counts memory.
func (p *pool) planning() bool { return p.plan }

// planBase is the first made-up address; neither Go nor a driver has memory there.
const planBase = 1 << 46

// granularity is the smallest unit to which the driver rounds allocations up.
const granularity = 512

// close gives the memory back.
func (p *pool) close() error {
	var first error
	for _, address := range p.taken {
		if err := failed("cuMemFree", cu.MemFree(address)); err != nil && first == nil {
			first = err
		}
	}
	p.taken, p.used = nil, 0
	return first
}

// Plan implements model.Planner.
func (be *Backend) Plan() model.Planner {
	return &Backend{
		precision: be.precision, card: be.card,
		pool: pool{plan: true}, stepBlock: stepBlock{stepBytes: be.stepBytes},
	}
}

// MemoryUsed returns the bytes of device memory taken.
func (be *Backend) MemoryUsed() int64 { return be.pool.used }

// driverMemory is set aside for the driver's own use: the kernels' code, graphs, and the rounding of
// allocations to pages.
const driverMemory = 64 << 20

// MemoryFree implements model.Planner.
func (be *Backend) MemoryFree() (int64, error) {
	if be.err != nil || be.plan {
		return math.MaxInt64, be.err
	}
	defer be.enter()()
	free, _, err := cu.MemInfo()
	return max(0, free-driverMemory), failed("cuMemGetInfo", err)
}

// alloc takes zeroed device memory.
func (be *Backend) alloc(bytes int64) (uint64, error) {
	if be.err != nil {
		return 0, be.err
	}
	bytes = max(bytes, 1) // the driver refuses an allocation of 0 bytes
	size := (bytes + granularity - 1) / granularity * granularity
	if be.plan {
		address := planBase + uint64(be.pool.used)
		be.pool.used += size
		return address, nil
	}
	defer be.enter()()
	address, err := cu.MemAlloc(bytes)
	if err != nil {
		return 0, be.outOfMemory(bytes, failed("cuMemAlloc", err))
	}
	be.pool.taken = append(be.pool.taken, address)
	be.pool.used += size
	if err := failed("cuMemsetD8Async", cu.MemsetD8Async(address, 0, bytes, be.stream)); err != nil {
		return 0, err
	}
	return uint64(address), be.sync()
}

// outOfMemory turns an error for full memory into one that says how much memory is free.
func (be *Backend) outOfMemory(bytes int64, err error) error {
	if !isOutOfMemory(err) {
		return err
	}
	free, _, infoErr := cu.MemInfo()
	if infoErr != nil {
		return err
	}
	return &model.MemoryError{Device: be.Name(), Needed: bytes, Free: free}
}

// upload copies src to the device.
func (be *Backend) upload(dst uint64, src []byte) error {
	if be.plan || len(src) == 0 || be.err != nil {
		return be.err
	}
	defer be.enter()()
	be.fail(failed("cuMemcpyHtoDAsync",
		cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(unsafe.SliceData(src)), int64(len(src)), be.stream)))
	err := be.sync()
	runtime.KeepAlive(src) // the copy may run until then
	return err
}

// download copies from the device to dst.
func (be *Backend) download(dst []byte, src uint64) error {
	if be.plan || len(dst) == 0 || be.err != nil {
		return be.err
	}
	defer be.enter()()
	be.fail(failed("cuMemcpyDtoHAsync",
		cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), cu.DevicePtr(src), int64(len(dst)), be.stream)))
	err := be.sync()
	runtime.KeepAlive(dst)
	return err
}

// Alloc implements model.Backend.
func (be *Backend) Alloc(shape ...int) (*tensor.Dense, error) {
	n := 1
	for _, d := range shape {
		// The kernels count the elements of an array in 32 bits.
		if d < 1 || n > math.MaxInt32/d {
			return nil, fmt.Errorf("an array of %v elements is too large, at most %d fit the GPU's kernels: "+
				"take a smaller batch-size, image-size or hidden-size, or fewer layers", shape, math.MaxInt32)
		}
		n *= d
	}
	address, err := be.alloc(4 * int64(n))
	if err != nil {
		return nil, err
	}
	return be.array(address, shape), nil
}

// array returns the float32 array of a shape at a device address.
func (be *Backend) array(address uint64, shape []int) *tensor.Dense {
	size := uintptr(4 * tensor.Shape(shape).TotalSize())
	return tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(shape...), tensor.WithEngine(engine{be}),
		tensor.FromMemory(uintptr(address), size))
}

// f32 returns the device address of an array, 0 for none.
func f32(a *tensor.Dense) kernels.F32 {
	if a == nil {
		return 0
	}
	return kernels.F32(a.Uintptr())
}

// View implements model.Backend.
func (be *Backend) View(a *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error) {
	n := tensor.Shape(shape).TotalSize()
	if offset < 0 || n > a.DataSize()-offset {
		return nil, fmt.Errorf("a view of %d elements at %d in an array of %d", n, offset, a.DataSize())
	}
	return be.array(uint64(f32(a))+4*uint64(offset), shape), nil
}

// Upload implements model.Backend.
func (be *Backend) Upload(dst *tensor.Dense, src []float32) error {
	if len(src) != dst.DataSize() {
		return fmt.Errorf("upload of %d elements into an array of %d", len(src), dst.DataSize())
	}
	return be.upload(uint64(f32(dst)), bytesOf(src))
}

// Download implements model.Backend.
func (be *Backend) Download(dst []float32, src *tensor.Dense) error {
	if len(dst) != src.DataSize() {
		return fmt.Errorf("download of an array of %d elements into %d", src.DataSize(), len(dst))
	}
	return be.download(bytesOf(dst), uint64(f32(src)))
}

// bytesOf returns the memory of a slice of numbers.
func bytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}
