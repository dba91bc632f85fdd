package model

import (
	"fmt"

	"gorgonia.org/tensor"
)

// checker keeps the first error of a check.
type checker struct {
	what string // name of the checked thing; errors begin with it
	err  error
}

func (c *checker) failf(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(c.what+": "+format, args...)
	}
}

// atLeast checks the size of the given name.
func (c *checker) atLeast(least int, name string, size int) {
	if size < least {
		c.failf("%s is %d, expected at least %d", name, size, least)
	}
}

// shape checks that the array of the given name exists and has the shape want.
func (c *checker) shape(name string, a *tensor.Dense, want ...int) {
	if a == nil {
		c.failf("%s is missing, expected an array of shape %v", name, want)
	} else if !a.Shape().Eq(tensor.Shape(want)) {
		c.failf("%s has shape %v, expected %v", name, []int(a.Shape()), want)
	}
}

// sequence checks that an array has as many samples and elements as the shape want. Operators may
// read the same memory in another shape.
func (c *checker) sequence(name string, a *tensor.Dense, want ...int) {
	if a != nil && a.Dims() > 0 && a.Shape()[0] == want[0] && a.DataSize() == tensor.Shape(want).TotalSize() {
		return
	}
	c.shape(name, a, want...)
}

// Check returns an error if the sizes or the arrays do not fit together.
func (s *ConvBlockSpec) Check() error {
	c := checker{what: fmt.Sprintf("convolution block %d→%d", s.In, s.Out)}
	c.atLeast(1, "MaxBatch", s.MaxBatch)
	c.atLeast(1, "In", s.In)
	c.atLeast(1, "Out", s.Out)
	c.atLeast(2, "Height", s.Height)
	c.atLeast(2, "Width", s.Width)
	c.atLeast(1, "Kernel", s.Kernel)
	if s.Kernel%2 == 0 {
		c.failf("Kernel is %d, expected an odd number", s.Kernel)
	}
	c.shape("X", s.X, s.MaxBatch, s.In, s.Height, s.Width)
	c.shape("Y", s.Y, s.MaxBatch, s.Out, s.Height/2, s.Width/2)
	c.shape("DY", s.DY, s.MaxBatch, s.Out, s.Height/2, s.Width/2)
	if s.DX != nil {
		c.shape("DX", s.DX, s.MaxBatch, s.In, s.Height, s.Width)
	}
	c.shape("Weight", s.Weight, s.Out, s.In, s.Kernel, s.Kernel)
	c.shape("DWeight", s.DWeight, s.Out, s.In, s.Kernel, s.Kernel)
	for _, a := range []struct {
		name  string
		array *tensor.Dense
	}{
		{"Bias", s.Bias}, {"Gamma", s.Gamma}, {"Beta", s.Beta}, {"RunningMean", s.RunningMean}, {"RunningVar", s.RunningVar},
		{"DBias", s.DBias}, {"DGamma", s.DGamma}, {"DBeta", s.DBeta},
	} {
		c.shape(a.name, a.array, s.Out)
	}
	return c.err
}

// Check returns an error if the sizes or the arrays do not fit together.
func (s *RNNSpec) Check() error {
	c := checker{what: "RNN"}
	c.atLeast(1, "MaxBatch", s.MaxBatch)
	c.atLeast(1, "TimeSteps", s.TimeSteps)
	c.atLeast(1, "In", s.In)
	c.atLeast(1, "Hidden", s.Hidden)
	c.atLeast(1, "number of Layers", len(s.Layers))
	if !(s.Dropout >= 0 && s.Dropout < 1) {
		c.failf("Dropout is %v, expected a number in [0, 1)", s.Dropout)
	}
	c.sequence("X", s.X, s.MaxBatch, s.TimeSteps, s.In)
	c.sequence("DX", s.DX, s.MaxBatch, s.TimeSteps, s.In)
	c.shape("Y", s.Y, s.MaxBatch, s.Hidden)
	c.shape("DY", s.DY, s.MaxBatch, s.Hidden)
	in := s.In
	for i, l := range s.Layers {
		for _, a := range []struct {
			name  string
			array *tensor.Dense
			shape []int
		}{
			{"WeightIH", l.WeightIH, []int{s.Hidden, in}}, {"WeightHH", l.WeightHH, []int{s.Hidden, s.Hidden}},
			{"BiasIH", l.BiasIH, []int{s.Hidden}}, {"BiasHH", l.BiasHH, []int{s.Hidden}},
			{"DWeightIH", l.DWeightIH, []int{s.Hidden, in}}, {"DWeightHH", l.DWeightHH, []int{s.Hidden, s.Hidden}},
			{"DBiasIH", l.DBiasIH, []int{s.Hidden}}, {"DBiasHH", l.DBiasHH, []int{s.Hidden}},
		} {
			c.shape(fmt.Sprintf("%s of layer %d", a.name, i), a.array, a.shape...)
		}
		in = s.Hidden
	}
	return c.err
}

