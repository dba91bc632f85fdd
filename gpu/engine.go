//go:build cuda

package gpu

import (
	"errors"
	"fmt"

	"gorgonia.org/cu"
	"gorgonia.org/tensor"
)

// engine lets gorgonia.org/tensor handle arrays on the GPU: it says that their memory is the
// device's, and copies and clears it.
type engine struct{ be *Backend }

var _ tensor.Engine = engine{}

func (engine) AllocAccessible() bool                 { return false }
func (engine) WorksWith(order tensor.DataOrder) bool { return order.IsRowMajor() }

func (engine) Accessible(mem tensor.Memory) (tensor.Memory, error) {
	return mem, errors.New("memory of a GPU cannot be read in place: use the Backend's Download")
}

// deviceMemory is a piece of device memory.
type deviceMemory struct{ address, size uintptr }

func (m deviceMemory) Uintptr() uintptr { return m.address }
func (m deviceMemory) MemSize() uintptr { return m.size }

func (e engine) Alloc(size int64) (tensor.Memory, error) {
	address, err := e.be.alloc(size)
	return deviceMemory{uintptr(address), uintptr(size)}, err
}

// Free does nothing: the Backend's Close frees the memory.
func (engine) Free(tensor.Memory, int64) error { return nil }

func (e engine) Memset(mem tensor.Memory, value any) error {
	v, ok := value.(float32)
	if !ok || v != 0 {
		return fmt.Errorf("memory of a GPU set to %v: only float32 0 is supported", value)
	}
	e.Memclr(mem)
	return e.be.err
}

func (e engine) Memclr(mem tensor.Memory) {
	defer e.be.enter()()
	e.be.fail(failed("cuMemsetD8Async",
		cu.MemsetD8Async(cu.DevicePtr(mem.Uintptr()), 0, int64(mem.MemSize()), e.be.stream)))
}

func (e engine) Memcpy(dst, src tensor.Memory) error {
	defer e.be.enter()()
	e.be.fail(failed("cuMemcpyDtoDAsync", cu.MemcpyDtoDAsync(cu.DevicePtr(dst.Uintptr()), cu.DevicePtr(src.Uintptr()),
		int64(min(dst.MemSize(), src.MemSize())), e.be.stream)))
	return e.be.sync()
}
