//go:build cuda

package gpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"crnn/kernels"
)

// stepBlock is what differs from one step to the next: the struct Step of kernels/step.cuh and
// the indices of the batch. The kernels read it from device memory, so that a graph can be
// replayed. The host writes it into a ring of page-locked slots, from which the card copies when
// its turn has come, so that the host can run ahead by as many steps.
type stepBlock struct {
	step    kernels.Ptr // on the device
	size    int         // bytes
	host    []byte      // as it shall be
	changed bool        // since it was last sent

	slots pinned
	free  [ringSlots]cu.Event // when the slot has been copied
	next  int
}

const (
	ringSlots = 16
	// stepHeader is the room for the struct Step; the indices follow it.
	stepHeader = 64

	// Offsets in the struct Step.
	stepDropout, stepSize, stepRootCorrection2 = 0, 8, 12
)

func (s *stepBlock) init(be *Backend) error {
	const batch = 256 // what it has room for at first
	for i := range s.free {
		var err error
		if s.free[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return failed("cuEventCreate", err)
		}
	}
	return be.growStep(batch)
}

// close gives events and host memory back.
func (s *stepBlock) close() error {
	var first error
	for i := range s.free {
		if s.free[i] == (cu.Event{}) {
			continue
		}
		if err := failed("cuEventDestroy", cu.DestroyEvent(&s.free[i])); err != nil && first == nil {
			first = err
		}
	}
	if err := s.slots.free(); err != nil && first == nil {
		first = err
	}
	s.slots = nil
	return first
}

// growStep makes room for the indices of a batch. What ran before has come to its end.
func (be *Backend) growStep(batch int) error {
	size := stepHeader + 4*batch
	if size <= be.size {
		return nil
	}
	if err := be.sync(); err != nil {
		return err
	}
	address, err := be.alloc(int64(size))
	if err != nil || be.plan {
		return err
	}
	slots, err := newPinned(ringSlots * size)
	if err != nil {
		return err
	}
	if err := be.slots.free(); err != nil {
		return err
	}
	be.step, be.size, be.slots = kernels.Ptr(address), size, slots
	be.host = append(be.host, make([]byte, size-len(be.host))...)
	be.changed = true
	return nil
}

// indices returns the device address of the batch's indices.
func (s *stepBlock) indices() kernels.I32 { return kernels.I32(s.step + stepHeader) }

// set changes bytes of the block.
func (s *stepBlock) set(offset int, value []byte) {
	if string(s.host[offset:offset+len(value)]) != string(value) {
		copy(s.host[offset:], value)
		s.changed = true
	}
}

func (s *stepBlock) setDropoutStep(step uint64) {
	s.set(stepDropout, binary.LittleEndian.AppendUint64(nil, step))
}

func (s *stepBlock) setAdam(size, rootCorrection2 float32) {
	s.set(stepSize, binary.LittleEndian.AppendUint32(nil, math.Float32bits(size)))
	s.set(stepRootCorrection2, binary.LittleEndian.AppendUint32(nil, math.Float32bits(rootCorrection2)))
}

// flush sends the block to the device, if it has changed.
func (be *Backend) flush() error {
	if !be.changed || be.err != nil {
		return be.err
	}
	slot := be.slots[be.next*be.size:][:be.size]
	// An event that was never recorded counts as over.
	if err := be.free[be.next].Synchronize(); err != nil {
		return failed("cuEventSynchronize", err)
	}
	copy(slot, be.host)
	if err := cu.MemcpyHtoDAsync(cu.DevicePtr(be.step), unsafe.Pointer(unsafe.SliceData(slot)), int64(be.size), be.stream); err != nil {
		return failed("cuMemcpyHtoDAsync", err)
	}
	if err := be.free[be.next].Record(be.stream); err != nil {
		return failed("cuEventRecord", err)
	}
	be.next = (be.next + 1) % ringSlots
	be.changed = false
	return nil
}
