package train

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/model"
)

// Config holds the settings of a run: the flags of crnn train, under the same names with
// `_` for `-` in YAML. Default gives the recipe's.
type Config struct {
	Device    string `yaml:"device"`    // auto, cpu, cuda or cuda:N
	Precision string `yaml:"precision"` // fp32, tf32 or bf16
	Threads   int    `yaml:"threads"`   // of the CPU; 0: one for each processor
	Data      string `yaml:"data"`      // the data set, a directory or file; empty: search the usual places
	Out       string `yaml:"out"`       // directory of the run; empty: runs/<date-time>
	Seed      uint64 `yaml:"seed"`      // of split, order, initial weights and dropout

	ImageSize    ImageSize `yaml:"image_size"`    // pictures are scaled to it
	Grayscale    bool      `yaml:"grayscale"`     // colours become gray
	Background   string    `yaml:"background"`    // behind transparent parts of pictures: contrast, black or white
	TestFraction float64   `yaml:"test_fraction"` // of each class, if a folder or a CSV file has none for the test

	Epochs        int     `yaml:"epochs"`
	BatchSize     int     `yaml:"batch_size"`
	LR            float64 `yaml:"lr"`
	LRSchedule    string  `yaml:"lr_schedule"` // step, cosine or none
	LRStep        int     `yaml:"lr_step"`     // epochs between two steps
	LRGamma       float64 `yaml:"lr_gamma"`    // factor of a step
	Dropout       float64 `yaml:"dropout"`
	ValFraction   float64 `yaml:"val_fraction"`   // of the training images; 0: no validation
	EarlyStopping int     `yaml:"early_stopping"` // epochs without a better validation loss; 0: off

	Channels   Channels  `yaml:"channels"` // of the two convolutions
	Kernel     int       `yaml:"kernel"`   // of both convolutions
	HiddenSize int       `yaml:"hidden_size"`
	NumLayers  int       `yaml:"num_layers"`
	InputSize  InputSize `yaml:"input_size"`

	MaxSteps  int    `yaml:"max_steps"`  // 0: no limit
	NoShuffle bool   `yaml:"no_shuffle"` // take the images in file order
	Init      string `yaml:"init"`       // file of weights to start from; empty: random ones
	LogSteps  bool   `yaml:"log_steps"`  // a line for every step in the metrics
}

// Default returns the settings of the recipe.
func Default() Config {
	sizes := model.Default()
	return Config{
		Device: "auto", Precision: "fp32", Seed: 1,
		Epochs: 15, BatchSize: 50,
		LR: 0.0005, LRSchedule: "step", LRStep: 3, LRGamma: 0.5,
		Dropout: sizes.Dropout, ValFraction: 0.1, TestFraction: 0.1, Background: string(imageset.Contrast),
		Channels: sizes.Channels, Kernel: sizes.Kernel, HiddenSize: sizes.HiddenSize, NumLayers: sizes.NumLayers,
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
	case !slices.Contains([]imageset.Background{imageset.Contrast, imageset.Black, imageset.White},
		imageset.Background(c.Background)):
		return bad("background", c.Background, "must be contrast, black or white")
	case !(c.TestFraction > 0 && c.TestFraction < 1):
		return bad("test-fraction", c.TestFraction, "must be above 0 and below 1")
	case c.ImageSize != (ImageSize{}) && (min(c.ImageSize.Height, c.ImageSize.Width) < 4 ||
		max(c.ImageSize.Height, c.ImageSize.Width) > imageset.MaxSide):
		return bad("image-size", c.ImageSize, "must have sides from 4 to %d", imageset.MaxSide)
	case c.EarlyStopping < 0:
		return bad("early-stopping", c.EarlyStopping, "must be at least 0, which turns it off")
	case c.EarlyStopping > 0 && c.ValFraction == 0:
		return bad("early-stopping", c.EarlyStopping, "needs a validation loss, but --val-fraction is 0")
	case c.InputSize < 0:
		return bad("input-size", c.InputSize, "must be auto or at least 1")
	case c.MaxSteps < 0:
		return bad("max-steps", c.MaxSteps, "must be at least 0, which means no limit")
	}
	// What the data will be is not known yet: these are the recipe's images, with any input size.
	c.InputSize = 0
	recipe := model.Default()
	_, err := c.sizes(recipe)
	return err
}

// SizesFor returns the sizes of a network for a data set, as Sizes does.
func (c Config) SizesFor(d *data.Dataset) (model.Config, error) {
	sizes, err := c.Sizes(d.Train.Description)
	if e := (*model.SizeError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%s: images of %s: the %w; pass --image-size HxW, to which all are scaled",
			d.Dir, d.Train.Size(), err)
	}
	return sizes, err
}

// Sizes returns the sizes of a network for images. The error is a *FieldError if a setting makes them
// impossible, and a *model.SizeError if the images do. If the run starts from weights, their sizes replace
// all of these except Dropout.
func (c Config) Sizes(d imageset.Description) (model.Config, error) {
	return c.sizes(model.Config{
		ImageHeight: d.Height, ImageWidth: d.Width, ImageChannels: d.Channels, Classes: len(d.Classes),
	})
}

// sizes is Sizes for the images and classes of a network.
func (c Config) sizes(sizes model.Config) (model.Config, error) {
	sizes.Dropout = c.Dropout
	if c.Init != "" {
		c.Channels, c.Kernel, c.HiddenSize, c.NumLayers, c.InputSize = Default().Channels, Default().Kernel, 1, 1, 0
	}
	sizes.Channels, sizes.Kernel = c.Channels, c.Kernel
	sizes.HiddenSize, sizes.NumLayers, sizes.InputSize = c.HiddenSize, c.NumLayers, int(c.InputSize)
	if sizes.InputSize == 0 {
		sizes.InputSize = 1 // until the sizes that it follows from are known to be possible
	}
	if err := sizes.Validate(); err != nil {
		return sizes, fieldError(err)
	}
	if c.InputSize == 0 {
		sizes.InputSize = sizes.AutoInputSize()
	}
	if n := sizes.Layout().ParamLen; n > maxParams {
		return sizes, &FieldError{"hidden-size", c.HiddenSize, fmt.Sprintf(
			"with %d layers the network has %d parameters, at most %d are allowed", c.NumLayers, n, maxParams)}
	}
	return sizes, nil
}

// fieldError turns the model's error about a size into an error about the setting.
func fieldError(err error) error {
	if e := (*model.SizeError)(nil); errors.As(err, &e) && !strings.HasPrefix(e.Field, "image ") {
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

// Plan returns the plan of a run on a data set, or a *FieldError if it has too few training images for
// the settings. Images that the data sets apart for validation are used for nothing else.
func (c Config) Plan(d *data.Dataset) (Plan, error) {
	var p Plan
	images := d.Train.Count
	switch {
	case d.Val != nil:
		p.Train = slices.DeleteFunc(data.Count(images), func(i int32) bool {
			_, found := slices.BinarySearch(d.Val, i)
			return found
		})
		if c.ValFraction > 0 {
			p.Val = d.Val
		}
	case d.Stratified:
		p.Train, p.Val = data.SplitByClass(d.Train.Labels, data.Count(images), len(d.Train.Classes),
			c.ValFraction, c.Seed, false)
	default:
		p.Train, p.Val = data.Split(images, c.ValFraction, c.Seed)
	}
	switch {
	case c.ValFraction > 0 && len(p.Val) == 0 && d.Stratified && images > 1:
		return p, &FieldError{"val-fraction", c.ValFraction,
			"takes no image of any class, since each has few: must be 0 or larger, such as 0.5"}
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
