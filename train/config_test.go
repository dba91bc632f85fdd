package train

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crnn/data"
	"crnn/data/imageset"
)

func TestDefaultIsTheRecipe(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Epochs != 15 || c.BatchSize != 50 || c.LR != 0.0005 || c.LRSchedule != "step" || c.LRStep != 3 ||
		c.LRGamma != 0.5 || c.Dropout != 0.4 || c.ValFraction != 0.1 || c.HiddenSize != 128 || c.NumLayers != 5 ||
		c.InputSize != 0 || c.Channels != (Channels{32, 64}) || c.Kernel != 5 ||
		c.TestFraction != 0.1 || c.EarlyStopping != 0 || c.MaxSteps != 0 || c.NoShuffle || c.Precision != "fp32" ||
		c.Device != "auto" {
		t.Errorf("%+v", c)
	}
	p, err := c.Plan(ofImages(60000))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Train) != 54000 || len(p.Val) != 6000 || p.StepsPerEpoch != 1080 || p.TotalSteps != 15*1080 {
		t.Errorf("%d and %d images, %d steps of %d", len(p.Train), len(p.Val), p.StepsPerEpoch, p.TotalSteps)
	}
}

func TestValidateRefuses(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for field, changes := range map[string][]func(*Config){
		"device": {func(c *Config) { c.Device = "gpu" }, func(c *Config) { c.Device = "" },
			func(c *Config) { c.Device = "cuda:" }, func(c *Config) { c.Device = "cuda:-1" }},
		"precision": {func(c *Config) { c.Precision = "fp16" }},
		"threads":   {func(c *Config) { c.Threads = -1 }, func(c *Config) { c.Threads = 1025 }},
		"epochs":    {func(c *Config) { c.Epochs = 0 }, func(c *Config) { c.Epochs = math.MaxInt }},
		"batch-size": {func(c *Config) { c.BatchSize = 0 }, func(c *Config) { c.BatchSize = -50 },
			func(c *Config) { c.BatchSize = 1 << 30 }},
		"lr": {func(c *Config) { c.LR = 0 }, func(c *Config) { c.LR = -1 }, func(c *Config) { c.LR = nan },
			func(c *Config) { c.LR = inf }, func(c *Config) { c.LR = 1e39 }},
		"lr-schedule": {func(c *Config) { c.LRSchedule = "linear" }},
		"lr-step":     {func(c *Config) { c.LRStep = 0 }},
		"lr-gamma": {func(c *Config) { c.LRGamma = 0 }, func(c *Config) { c.LRGamma = 1.5 },
			func(c *Config) { c.LRGamma = nan }},
		"dropout": {func(c *Config) { c.Dropout = 1 }, func(c *Config) { c.Dropout = -0.1 },
			func(c *Config) { c.Dropout = nan }},
		"val-fraction": {func(c *Config) { c.ValFraction = 1 }, func(c *Config) { c.ValFraction = -0.1 },
			func(c *Config) { c.ValFraction = nan }},
		"early-stopping": {func(c *Config) { c.EarlyStopping = -1 },
			func(c *Config) { c.EarlyStopping, c.ValFraction = 3, 0 }},
		"hidden-size": {func(c *Config) { c.HiddenSize = 0 }, func(c *Config) { c.HiddenSize = 1 << 40 },
			func(c *Config) { c.HiddenSize, c.NumLayers = 8192, 200 }},
		"num-layers": {func(c *Config) { c.NumLayers = 0 }, func(c *Config) { c.NumLayers = math.MaxInt }},
		"input-size": {func(c *Config) { c.InputSize = -1 }},
		"channels": {func(c *Config) { c.Channels = Channels{0, 64} },
			func(c *Config) { c.Channels = Channels{32, 1 << 20} }},
		"kernel": {func(c *Config) { c.Kernel = 4 }, func(c *Config) { c.Kernel = 65 }},
		"image-size": {func(c *Config) { c.ImageSize = ImageSize{3, 28} },
			func(c *Config) { c.ImageSize = ImageSize{28, 5000} }},
		"background": {func(c *Config) { c.Background = "pink" }, func(c *Config) { c.Background = "" }},
		"test-fraction": {func(c *Config) { c.TestFraction = 0 }, func(c *Config) { c.TestFraction = 1 },
			func(c *Config) { c.TestFraction = nan }},
		"max-steps": {func(c *Config) { c.MaxSteps = -1 }},
	} {
		for i, change := range changes {
			c := Default()
			change(&c)
			err := c.Validate()
			var bad *FieldError
			if !errors.As(err, &bad) || bad.Field != field {
				t.Errorf("%s, change %d: error %v, want a *FieldError of that flag", field, i, err)
				continue
			}
			if text := err.Error(); !strings.HasPrefix(text, "--"+field+" ") || strings.Contains(text, "\n") {
				t.Errorf("error %q, want one line that begins with the flag", text)
			}
		}
	}
}