// Check returns an error if the sizes or the arrays do not fit together.
func (s *HeadSpec) Check() error {
	c := checker{what: "head"}
	c.atLeast(1, "MaxBatch", s.MaxBatch)
	c.atLeast(1, "In", s.In)
	if s.Classes < 1 || s.Classes > 256 {
		c.failf("Classes is %d, expected from 1 to 256", s.Classes)
	}
	c.shape("X", s.X, s.MaxBatch, s.In)
	c.shape("DX", s.DX, s.MaxBatch, s.In)
	c.shape("Logits", s.Logits, s.MaxBatch, s.Classes)
	c.shape("Weight", s.Weight, s.Classes, s.In)
	c.shape("DWeight", s.DWeight, s.Classes, s.In)
	c.shape("Bias", s.Bias, s.Classes)
	c.shape("DBias", s.DBias, s.Classes)
	return c.err
}

// Check returns an error if pixels and labels do not have the sizes of s.
func (s ImageSet) Check(pixels, labels []uint8) error {
	if s.Height < 1 || s.Width < 1 || s.Channels < 1 {
		return fmt.Errorf("images of %s values, expected at least one", s.size())
	}
	if len(pixels) != s.Count*s.Bytes() || len(labels) != s.Count {
		return fmt.Errorf("%d pixels and %d labels for %d images of %s",
			len(pixels), len(labels), s.Count, s.size())
	}
	return nil
}

// CheckReplace returns an error if pixels and labels cannot take the place of a set's images.
func (s ImageSet) CheckReplace(pixels, labels []uint8) error {
	if err := s.Check(pixels, labels); err != nil {
		return err
	}
	for _, label := range labels {
		if int(label) >= s.Classes {
			return fmt.Errorf("label %d in place of labels below %d", label, s.Classes)
		}
	}
	return nil
}

// Bytes returns the bytes per image.
func (s ImageSet) Bytes() int { return s.Channels * s.Height * s.Width }

// size returns height, width and channels, such as 28x28x1.
func (s ImageSet) size() string { return fmt.Sprintf("%dx%dx%d", s.Height, s.Width, s.Channels) }

// NewImageSet describes images [channels,height,width] of bytes, and their labels.
func NewImageSet(pixels, labels []uint8, channels, height, width int) (ImageSet, error) {
	s := ImageSet{Count: len(labels), Channels: channels, Height: height, Width: width}
	for _, label := range labels {
		s.Classes = max(s.Classes, int(label)+1)
	}
	return s, s.Check(pixels, labels)
}

// CheckUpdate returns an error if the arrays of an optimiser, the parameters first, differ in length.
func CheckUpdate(arrays ...*tensor.Dense) error {
	for _, a := range arrays {
		if want := arrays[0].DataSize(); a.DataSize() != want {
			return fmt.Errorf("of %d parameters with an array of %d elements", want, a.DataSize())
		}
	}
	return nil
}

// CheckGather returns an error if Gather cannot write the images of these indices into x [n,C,H,W]
// and labels for p.
func (s ImageSet) CheckGather(p Pass, indices []int32, x *tensor.Dense, labels Labels) error {
	shape := x.Shape()
	if len(shape) != 4 {
		return fmt.Errorf("images for an array of shape %v, expected [n %d %d %d]",
			[]int(shape), s.Channels, s.Height, s.Width)
	}
	if shape[1] != s.Channels || shape[2] != s.Height || shape[3] != s.Width {
		return fmt.Errorf("images of %s, expected %dx%dx%d, the height, width and channels that the network takes",
			s.size(), shape[2], shape[3], shape[1])
	}
	for _, err := range []error{p.Check(shape[0]), p.CheckLabels(labels, labels.Classes())} {
		if err != nil {
			return fmt.Errorf("gather %w", err)
		}
	}
	if len(indices) != p.Samples {
		return fmt.Errorf("%d indices of images for a pass of %d samples", len(indices), p.Samples)
	}
	if classes := labels.Classes(); s.Classes > classes {
		return fmt.Errorf("labels up to %d for a network of %d classes, expected labels below %d",
			s.Classes-1, classes, classes)
	}
	for _, i := range indices {
		if i < 0 || int(i) >= s.Count {
			return fmt.Errorf("image %d of %d, expected from 0 to %d", i, s.Count, s.Count-1)
		}
	}
	return nil
}
