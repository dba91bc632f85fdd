package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/model"
	"crnn/train"
)

func weightsOption(path *string) *option {
	return &option{name: "weights", category: "Model", target: path, noEnv: true, value: "RUN|FILE",
		usage: "a run's directory (its best model), or a .safetensors file from crnn or PyTorch (state_dict)"}
}

// readWeights reads the file of --weights, or the best model of the run that it names. What was
// converted is said on stderr. The state describes the images that the network takes, with names for
// all classes.
func readWeights(c *cli.Context, path string) (*model.State, error) {
	if path == "" {
		return nil, usagef("crnn %s needs --weights RUN or FILE, such as runs/latest", c.Command.Name)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir := path
		path = filepath.Join(dir, train.BestFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--weights %s: the directory holds no %s, expected a run after its first epoch",
				dir, train.BestFile)
		}
	}
	state, err := model.ReadWeights(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--weights %s: no such file: expected weights as crnn train writes them "+
			"(runs/latest/best.safetensors)", path)
	}
	if err != nil {
		return nil, err
	}
	for _, note := range state.Notes {
		fmt.Fprintln(c.App.ErrWriter, note)
	}
	describeImages(state)
	return state, nil
}

// describeImages completes the description of the images of weights that came without it.
func describeImages(state *model.State) {
	images := &state.Images
	images.Pixels.Resize = cmp.Or(images.Pixels.Resize, imageset.Stretch)
	images.Pixels.Background = cmp.Or(images.Pixels.Background, imageset.Contrast)
	if len(images.Classes) > 0 {
		return
	}
	// Weights without a description come from 0.1.0, or from the recipe in PyTorch.
	if fashion := data.FashionMNIST(); images.SameShape(fashion) && state.Classes == len(fashion.Classes) {
		*images = fashion
		return
	}
	images.Classes = imageset.Numbered(state.Classes)
}
