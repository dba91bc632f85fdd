package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"crnn/data/imageset"
	"crnn/model"
	"crnn/train"
)

func summaryCommand() *cli.Command {
	config := train.Default()
	image, classes := "28x28x1", 10
	options := append(settings(&config, networkSettings...),
		&option{name: "image", category: "Network", target: &image, noEnv: true, value: "HxWxC",
			usage: "height, width and channels of an image"},
		&option{name: "classes", category: "Network", target: &classes, noEnv: true, value: "N", usage: "number of classes"})
	return newCommand("summary", "", "the layers, their output shapes and numbers of parameters",
		"Prints the layers of the network in the order in which a batch runs through them; -1 stands\n"+
			"for the batch size.",
		"crnn summary --hidden-size 64", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			height, width, channels, err := imageset.ParseSize(image)
			if err != nil {
				return usagef("--image %w", err)
			}
			if classes < imageset.MinClasses || classes > imageset.MaxClasses {
				return usagef("--classes %d: expected from %d to %d", classes, imageset.MinClasses, imageset.MaxClasses)
			}
			sizes, err := config.Sizes(imageset.Description{
				Height: height, Width: width, Channels: channels, Classes: imageset.Numbered(classes),
			})
			if impossible := (*model.SizeError)(nil); errors.As(err, &impossible) {
				return usagef("--image %s: %w", image, err)
			}
			if err != nil {
				return blame(err, options, "", nil)
			}
			return model.Summary(c.App.Writer, sizes)
		})
}
