package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/train"
)

// evaluation is the result of crnn eval, in the form of --json.
type evaluation struct {
	Split    string  `json:"split"`
	Count    int     `json:"count"`
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"` // percent
}

func evalCommand() *cli.Command {
	config := train.Default()
	var weights string
	var asJSON bool
	split := "test"
	options := append([]*option{
		weightsOption(&weights),
		{name: "split", category: "Images", target: &split, noEnv: true, value: "S",
			usage: "images to evaluate on: test, val or train"},
		{name: "json", category: "Output", target: &asJSON, noEnv: true, usage: "print a JSON object"},
	}, settings(&config, slices.Concat(computeSettings, dataSettings)...)...)
	return newCommand("eval", "", "loss and accuracy of weights",
		"Prints the mean loss and the accuracy of a network on the test images. --split val and train are the\n"+
			"two parts of the training images that a run with the same --seed and --val-fraction made.",
		"crnn eval --weights runs/latest/best.safetensors\n"+
			"crnn eval --weights runs/latest/best.safetensors --split val --json", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			if split != "test" && split != "val" && split != "train" {
				return usagef("--split %q: expected test, val or train", split)
			}
			result, err := evaluate(c, config, options, weights, split)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.App.Writer, result)
			}
			fmt.Fprintf(c.App.Writer, "%s: loss %.3f, accuracy %.2f%% of %d images\n",
				result.Split, result.Loss, result.Accuracy, result.Count)
			return nil
		})
}

func evaluate(c *cli.Context, config train.Config, options []*option, weights, split string) (evaluation, error) {
	e := evaluation{Split: split}
	device, err := openDevice(config)
	if err != nil {
		return e, err
	}
	defer device.Close()
	state, err := readWeights(c, weights)
	if err != nil {
		return e, err
	}
	like := state.Images
	if c.IsSet("background") {
		like.Pixels.Background = imageset.Background(config.Background)
	}
	dataset, err := loadDataLike(c, config, &like)
	if err != nil {
		return e, err
	}
	if images := dataset.Train.Description; !images.SameShape(state.Images) {
		return e, fmt.Errorf("%s: weights for images of %s, expected %s, as the images in %s have%s",
			weights, state.Images.Size(), images.Size(), dataset.Dir, shapeRemedy(images, state.Images))
	}
	if err := dataset.Match(state.Images.Classes); err != nil {
		return e, fmt.Errorf("%s: %w", weights, err)
	}
	set, indices, err := imagesOf(dataset, split, config)
	if err != nil {
		return e, blame(err, options, "", nil)
	}
	if len(indices) == 0 {
		return e, usagef("--split %s: --val-fraction %g of %d images leaves none to evaluate on",
			split, config.ValFraction, set.Count)
	}
	images, err := device.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width)
	if err != nil {
		return e, err
	}
	net, err := device.load(state, min(train.EvalBatch, len(indices)))
	if err != nil {
		return e, err
	}
	device.announce(c.App.ErrWriter)
	result, err := train.Evaluate(c.Context, net, images, set.Labels, indices)
	e.Count, e.Loss, e.Accuracy = result.Count, result.Loss, result.Accuracy
	return e, err
}

// shapeRemedy says with which flags images have the size and channels that a network wants.
func shapeRemedy(images, wanted imageset.Description) string {
	var flags []string
	if images.Height != wanted.Height || images.Width != wanted.Width {
		flags = append(flags, fmt.Sprintf("--image-size %dx%d", wanted.Height, wanted.Width))
	}
	switch {
	case images.Channels > wanted.Channels:
		flags = append(flags, "--grayscale")
	case images.Channels < wanted.Channels:
		return "; gray images do not become colours"
	}
	return "; pass " + strings.Join(flags, " ")
}

// imagesOf returns the set that a split belongs to, and the indices of the split's images.
func imagesOf(dataset *data.Dataset, split string, config train.Config) (*data.Set, []int32, error) {
	if split == "test" {
		return dataset.Test, data.Count(dataset.Test.Count), nil
	}
	plan, err := config.Plan(dataset)
	if split == "val" {
		return dataset.Train, plan.Val, err
	}
	return dataset.Train, plan.Train, err
}
