package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/model"
)

func weightsOption(path *string) *option {
	return &option{name: "weights", category: "Model", target: path, noEnv: true,
		value: "FILE", usage: "weights in a .safetensors file, from crnn train or PyTorch (keys of its state_dict)"}
}

// checkImageSize returns an error if the weights of a file are for images of another size.
func checkImageSize(path string, state *model.State, height, width int) error {
	if state.ImageHeight == height && state.ImageWidth == width {
		return nil
	}
	return fmt.Errorf("%s: weights for images of %dx%d, expected %dx%d, as the images have here",
		path, state.ImageHeight, state.ImageWidth, height, width)
}

// readWeights reads the file of --weights.
func readWeights(c *cli.Context, path string) (*model.State, error) {
	if path == "" {
		return nil, usagef("crnn %s needs --weights FILE, such as runs/latest/best.safetensors", c.Command.Name)
	}
	state, err := model.ReadWeights(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--weights %s: no such file: expected weights as crnn train writes them "+
			"(runs/latest/best.safetensors)", path)
	}
	if err != nil {
		return nil, err
	}
	if state.Classes != len(data.ClassNames) {
		return nil, fmt.Errorf("%s: a network with %d classes, expected %d, as the data has",
			path, state.Classes, len(data.ClassNames))
	}
	return state, nil
}
