package train

import (
	"errors"
	"fmt"
	"math"
	"regexp"

	"crnn/data"
	"crnn/model"
)

// Config holds the settings of a run: the flags of crnn train, under the same names with
// `_` for `-` in YAML. Default gives the recipe's.
type Config struct {
	Device    string `yaml:"device"`    // auto, cpu, cuda or cuda:N
	Precision string `yaml:"precision"` // fp32, tf32 or bf16
	Threads   int    `yaml:"threads"`   // of the CPU; 0: one for each processor
	Data      string `yaml:"data"`      // directory of the data set; empty: search the usual places
	Out       string `yaml:"out"`       // directory of the run; empty: runs/<date-time>
	Seed      uint64 `yaml:"seed"`      // of split, order, initial weights and dropout

	Epochs        int     `yaml:"epochs"`
	BatchSize     int     `yaml:"batch_size"`
	LR            float64 `yaml:"lr"`
	LRSchedule    string  `yaml:"lr_schedule"` // step, cosine or none
	LRStep        int     `yaml:"lr_step"`     // epochs between two steps
	LRGamma       float64 `yaml:"lr_gamma"`    // factor of a step
	Dropout       float64 `yaml:"dropout"`
	ValFraction   float64 `yaml:"val_fraction"`   // of the training images; 0: no validation
	EarlyStopping int     `yaml:"early_stopping"` // epochs without a better validation loss; 0: off
	HiddenSize    int     `yaml:"hidden_size"`
	NumLayers     int     `yaml:"num_layers"`
	InputSize     int     `yaml:"input_size"`
	MaxSteps      int     `yaml:"max_steps"`  // 0: no limit
	NoShuffle     bool    `yaml:"no_shuffle"` // take the images in file order
	Init          string  `yaml:"init"`       // file of weights to start from; empty: random ones
	LogSteps      bool    `yaml:"log_steps"`  // a line for every step in the metrics
}

// Default returns the settings of the recipe.
func Default() Config {
	sizes := model.Default()
	return Config{
		Device: "auto", Precision: "fp32", Seed: 1,
		Epochs: 15, BatchSize: 50,
		LR: 0.0005, LRSchedule: "step", LRStep: 3, LRGamma: 0.5,
		Dropout: sizes.Dropout, ValFraction: 0.1,
		HiddenSize: sizes.HiddenSize, NumLayers: sizes.NumLayers, InputSize: sizes.InputSize,
	}
}

// FieldError says which rule a setting breaks.
type FieldError struct {
	Field string // the flag's name without dashes, such as "batch-size"
	Value any
	Rule  string
}

func (e *FieldError) Error() string { return fmt.Sprintf("--%s %v: %s", e.Field, e.Value, e.Rule) }

// Limits far above any useful setting. They keep a mistyped number from asking for all of the
// machine's memory.
const (
	maxThreads   = 1024
	maxEpochs    = 1_000_000
	maxBatchSize = 8192
	maxParams    = 1 << 28 // elements: 1 GiB each for weights, gradients and both of Adam's moments
)

var devicePattern = regexp.MustCompile(`^(auto|cpu|cuda|cuda:[0-9]{1,3})$`)

