//go:build cuda

package gpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"crnn/kernels"
)

// stepBlock holds what differs from step to step: the struct Step of kernels/step.cuh and the indices
// of the batch. The kernels read it from device memory, so that a graph can be replayed. The host
// writes it into a ring of page-locked slots, and the card copies a slot when its step begins. So the
// host can be as many steps ahead as there are slots.
type stepBlock struct {
	step        kernels.Ptr // on the device
	stepBytes   int         // its size
	stepHost    []byte      // its content for the next launch
	stepChanged bool        // stepHost has changed since it was last sent

	stepSlots  pinned
	stepCopied [ringSlots]cu.Event // recorded after the copy of each slot
	stepNext   int
}

const (
	ringSlots = 16
	// stepHeader is the room for the struct Step; the indices follow it.
	stepHeader = 64

	// Offsets in the struct Step.
	stepDropout, stepSize, stepRootCorrection2, stepDropoutFirst = 0, 8, 12, 16
)

func (s *stepBlock) init(be *Backend) error {
	const batch = 256 // indices that fit at first
	for i := range s.stepCopied {
		var err error
		if s.stepCopied[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return failed("cuEventCreate", err)
		}
	}
	return be.growStep(batch)
}

// close frees events and host memory.
func (s *stepBlock) close() error {
	var first error
	for i := range s.stepCopied {
		if s.stepCopied[i] == (cu.Event{}) {
			continue
		}
		if err := failed("cuEventDestroy", cu.DestroyEvent(&s.stepCopied[i])); err != nil && first == nil {
			first = err
		}
	}
	if err := s.stepSlots.free(); err != nil && first == nil {
		first = err
	}
	s.stepSlots = nil
	return first
}

// growStep makes room for the indices of a batch, after all earlier work has ended.
func (be *Backend) growStep(batch int) error {
	size := stepHeader + 4*batch
	if size <= be.stepBytes {
		return nil
	}
	defer be.enter()()
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
	if err := be.stepSlots.free(); err != nil {
		return err
	}
	be.step, be.stepBytes, be.stepSlots = kernels.Ptr(address), size, slots
	be.stepHost = append(be.stepHost, make([]byte, size-len(be.stepHost))...)
	be.stepChanged = true
	return nil
}

// indices returns the device address of the batch's indices.
func (s *stepBlock) indices() kernels.I32 { return kernels.I32(s.step + stepHeader) }

// set changes bytes of the block.
func (s *stepBlock) set(offset int, value []byte) {
	if string(s.stepHost[offset:offset+len(value)]) != string(value) {
		copy(s.stepHost[offset:], value)
		s.stepChanged = true
	}
}

// setDropout sets the step of the dropout masks, and the number of their first block.
func (s *stepBlock) setDropout(step uint64, first uint32) {
	s.set(stepDropout, binary.LittleEndian.AppendUint64(nil, step))
	s.set(stepDropoutFirst, binary.LittleEndian.AppendUint32(nil, first))
}

func (s *stepBlock) setAdam(size, rootCorrection2 float32) {
	s.set(stepSize, binary.LittleEndian.AppendUint32(nil, math.Float32bits(size)))
	s.set(stepRootCorrection2, binary.LittleEndian.AppendUint32(nil, math.Float32bits(rootCorrection2)))
}

// flush sends the block to the device, if it has changed.
func (be *Backend) flush() error {
	if !be.stepChanged || be.err != nil {
		return be.err
	}
	slot := be.stepSlots[be.stepNext*be.stepBytes:][:be.stepBytes]
	// An event that was never recorded counts as reached.
	if err := be.stepCopied[be.stepNext].Synchronize(); err != nil {
		return failed("cuEventSynchronize", err)
	}
	copy(slot, be.stepHost)
	err := cu.MemcpyHtoDAsync(cu.DevicePtr(be.step), unsafe.Pointer(unsafe.SliceData(slot)),
		int64(be.stepBytes), be.stream)
	if err != nil {
		return failed("cuMemcpyHtoDAsync", err)
	}
	if err := be.stepCopied[be.stepNext].Record(be.stream); err != nil {
		return failed("cuEventRecord", err)
	}
	be.stepNext = (be.stepNext + 1) % ringSlots
	be.stepChanged = false
	return nil
}
