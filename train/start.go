package train

import (
	"fmt"
	"hash/crc32"

	"crnn/data"
	"crnn/model"
)

// newRunner puts everything in place for the next step.
func newRunner(job Job) (*runner, error) {
	r := &runner{Job: job}
	if r.Observe == nil {
		r.Observe = func(Event) error { return nil }
	}
	start := r.restore
	if r.From == nil {
		start = r.begin
	}
	if err := start(); err != nil {
		return nil, err
	}
	var err error
	if r.Plan, err = r.Config.Plan(r.Data.Train.Count); err != nil {
		return nil, err
	}

	// A batch is never larger than the training set.
	maxBatch := max(min(r.Config.BatchSize, len(r.Plan.Train)), EvalBatch)
	sizes := r.last.Config
	sizes.Dropout = r.Config.Dropout
	if r.net, err = model.New(r.Backend, sizes, maxBatch, r.Config.Seed); err != nil {
		return nil, fieldError(err)
	}
	if err := r.net.SetState(r.last); err != nil {
		return nil, err
	}
	if r.adamM != nil {
		if err := r.net.SetMoments(r.adamM, r.adamV); err != nil {
			return nil, err
		}
	} else if r.adamM, r.adamV, err = r.net.Moments(); err != nil {
		return nil, err
	}
	r.net.SetStep(r.Step)
	for _, s := range []struct {
		to  *model.Images
		set *data.Set
	}{{&r.trainImages, r.Data.Train}, {&r.testImages, r.Data.Test}} {
		if *s.to, err = r.Backend.NewImages(s.set.Images, s.set.Labels, s.set.Height, s.set.Width); err != nil {
			return nil, err
		}
	}

	if r.Dir != nil {
		r.Config.Out = r.Dir.Path()
		if err := SaveConfig(r.Dir.File(ConfigFile), r.Config, r.Build); err != nil {
			return nil, err
		}
		if r.From == nil {
			return r, r.save()
		}
	}
	return r, nil
}

// begin is the start of a new run.
func (r *runner) begin() error {
	if err := r.Config.Validate(); err != nil {
		return err
	}
	r.dataID = dataID(r.Data)
	if r.Config.Init == "" {
		sizes := r.Config.sizes()
		sizes.ImageHeight, sizes.ImageWidth = r.Data.Train.Height, r.Data.Train.Width
		if err := sizes.Validate(); err != nil {
			return fieldError(err)
		}
		r.last = model.NewState(sizes, r.Config.Seed)
		return nil
	}
	var err error
	if r.last, err = model.ReadWeights(r.Config.Init); err != nil {
		return err
	}
	return r.adopt(r.last.Config)
}

// adopt makes the sizes of the weights to start from those of the run.
func (r *runner) adopt(sizes model.Config) error {
	c, initial := &r.Config, Default()
	for _, s := range []struct {
		field        string
		size         *int
		usual, given int
	}{
		{"hidden-size", &c.HiddenSize, initial.HiddenSize, sizes.HiddenSize},
		{"num-layers", &c.NumLayers, initial.NumLayers, sizes.NumLayers},
		{"input-size", &c.InputSize, initial.InputSize, sizes.InputSize},
	} {
		if *s.size != s.usual && *s.size != s.given {
			return &FieldError{s.field, *s.size, fmt.Sprintf("must be left out or be %d, the size of the weights in %s", s.given, c.Init)}
		}
		*s.size = s.given
	}
	for _, set := range []*data.Set{r.Data.Train, r.Data.Test} {
		for _, label := range set.Labels {
			if int(label) >= sizes.Classes {
				return &FieldError{"init", c.Init, fmt.Sprintf("its weights tell %d classes apart, but the data has a label %d", sizes.Classes, label)}
			}
		}
	}
	return nil
}

// restore puts the run where its checkpoint left it.
func (r *runner) restore() error {
	ck := r.From
	r.Config, r.Progress = ck.Config, ck.Progress
	r.last, r.adamM, r.adamV, r.best = ck.Last, ck.AdamM, ck.AdamV, ck.Best
	r.saved = ck.Progress.Step
	if r.dataID = dataID(r.Data); r.dataID != ck.DataID {
		return fmt.Errorf("%s: not the data that the run was started with (%s, expected %s); give its directory with --data", r.Data.Dir, r.dataID, ck.DataID)
	}
	return nil
}

// dataID tells data sets apart: the number and size of the images, and a checksum of
// images and labels.
func dataID(d *data.Dataset) string {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := uint32(0)
	for _, set := range []*data.Set{d.Train, d.Test} {
		sum = crc32.Update(sum, table, set.Images)
		sum = crc32.Update(sum, table, set.Labels)
	}
	return fmt.Sprintf("%d and %d images of %dx%d, CRC-32C %08x", d.Train.Count, d.Test.Count, d.Train.Height, d.Train.Width, sum)
}