// The input size follows from the data: auto, or a divisor of the features.
func TestSizesFollowTheData(t *testing.T) {
	for _, test := range []struct {
		height, width, channels, classes int
		change                           func(*Config)
		input, steps                     int
	}{
		{28, 28, 1, 10, func(*Config) {}, 56, 56},
		{28, 28, 1, 10, func(c *Config) { c.InputSize = 448 }, 448, 7},
		{32, 32, 3, 10, func(*Config) {}, 64, 64},
		{30, 22, 1, 26, func(c *Config) { c.Channels, c.Kernel = Channels{16, 24}, 3 }, 28, 30}, // 840 = 24*7*5
		{64, 48, 3, 100, func(c *Config) { c.Channels = Channels{16, 24} }, 64, 72},             // 4608
		{5, 7, 3, 256, func(c *Config) { c.Channels = Channels{1, 7} }, 1, 7},                   // a prime number
	} {
		c := Default()
		test.change(&c)
		sizes, err := c.Sizes(imageset.Description{
			Height: test.height, Width: test.width, Channels: test.channels, Classes: imageset.Numbered(test.classes),
		})
		if err != nil {
			t.Fatal(err)
		}
		if sizes.InputSize != test.input || sizes.SeqLen() != test.steps || sizes.Classes != test.classes ||
			sizes.ImageChannels != test.channels || sizes.Kernel != c.Kernel {
			t.Errorf("%+v: %d steps, want %d of %d", sizes, sizes.SeqLen(), test.steps, test.input)
		}
	}
	c := Default()
	c.InputSize = 57
	var bad *FieldError
	if _, err := c.Sizes(data.FashionMNIST()); !errors.As(err, &bad) || bad.Field != "input-size" ||
		!strings.Contains(err.Error(), "3136") {
		t.Errorf("error %v, want one of input-size that names the features", err)
	}
}

// ofImages is a data set with that many training images.
func ofImages(n int) *data.Dataset {
	return &data.Dataset{Train: &data.Set{Description: data.FashionMNIST(), Count: n}}
}

func TestPlanRefusesTooFewImages(t *testing.T) {
	for _, fraction := range []float64{0.01, 0.99} {
		c := Default()
		c.ValFraction = fraction
		var bad *FieldError
		if _, err := c.Plan(ofImages(10)); !errors.As(err, &bad) || bad.Field != "val-fraction" {
			t.Errorf("a fraction %v of ten images: error %v, want a *FieldError of val-fraction", fraction, err)
		}
	}
}

// Of each class so few are set apart that rounding leaves none.
func TestPlanOfSmallClasses(t *testing.T) {
	d := ofImages(20)
	d.Stratified = true
	for i := range d.Train.Count {
		d.Train.Labels = append(d.Train.Labels, uint8(i/2))
	}
	_, err := Default().Plan(d)
	var bad *FieldError
	if !errors.As(err, &bad) || bad.Field != "val-fraction" || !strings.Contains(bad.Rule, "of any class") {
		t.Errorf("error %v, want one of val-fraction that names the classes", err)
	}
}

func TestSizesForSmallImages(t *testing.T) {
	d := ofImages(20)
	d.Dir, d.Train.Height = "here", 3
	_, err := Default().SizesFor(d)
	const want = "here: images of 3x28x1: the image height 3: must be from 4, since two poolings halve it twice, " +
		"to 4096; pass --image-size HxW, to which all are scaled"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPlanCountsTheSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Default()
		images := rapid.IntRange(1, 300).Draw(t, "images")
		c.BatchSize = rapid.IntRange(1, 60).Draw(t, "batch size")
		c.Epochs = rapid.IntRange(1, 5).Draw(t, "epochs")
		c.MaxSteps = rapid.IntRange(0, 40).Draw(t, "max steps")
		c.ValFraction = 0
		p, err := c.Plan(ofImages(images))
		if err != nil {
			t.Fatal(err)
		}
		steps, perEpoch := int64(0), 0
		for range c.Epochs {
			perEpoch = 0
			for range batches(p.Train, c.BatchSize) {
				perEpoch++
				if c.MaxSteps == 0 || steps < int64(c.MaxSteps) {
					steps++
				}
			}
		}
		if p.TotalSteps != steps || p.StepsPerEpoch != perEpoch {
			t.Fatalf("%d steps of %d an epoch, counted %d and %d", p.TotalSteps, p.StepsPerEpoch, steps, perEpoch)
		}
	})
}
