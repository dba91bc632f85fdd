package main

import (
	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/report"
	"crnn/train"
)

func samplesCommand() *cli.Command {
	config := train.Default()
	out := "samples.png"
	options := append(settings(&config, dataSettings...),
		&option{name: "out", category: "Output", target: &out, noEnv: true, value: "FILE.png", usage: "picture to write"})
	return newCommand("samples", "", "the figure of one sample per class",
		"Writes a picture with the first test image of each class, counted from the test set's second image on.",
		"crnn samples --out samples.png", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			set, err := loadData(c, config)
			if err != nil {
				return err
			}
			figure, err := samplesFigure(set.Test)
			if err != nil {
				return err
			}
			return saveFigure(c, figure, out)
		})
}

// samplesFigure shows the first image of each class from index 1 on, or the only image.
func samplesFigure(set *data.Set) (report.Figure, error) {
	var images [][]byte
	var titles []string
	for _, i := range data.FirstOfEachClass(set, min(1, set.Count-1)) {
		images = append(images, set.Image(i))
		titles = append(titles, set.Classes[set.Labels[i]])
	}
	return report.Samples(set.Description, images, titles)
}
