package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"crnn/train"
)

// settings returns the options that set fields of c: all of crnn train's, or only those with the
// given names, for other commands.
func settings(c *train.Config, names ...string) []*option {
	const training, network, machine, files = "Training", "Network", "Device", "Data and files"
	all := []*option{
		{name: "epochs", category: training, target: &c.Epochs, value: "N", usage: "passes over the training images"},
		{name: "batch-size", category: training, target: &c.BatchSize, value: "N", usage: "images per step"},
		{name: "lr", category: training, target: &c.LR, value: "RATE", usage: "learning rate of Adam at the start"},
		{name: "lr-schedule", category: training, target: &c.LRSchedule, value: "S",
			usage: "step (times --lr-gamma every --lr-step epochs), cosine (down to 0) or none"},
		{name: "lr-step", category: training, target: &c.LRStep, value: "N",
			usage: "epochs between two steps of the learning rate"},
		{name: "lr-gamma", category: training, target: &c.LRGamma, value: "X",
			usage: "factor of a step of the learning rate"},
		{name: "dropout", category: training, target: &c.Dropout, value: "P",
			usage: "part of the RNN layers' outputs that is dropped"},
		{name: "val-fraction", category: training, target: &c.ValFraction, value: "P",
			usage: "part of the training images kept for validation; 0: none, the last model is tested"},
		{name: "early-stopping", category: training, target: &c.EarlyStopping, value: "N",
			usage: "stop after this many epochs without a better validation loss; 0: off"},
		{name: "max-steps", category: training, target: &c.MaxSteps, value: "N",
			usage: "end the run after this step; 0: no limit"},
		{name: "no-shuffle", category: training, target: &c.NoShuffle, usage: "take the images in file order"},
		{name: "seed", category: training, target: &c.Seed, value: "N",
			usage: "of split, order, initial weights and dropout"},

		{name: "channels", category: network, target: &c.Channels, value: "A,B", usage: "outputs of the two convolutions"},
		{name: "kernel", category: network, target: &c.Kernel, value: "N", usage: "sides of both convolutions' filters; odd"},
		{name: "hidden-size", category: network, target: &c.HiddenSize, value: "N", usage: "units per RNN layer"},
		{name: "num-layers", category: network, target: &c.NumLayers, value: "N", usage: "RNN layers"},
		{name: "input-size", category: network, target: &c.InputSize, value: "N",
			usage: "features per time step; auto: the divisor of all features nearest to their root"},
		{name: "init", category: network, target: &c.Init, value: "FILE", usage: "weights to start from; they set the sizes"},

		{name: "device", category: machine, target: &c.Device, value: "NAME",
			usage: "auto (the best available), cpu, cuda or cuda:N (GPU number N)"},
		{name: "precision", category: machine, target: &c.Precision, value: "P",
			usage: "fp32, bf16 (GPUs, and CPUs with " + bf16Instructions + ") or tf32 (GPUs)"},
		{name: "threads", category: machine, target: &c.Threads, value: "N", initial: "0, one per processor",
			usage: "threads on the CPU; the results are the same for any number"},

		{name: "data", category: files, target: &c.Data, value: "PATH",
			usage: "four IDX files, a folder of pictures for each class, CIFAR's files, CSV (else Fashion-MNIST)"},
		{name: "image-size", category: files, target: &c.ImageSize, value: "HxW", initial: "the data's",
			usage: "size in pixels to which all images are scaled"},
		{name: "grayscale", category: files, target: &c.Grayscale, usage: "make colours gray"},
		{name: "background", category: files, target: &c.Background, value: "COLOUR",
			usage: "behind transparent parts: black, white or contrast"},
		{name: "test-fraction", category: files, target: &c.TestFraction, value: "P",
			usage: "part of each class kept for the test, if a folder or a CSV file has none"},
		{name: "out", category: files, target: &c.Out, value: "DIR", initial: "runs/<date-time>",
			usage: "directory of the run"},
		{name: "log-steps", category: files, target: &c.LogSteps, usage: "keep every step in metrics.jsonl"},
	}
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(o *option) bool { return !slices.Contains(names, o.name) })
}

// computeSettings are the names of the settings of every command that computes.
var computeSettings = []string{"device", "precision", "threads", "data"}

// dataSettings are the names of the settings of every command that reads a data set.
var dataSettings = []string{"data", "image-size", "grayscale", "background", "test-fraction", "val-fraction", "seed"}

// networkSettings are the names of the settings that give a network its sizes.
var networkSettings = []string{"channels", "kernel", "hidden-size", "num-layers", "input-size"}

// configure sets all options of a command without a config file, and checks c. Some options'
// targets are fields of c.
func configure(c *train.Config, options []*option) error {
	if err := setOptions(options); err != nil {
		return err
	}
	return blame(c.Validate(), options, "", nil)
}

// blame adds to an error about a setting where it was set: by an option or in the config file.
// inFile holds the config file's keys.
func blame(err error, options []*option, file string, inFile map[string]bool) error {
	var field *train.FieldError
	if !errors.As(err, &field) {
		return err
	}
	source := "--" + field.Field
	if i := slices.IndexFunc(options, func(o *option) bool { return o.name == field.Field }); i >= 0 {
		if _, from, ok := options[i].lookup(); ok {
			source = from
		} else if key := strings.ReplaceAll(field.Field, "-", "_"); inFile[key] {
			source = fmt.Sprintf("%s: %s", file, key)
		}
	}
	return usagef("%s %v: %s", source, field.Value, field.Rule)
}
