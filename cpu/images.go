package cpu

import (
	"gorgonia.org/tensor"

	"crnn/model"
)

// images is a data set as bytes.
type images struct {
	be             *Backend
	set            model.ImageSet
	pixels, labels []uint8
}

// Set implements model.Images.
func (s *images) Set() model.ImageSet { return s.set }

// NewImages implements model.Backend. It shares the memory of pixels and labels.
func (be *Backend) NewImages(pixels, labels []uint8, channels, height, width int) (model.Images, error) {
	set, err := model.NewImageSet(pixels, labels, channels, height, width)
	if err != nil {
		return nil, err
	}
	return &images{be, set, pixels, labels}, nil
}

// Replace implements model.Images. It shares the memory of pixels and labels.
func (s *images) Replace(pixels, labels []uint8) error {
	if err := s.set.CheckReplace(pixels, labels); err != nil {
		return err
	}
	s.be.pool.flush() // a Gather may wait for its turn
	s.pixels, s.labels = pixels, labels
	return s.be.err
}

// byteToUnit[v] is v/255, correctly rounded.
var byteToUnit = func() (table [256]float32) {
	for v := range table {
		table[v] = float32(float64(v) / 255)
	}
	return
}()

// Gather implements model.Images.
func (s *images) Gather(p model.Pass, indices []int32, x *tensor.Dense, l model.Labels) error {
	if err := s.set.CheckGather(p, indices, x, l); err != nil {
		return err
	}
	if s.be.err != nil {
		return s.be.err
	}
	s.be.profile.begin("gather")
	xv, classes, size := values(x), l.(*labels).of, s.set.Bytes()
	s.be.samples(len(indices), func(_, lo, hi int) {
		for b := lo; b < hi; b++ {
			at := int(indices[b])
			dst := xv[b*size:][:size]
			for i, v := range s.pixels[at*size:][:size] {
				dst[i] = byteToUnit[v]
			}
			classes[b] = s.labels[at]
		}
	})
	return nil
}
