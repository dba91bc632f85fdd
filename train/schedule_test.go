package train

import (
	"math"
	"path/filepath"
	"strconv"
	"testing"

	"crnn/model/safetensors"
)

// The learning rates equal those of PyTorch's schedulers. The fixtures hold their sequences.
func TestLearningRateIsPyTorchs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "schedule", "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures (%v)", err)
	}
	for _, path := range files {
		f, err := safetensors.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		number := func(key string) float64 {
			x, err := strconv.ParseFloat(f.Metadata[key], 64)
			if err != nil {
				t.Fatalf("%s: %s: %v", path, key, err)
			}
			return x
		}
		c := Default()
		c.LRSchedule, c.LR, c.Epochs = f.Metadata["kind"], number("lr"), int(number("epochs"))
		// PyTorch computes each cosine from the previous one by a quotient. That adds up rounding
		// errors: some 1e-16 of the rate and of lr per epoch. Its steps are products, like ours.
		tolerance := 1e-15 * float64(c.Epochs)
		if c.LRSchedule == "step" {
			c.LRStep, c.LRGamma, tolerance = int(number("lr_step")), number("lr_gamma"), 0
		}
		rates, err := f.Get("rates").Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if len(rates) != c.Epochs {
			t.Fatalf("%s: %d rates of %d epochs", path, len(rates), c.Epochs)
		}
		for e, want := range rates {
			if got := c.LearningRate(e); math.Abs(got-want) > tolerance*c.LR {
				t.Errorf("%s: epoch %d has learning rate %v, want %v", filepath.Base(path), e, got, want)
			}
		}
	}
}

func TestLearningRateWithoutSchedule(t *testing.T) {
	c := Default()
	c.LRSchedule = "none"
	for e := range 30 {
		if c.LearningRate(e) != c.LR {
			t.Errorf("epoch %d has learning rate %v, want %v", e, c.LearningRate(e), c.LR)
		}
	}
}
