//go:build cuda

package gpu

import (
	"unsafe"

	"gorgonia.org/cu"
	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// hostImages is a data set in the host's memory, for one that is large beside the card's. Gather puts
// the images of a batch into a page-locked slot, and a stream of its own has the card's copy engine
// fetch them. The host is some steps ahead of the card: so the engine fetches a batch while the step
// before computes. Only the slots are page-locked; locking a data set of many gigabytes would take
// that memory from all other programs.
type hostImages struct {
	be             *Backend
	set            model.ImageSet
	pixels, labels []uint8

	copies cu.Stream
	slots  [2]imageSlot // one is computed with while the other one is filled
	next   int
	room   int // images per slot
}

// imageSlot is room for the images of a batch, and then their labels, on both sides.
type imageSlot struct {
	host   pinned
	device uint64
	copied cu.Event // the card has fetched the slot
	used   cu.Event // the card has computed with it
}

func newHostImages(be *Backend, set model.ImageSet, pixels, labels []uint8) (*hostImages, error) {
	s := &hostImages{be: be, set: set, pixels: pixels, labels: labels}
	if be.plan {
		return s, nil
	}
	defer be.enter()()
	be.closers = append(be.closers, s.close)
	var err error
	if s.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return nil, failed("cuStreamCreate", err)
	}
	for i := range s.slots {
		for _, event := range []*cu.Event{&s.slots[i].copied, &s.slots[i].used} {
			if *event, err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return nil, failed("cuEventCreate", err)
			}
		}
	}
	return s, nil
}

// close gives back everything but the device memory, which is the pool's.
func (s *hostImages) close() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if s.copies != (cu.Stream{}) {
		keep(failed("cuStreamSynchronize", s.copies.Synchronize()))
	}
	for i := range s.slots {
		slot := &s.slots[i]
		for _, event := range []*cu.Event{&slot.copied, &slot.used} {
			if *event != (cu.Event{}) {
				keep(failed("cuEventDestroy", cu.DestroyEvent(event)))
			}
		}
		keep(slot.host.free())
	}
	if s.copies != (cu.Stream{}) {
		keep(failed("cuStreamDestroy", s.copies.Destroy()))
	}
	return first
}

// Set implements model.Images.
func (s *hostImages) Set() model.ImageSet { return s.set }

// Replace implements model.Images. It shares the memory of pixels and labels: every slot holds copies.
func (s *hostImages) Replace(pixels, labels []uint8) error {
	if err := s.set.CheckReplace(pixels, labels); err != nil {
		return err
	}
	s.pixels, s.labels = pixels, labels
	return s.be.err
}

// grow makes room for n images in each slot, after all earlier work has ended.
func (s *hostImages) grow(n int) error {
	if n <= s.room {
		return nil
	}
	be := s.be
	if err := be.sync(); err != nil {
		return err
	}
	if err := s.copies.Synchronize(); err != nil {
		return failed("cuStreamSynchronize", err)
	}
	size := n * (s.set.Bytes() + 1)
	for i := range s.slots {
		slot := &s.slots[i]
		if err := slot.host.free(); err != nil {
			return err
		}
		var err error
		if slot.host, err = newPinned(size); err != nil {
			return err
		}
		if slot.device, err = be.alloc(int64(size)); err != nil {
			return err
		}
	}
	s.room = n
	return nil
}

// Gather implements model.Images.
func (s *hostImages) Gather(p model.Pass, indices []int32, x *tensor.Dense, l model.Labels) error {
	be := s.be
	if err := s.set.CheckGather(p, indices, x, l); err != nil {
		return err
	}
	if be.err != nil || be.plan {
		return be.err
	}
	defer be.enter()()
	if err := s.grow(len(indices)); err != nil {
		return err
	}
	slot := &s.slots[s.next]
	s.next = (s.next + 1) % len(s.slots)
	be.fail(s.fetch(slot, indices))

	// In the slot, image b of the batch is image b.
	be.set(stepHeader, bytesOf(upTo(len(indices))))
	classes := kernels.U8(slot.device + uint64(len(indices)*s.set.Bytes()))
	be.launch(kernels.GatherBatch(kernels.U8(slot.device), classes, be.indices(), f32(x), l.(*labels).of,
		int32(s.set.Bytes())),
		grid{len(indices), 1, 1})
	be.afterwards(func() error { return failed("cuEventRecord", slot.used.Record(be.stream)) })
	return be.err
}

// fetch starts the copy of the images into a slot, and lets the work that follows wait for it.
func (s *hostImages) fetch(slot *imageSlot, indices []int32) error {
	// An event that was never recorded counts as reached.
	if err := slot.copied.Synchronize(); err != nil {
		return failed("cuEventSynchronize", err)
	}
	n := s.set.Bytes()
	for b, i := range indices {
		copy(slot.host[b*n:], s.pixels[int(i)*n:][:n])
		slot.host[len(indices)*n+b] = s.labels[i]
	}
	if err := s.copies.Wait(slot.used, 0); err != nil {
		return failed("cuStreamWaitEvent", err)
	}
	size := len(indices) * (n + 1)
	err := cu.MemcpyHtoDAsync(cu.DevicePtr(slot.device), unsafe.Pointer(unsafe.SliceData(slot.host)), int64(size),
		s.copies)
	if err != nil {
		return failed("cuMemcpyHtoDAsync", err)
	}
	if err := slot.copied.Record(s.copies); err != nil {
		return failed("cuEventRecord", err)
	}
	return failed("cuStreamWaitEvent", s.be.stream.Wait(slot.copied, 0))
}

// upTo returns the numbers from 0 to n-1.
func upTo(n int) []int32 {
	a := make([]int32, n)
	for i := range a {
		a[i] = int32(i)
	}
	return a
}
