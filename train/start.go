package train

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"crnn/data"
	"crnn/model"
)

// New prepares everything for the next step, and writes nothing. It refuses a run that cannot work.
// The error of an impossible setting is a *FieldError.
func New(job Job) (*Runner, error) {
	r := &Runner{Job: job, dataID: sync.OnceValue(func() string { return dataID(job.Data) })}
	go r.dataID() // it reads all of the data, while the network is made
	start := r.restore
	if r.From == nil {
		start = r.begin
	}
	if err := start(); err != nil {
		return nil, err
	}
	var err error
	if r.Plan, err = r.Config.Plan(r.Data); err != nil {
		return nil, err
	}

	// The images come first, so that the network's check sees the memory that is left.
	for _, s := range []struct {
		to  *model.Images
		set *data.Set
	}{{&r.trainImages, r.Data.Train}, {&r.testImages, r.Data.Test}} {
		d := s.set.Description
		if *s.to, err = r.Backend.NewImages(s.set.Images, s.set.Labels, d.Channels, d.Height, d.Width); err != nil {
			return nil, err
		}
	}
	sizes := r.last.Config
	sizes.Dropout = r.Config.Dropout
	// A batch is never larger than the training set.
	batch := min(r.Config.BatchSize, len(r.Plan.Train))
	options := model.Options{MaxBatch: maxBatch(sizes, batch), Seed: r.Config.Seed, Optimizer: optimizer}
	if r.net, err = model.New(r.Backend, sizes, options); err != nil {
		if e := (*model.MemoryError)(nil); errors.As(err, &e) && e.Fits < maxBatch(sizes, 1) {
			e.Fits = 0 // the evaluation's batches would not fit
			err = fmt.Errorf("%w (an evaluation takes %d at a time)", err, maxBatch(sizes, 1))
		}
		return nil, fieldError(err)
	}
	if err := r.net.SetState(r.last); err != nil {
		return nil, err
	}
	if r.optimizer != nil {
		if err := r.net.SetOptimizerState(r.optimizer); err != nil {
			return nil, err
		}
	} else if r.optimizer, err = r.net.OptimizerState(); err != nil {
		return nil, err
	}
	r.net.SetStep(r.Step)
	return r, nil
}

// maxEvalValues bounds the outputs of a network's layers in an evaluation, in elements. Together
// with the operators' other arrays that is some hundred MiB.
const maxEvalValues = 1 << 24

// maxBatch returns the largest batch that a network of the given sizes is made for. It is the
// larger one of the training batch and EvalBatch, or the training batch if the evaluation would
// need too much memory. It does not depend on the machine, since the batches of an evaluation
// affect its rounding.
func maxBatch(c model.Config, batch int) int {
	pixels := c.ImageHeight * c.ImageWidth
	values := pixels*c.Channels[0] + pixels/4*c.Channels[1] + c.NumLayers*c.SeqLen()*c.HiddenSize // per image
	if values > maxEvalValues/EvalBatch {
		return batch
	}
	return max(batch, EvalBatch)
}

// Start writes the first files of a run into its directory: a checkpoint and the settings. For a
// resumed run it writes the checkpoint only if the settings differ from those in the directory's
// checkpoint.
func (r *Runner) Start() error {
	if r.Dir == nil {
		return nil
	}
	r.Config.Out = r.Dir.Path()
	saved := r.Dir.saved
	saved.Out = r.Config.Out
	// The checkpoint comes first: a directory with only settings could neither be resumed nor used
	// for a new run.
	if r.From == nil || saved != r.Config {
		if err := r.save(); err != nil {
			return err
		}
	}
	path := r.Dir.File(ConfigFile)
	if err := SaveConfig(path, r.Config, r.Build); err != nil {
		return r.Dir.cannotWrite(path, err)
	}
	return nil
}

// begin is the start of a new run.
func (r *Runner) begin() error {
	if err := r.Config.Validate(); err != nil {
		return err
	}
	if r.Config.Init == "" {
		sizes, err := r.Config.SizesFor(r.Data)
		if err != nil {
			return err
		}
		r.Config.InputSize = InputSize(sizes.InputSize)
		r.last = model.NewState(sizes, r.Config.Seed)
		r.last.Images = r.Data.Train.Description
		return nil
	}
	var err error
	if r.last, err = model.ReadWeights(r.Config.Init); err != nil {
		return err
	}
	err = r.adopt(r.last.Config)
	r.last.Images = r.Data.Train.Description
	return err
}

// adopt gives the run the sizes of the weights that it starts from. It refuses a size that was
// given and differs.
func (r *Runner) adopt(sizes model.Config) error {
	c, initial := &r.Config, Default()
	if (r.Given["channels"] || c.Channels != initial.Channels) && c.Channels != Channels(sizes.Channels) {
		return &FieldError{"channels", c.Channels, fmt.Sprintf(
			"must be left out or be %v, the sizes of the weights in %s", Channels(sizes.Channels), c.Init)}
	}
	c.Channels = Channels(sizes.Channels)
	input := int(c.InputSize)
	for _, s := range []struct {
		field        string
		size         *int
		usual, given int
	}{
		{"kernel", &c.Kernel, initial.Kernel, sizes.Kernel},
		{"hidden-size", &c.HiddenSize, initial.HiddenSize, sizes.HiddenSize},
		{"num-layers", &c.NumLayers, initial.NumLayers, sizes.NumLayers},
		{"input-size", &input, 0, sizes.InputSize},
	} {
		if s.field == "input-size" && input == 0 { // auto
			*s.size = s.given
		}
		if (r.Given[s.field] || *s.size != s.usual) && *s.size != s.given {
			return &FieldError{s.field, *s.size,
				fmt.Sprintf("must be left out or be %d, the size of the weights in %s", s.given, c.Init)}
		}
		*s.size = s.given
	}
	c.InputSize = InputSize(input)
	given, train := r.last.Images, r.Data.Train.Description
	if !given.SameShape(train) {
		return &FieldError{"init", c.Init,
			fmt.Sprintf("must hold weights for images of %s, as the data has, but they are for %s", train.Size(), given.Size())}
	}
	if n := len(train.Classes); sizes.Classes != n {
		return &FieldError{"init", c.Init,
			fmt.Sprintf("must hold weights that tell %d classes apart, as many as the data has, but they tell %d",
				n, sizes.Classes)}
	}
	return nil
}

// restore sets the run to the state in its checkpoint.
func (r *Runner) restore() error {
	ck := r.From
	r.Config, r.Progress = ck.Config, ck.Progress
	r.last, r.optimizer, r.best = ck.Last, ck.Optimizer, ck.Best
	for _, state := range []*model.State{r.last, r.best} {
		if state != nil {
			state.Images = r.Data.Train.Description
		}
	}
	r.saved = ck.Progress.Step
	if id := r.dataID(); id != ck.DataID {
		return fmt.Errorf("%s: not the data that the run was started with (%s, expected %s); give its directory with --data",
			r.Data.Dir, id, ck.DataID)
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
	size := d.Train.Size()
	if d.Train.Channels == 1 { // as checkpoints of 0.1.0 have it
		size = fmt.Sprintf("%dx%d", d.Train.Height, d.Train.Width)
	}
	return fmt.Sprintf("%d and %d images of %s, CRC-32C %08x", d.Train.Count, d.Test.Count, size, sum)
}
