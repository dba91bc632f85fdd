//go:build cuda

package gpu

import (
	"fmt"

	"gorgonia.org/tensor"

	"crnn/kernels"
	"crnn/model"
)

// images is a data set on the device, as bytes.
type images struct {
	be              *Backend
	pixels, classes kernels.U8
	size            int // of an image
}

// NewImages implements model.Backend.
func (be *Backend) NewImages(pixels, labels []uint8, height, width int) (model.Images, error) {
	if len(pixels) != len(labels)*height*width {
		return nil, fmt.Errorf("%d pixels for %d images of %dx%d", len(pixels), len(labels), height, width)
	}
	if err := be.ready("batch"); err != nil {
		return nil, err
	}
	s := &images{be: be, size: height * width}
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

// Gather implements model.Images.
func (s *images) Gather(indices []int32, x *tensor.Dense, l model.Labels) {
	be := s.be
	if be.err != nil || len(indices) == 0 {
		return
	}
	be.set(stepHeader, bytesOf(indices))
	be.launch(kernels.GatherBatch(s.pixels, s.classes, be.indices(), f32(x), kernels.U8(l.(labels)), int32(s.size)),
		dim{len(indices), 1, 1}, dim{256, 1, 1})
}
