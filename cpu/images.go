package cpu

import (
	"fmt"

	"gorgonia.org/tensor"

	"crnn/model"
)

// images is a data set as bytes.
type images struct {
	be             *Backend
	pixels, labels []uint8
	size           int // of an image
}

// NewImages implements model.Backend. It shares the memory of pixels and labels.
func (be *Backend) NewImages(pixels, labels []uint8, height, width int) (model.Images, error) {
	if len(pixels) != len(labels)*height*width {
		return nil, fmt.Errorf("%d pixels for %d images of %dx%d", len(pixels), len(labels), height, width)
	}
	return &images{be, pixels, labels, height * width}, nil
}

// byteToUnit[v] is v/255, correctly rounded.
var byteToUnit = func() (table [256]float32) {
	for v := range table {
		table[v] = float32(float64(v) / 255)
	}
	return
}()

// Gather implements model.Images.
func (s *images) Gather(indices []int32, x *tensor.Dense, l model.Labels) {
	s.be.begin("gather")
	xv := values(x)
	s.be.samples(len(indices), func(_, lo, hi int) {
		for b := lo; b < hi; b++ {
			at := int(indices[b])
			dst := xv[b*s.size:][:s.size]
			for i, v := range s.pixels[at*s.size:][:s.size] {
				dst[i] = byteToUnit[v]
			}
			l.(labels)[b] = s.labels[at]
		}
	})
}
