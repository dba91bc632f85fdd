package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/model"
	"crnn/train"
)

// prediction is the network's result for a picture, in the form of --json.
type prediction struct {
	File          string    `json:"file"`
	Class         string    `json:"class"`
	ClassIndex    int       `json:"class_index"`
	Probability   float64   `json:"probability"`
	Probabilities []float64 `json:"probabilities"` // of every class, in order
}

func predictCommand() *cli.Command {
	config := train.Default()
	var weights string
	var asJSON bool
	options := append([]*option{
		weightsOption(&weights),
		{name: "json", category: "Output", target: &asJSON, noEnv: true,
			usage: "a JSON array with the probabilities of all classes"},
	}, settings(&config, computeSettings...)...)
	return newCommand("predict", "IMAGE…", "the class of pictures",
		"Prints the class of each PNG, JPEG or GIF picture and its three most probable classes. A picture is\n"+
			"scaled to 28x28 gray pixels, and turned to bright on dark if its background is light.\n"+
			"It reads no data set: it accepts --data only because every command that computes does.",
		"crnn predict --weights runs/latest/best.safetensors shoe.png shirt.jpg", options,
		func(c *cli.Context) error {
			if err := configure(&config, options); err != nil {
				return err
			}
			if c.NArg() == 0 {
				return usagef("crnn predict needs a picture, as in: crnn predict --weights runs/latest/best.safetensors shoe.png")
			}
			device, err := openDevice(config)
			if err != nil {
				return err
			}
			defer device.Close()
			state, err := readWeights(c, weights)
			if err != nil {
				return err
			}
			// LoadPicture gives the recipe's size.
			size := model.Default()
			if err := checkImageSize(weights, state, size.ImageHeight, size.ImageWidth); err != nil {
				return err
			}
			var pixels []uint8
			for _, file := range c.Args().Slice() {
				picture, err := data.LoadPicture(file)
				if err != nil {
					return err
				}
				pixels = append(pixels, picture...)
			}
			predictions, err := predict(c, device, state, c.Args().Slice(), pixels)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.App.Writer, predictions)
			}
			for _, p := range predictions {
				printPrediction(c.App.Writer, p)
			}
			return nil
		})
}

// predict runs the network over the pictures of the given files.
func predict(c *cli.Context, device *device, state *model.State, files []string, pixels []uint8) ([]prediction, error) {
	const maxBatch = 64
	labels := make([]uint8, len(files)) // unknown: only probabilities are needed
	images, err := device.NewImages(pixels, labels, state.ImageHeight, state.ImageWidth)
	if err != nil {
		return nil, err
	}
	net, err := device.load(state, min(maxBatch, len(files)))
	if err != nil {
		return nil, err
	}
	device.announce(c.App.ErrWriter)
	var predictions []prediction
	for first := 0; first < len(files); first += net.MaxBatch {
		if err := c.Context.Err(); err != nil {
			return nil, err
		}
		var indices []int32
		for i := first; i < min(first+net.MaxBatch, len(files)); i++ {
			indices = append(indices, int32(i))
		}
		batch, err := classify(net, images, indices)
		if err != nil {
			return nil, err
		}
		for i, index := range indices {
			batch[i].File = files[index]
		}
		predictions = append(predictions, batch...)
	}
	return predictions, nil
}

// classify returns the predictions for the images of the given indices, at most net.MaxBatch,
// without their files.
func classify(net *model.Network, images model.Images, indices []int32) ([]prediction, error) {
	if err := net.Predict(images, indices); err != nil {
		return nil, err
	}
	logits, err := net.Logits(len(indices))
	if err != nil {
		return nil, err
	}
	var predictions []prediction
	for i := range indices {
		predictions = append(predictions, newPrediction(logits[i*net.Classes:(i+1)*net.Classes]))
	}
	return predictions, nil
}

func newPrediction(logits []float32) prediction {
	p := prediction{Probabilities: softmax(logits)}
	p.Probability = slices.Max(p.Probabilities)
	p.ClassIndex = slices.Index(p.Probabilities, p.Probability)
	p.Class = data.ClassNames[p.ClassIndex]
	return p
}

// softmax returns exp(logits) divided by their sum.
func softmax(logits []float32) []float64 {
	p := make([]float64, len(logits))
	largest := float64(slices.Max(logits)) // subtracted, so that no exponential overflows
	sum := 0.0
	for i, z := range logits {
		p[i] = math.Exp(float64(z) - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// printPrediction writes a line such as
//
//	shoe.png: Sneaker  (Sneaker 97.1%, Ankle boot 2.2%, Sandal 0.5%)
func printPrediction(w io.Writer, p prediction) {
	order := make([]int, len(p.Probabilities))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Probabilities[b], p.Probabilities[a]) })
	fmt.Fprintf(w, "%s: %s  (", p.File, p.Class)
	for i, class := range order[:3] {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprintf(w, "%s %.1f%%", data.ClassNames[class], 100*p.Probabilities[class])
	}
	fmt.Fprintln(w, ")")
}

// writeJSON writes v in one line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