// Validate returns a *FieldError for the first rule that c breaks, or nil. It does not check
// whether device, precision, files and directories exist on this machine.
func (c Config) Validate() error {
	bad := func(field string, value any, format string, args ...any) error {
		return &FieldError{field, value, fmt.Sprintf(format, args...)}
	}
	switch {
	case !devicePattern.MatchString(c.Device):
		return bad("device", c.Device, "must be auto, cpu, cuda or cuda:N")
	case c.Precision != "fp32" && c.Precision != "tf32" && c.Precision != "bf16":
		return bad("precision", c.Precision, "must be fp32, tf32 or bf16")
	case c.Threads < 0 || c.Threads > maxThreads:
		return bad("threads", c.Threads, "must be from 0 (one for each processor) to %d", maxThreads)
	case c.Epochs < 1 || c.Epochs > maxEpochs:
		return bad("epochs", c.Epochs, "must be from 1 to %d", maxEpochs)
	case c.BatchSize < 1 || c.BatchSize > maxBatchSize:
		return bad("batch-size", c.BatchSize, "must be from 1 to %d", maxBatchSize)
	case !(c.LR > 0 && c.LR <= math.MaxFloat32): // false for NaN
		return bad("lr", c.LR, "must be a number above 0")
	case c.LRSchedule != "step" && c.LRSchedule != "cosine" && c.LRSchedule != "none":
		return bad("lr-schedule", c.LRSchedule, "must be step, cosine or none")
	case c.LRStep < 1:
		return bad("lr-step", c.LRStep, "must be at least 1")
	case !(c.LRGamma > 0 && c.LRGamma <= 1):
		return bad("lr-gamma", c.LRGamma, "must be above 0 and at most 1")
	case !(c.ValFraction >= 0 && c.ValFraction < 1):
		return bad("val-fraction", c.ValFraction, "must be at least 0 and below 1")
	case c.EarlyStopping < 0:
		return bad("early-stopping", c.EarlyStopping, "must be at least 0, which turns it off")
	case c.EarlyStopping > 0 && c.ValFraction == 0:
		return bad("early-stopping", c.EarlyStopping, "needs a validation loss, but --val-fraction is 0")
	case c.MaxSteps < 0:
		return bad("max-steps", c.MaxSteps, "must be at least 0, which means no limit")
	}
	sizes := c.sizes()
	if err := sizes.Validate(); err != nil {
		return fieldError(err)
	}
	if n := sizes.Layout().ParamLen; n > maxParams {
		return bad("hidden-size", c.HiddenSize, "with %d layers the network has %d parameters, at most %d are allowed",
			c.NumLayers, n, maxParams)
	}
	return nil
}

// sizes returns the network's sizes for images of 28x28. If the run starts from weights, their
// sizes replace all of these except Dropout.
func (c Config) sizes() model.Config {
	sizes := model.Default()
	sizes.Dropout = c.Dropout
	if c.Init == "" {
		sizes.HiddenSize, sizes.NumLayers, sizes.InputSize = c.HiddenSize, c.NumLayers, c.InputSize
	}
	return sizes
}

// fieldError turns the model's error about a size into an error about the setting.
func fieldError(err error) error {
	if e := (*model.SizeError)(nil); errors.As(err, &e) {
		return &FieldError{e.Field, e.Value, e.Rule}
	}
	return err
}

// Plan is how a run uses its training images.
type Plan struct {
	Train, Val    []int32 // indices of the images, ascending; Val is empty without validation
	StepsPerEpoch int
	TotalSteps    int64 // of the whole run, if it does not stop early
}

// Plan returns the plan of a run on a training set of that many images, or a *FieldError if there
// are too few for the settings.
func (c Config) Plan(images int) (Plan, error) {
	var p Plan
	p.Train, p.Val = data.Split(images, c.ValFraction, c.Seed)
	switch {
	case c.ValFraction > 0 && len(p.Val) == 0:
		return p, &FieldError{"val-fraction", c.ValFraction,
			fmt.Sprintf("must be 0 or take at least one of the %d training images", images)}
	case len(p.Train) == 0:
		return p, &FieldError{"val-fraction", c.ValFraction,
			fmt.Sprintf("must leave at least one of the %d training images", images)}
	}
	p.StepsPerEpoch = (len(p.Train) + c.BatchSize - 1) / c.BatchSize // the last batch of an epoch may be smaller
	p.TotalSteps = int64(c.Epochs) * int64(p.StepsPerEpoch)
	if c.MaxSteps > 0 {
		p.TotalSteps = min(p.TotalSteps, int64(c.MaxSteps))
	}
	return p, nil
}
