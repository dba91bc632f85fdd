package main

import (
	"github.com/urfave/cli/v2"

	"crnn/model"
	"crnn/train"
)

func summaryCommand() *cli.Command {
	config := train.Default()
	options := settings(&config, "hidden-size", "num-layers", "input-size")
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
			sizes := model.Default()
			sizes.HiddenSize, sizes.NumLayers, sizes.InputSize = config.HiddenSize, config.NumLayers, config.InputSize
			return model.Summary(c.App.Writer, sizes)
		})
}
