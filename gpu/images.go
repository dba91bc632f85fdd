//go:build cuda

package gpu

import (
	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// imagesShare is the part of the free memory that a data set may take, so that networks have room.
const imagesShare = 0.5

// NewImages implements model.Backend. A data set that would take more than a share of the card's memory
// stays in the host's, from where each batch is fetched (images_host.go). The results are the same.
func (be *Backend) NewImages(pixels, labels []uint8, channels, height, width int) (model.Images, error) {
	set, err := model.NewImageSet(pixels, labels, channels, height, width)
	if err != nil {
		return nil, err
	}
	if err := be.ready("batch"); err != nil {
		return nil, err
	}
	free, err := be.MemoryFree()
	if err != nil {
		return nil, err
	}
	if float64(len(pixels)+len(labels)) > imagesShare*float64(free) {
		return newHostImages(be, set, pixels, labels)
	}
	s := &images{be: be, set: set}
	for _, part := range []struct {
		bytes []uint8
		to    *kernels.U8
	}{{pixels, &s.pixels}, {labels, &s.classes}} {
		address, err := be.alloc(int64(len(part.bytes)))
		if err != nil {
			return nil, err
		}
		if err := be.upload(address, part.bytes); err != nil {
			return nil, err
		}
		*part.to = kernels.U8(address)
	}
	return s, nil
}

// images is a data set on the device, as bytes.
type images struct {
	be              *Backend
	set             model.ImageSet
	pixels, classes kernels.U8
}

// Set implements model.Images.
func (s *images) Set() model.ImageSet { return s.set }

// Replace implements model.Images.
func (s *images) Replace(pixels, labels []uint8) error {
	if err := s.set.CheckReplace(pixels, labels); err != nil {
		return err
	}
	if err := s.be.upload(uint64(s.pixels), pixels); err != nil {
		return err
	}
	return s.be.upload(uint64(s.classes), labels)
}

// Gather implements model.Images.
func (s *images) Gather(p model.Pass, indices []int32, x *tensor.Dense, l model.Labels) error {
	be := s.be
	if err := s.set.CheckGather(p, indices, x, l); err != nil {
		return err
	}
	if be.err != nil {
		return be.err
	}
	be.set(stepHeader, bytesOf(indices))
	be.launch(kernels.GatherBatch(s.pixels, s.classes, be.indices(), f32(x), l.(*labels).of, int32(s.set.Bytes())),
		grid{len(indices), 1, 1})
	return nil
}
