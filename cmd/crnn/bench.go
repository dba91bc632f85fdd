package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/model"
	"crnn/train"
)

// benchmark is a measurement, in the form of --json. Times are of a step: a batch through
// the network, and in training back through it and into the parameters.
type benchmark struct {
	Device          string  `json:"device"`
	DeviceName      string  `json:"device_name"`
	Mode            string  `json:"mode"`
	Precision       string  `json:"precision"`
	BatchSize       int     `json:"batch_size"`
	Threads         int     `json:"threads"`
	StepMS          float64 `json:"step_ms"` // median
	StepMSMin       float64 `json:"step_ms_min"`
	StepMSP95       float64 `json:"step_ms_p95"`
	ImagesPerSecond float64 `json:"images_per_second"`
	PeakBytes       int64   `json:"peak_bytes"` // of the process's memory; 0 where the system does not tell
}

func benchCommand() *cli.Command {
	config := train.Default()
	var asJSON bool
	mode, steps := "train", 50
	options := append([]*option{
		{name: "mode", category: "Measurement", target: &mode, noEnv: true,
			value: "MODE", usage: "train (forward, backward and Adam) or eval (forward and loss)"},
		{name: "steps", category: "Measurement", target: &steps, noEnv: true, value: "N", usage: "steps to time, after a few that are not"},
		{name: "json", category: "Output", target: &asJSON, noEnv: true, usage: "a JSON object"},
	}, settings(&config, append([]string{"batch-size"}, computeSettings...)...)...)
	return newCommand("bench", "", "how long a step takes on this machine",
		"Times steps of the recipe's network on the real training images: the median, the fastest and the\n"+
			"95th percentile.",
		"crnn bench --mode train --batch-size 50 --threads 2", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			if mode != "train" && mode != "eval" {
				return usagef("--mode %q: expected train or eval", mode)
			}
			if steps < 1 {
				return usagef("--steps %d: expected at least 1", steps)
			}
			device, err := openDevice(config)
			if err != nil {
				return err
			}
			defer device.Close()
			set, err := loadData(c, config.Data)
			if err != nil {
				return err
			}
			device.announce(c.App.ErrWriter)
			result := benchmark{
				Device: device.Name(), DeviceName: device.description, Mode: mode,
				Precision: config.Precision, BatchSize: config.BatchSize, Threads: device.threads,
			}
			times, err := timeSteps(c, device, set.Train, config.BatchSize, steps, mode == "train")
			if err != nil {
				return err
			}
			result.summarise(times)
			if asJSON {
				return writeJSON(c.App.Writer, result)
			}
			fmt.Fprintf(c.App.Writer, "%s step on %s (%s), %s, batch %d, %d threads:\n"+
				"%.2f ms median, %.2f ms fastest, %.2f ms 95th percentile; %.0f images/s; %s of memory at most\n",
				mode, result.Device, result.DeviceName, result.Precision, result.BatchSize, result.Threads,
				result.StepMS, result.StepMSMin, result.StepMSP95, result.ImagesPerSecond, megabytes(result.PeakBytes))
			return nil
		})
}

// timeSteps runs steps on batches of set and returns how long each took.
func timeSteps(c *cli.Context, be model.Backend, set *data.Set, batch, steps int, training bool) ([]time.Duration, error) {
	const seed = 1
	const warmUp = 5 // steps that fill caches and start threads
	net, err := model.New(be, model.Default(), batch, seed)
	if err != nil {
		return nil, err
	}
	if err := net.Init(seed); err != nil {
		return nil, err
	}
	images, err := be.NewImages(set.Images, set.Labels, set.Height, set.Width)
	if err != nil {
		return nil, err
	}
	all, _ := data.Split(set.Count, 0, seed)
	order := data.Order(all, seed, 0, true)
	indices := make([]int32, batch)
	next := 0
	for step := 1; step <= warmUp+steps; step++ {
		if err := c.Context.Err(); err != nil {
			return nil, err
		}
		for i := range indices {
			indices[i] = order[next%len(order)]
			next++
		}
		if step > warmUp {
			be.Lap()
		}
		if training {
			net.Step(images, indices, model.AdamStep{LR: 0.0005, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: int64(step)})
		} else {
			net.Evaluate(images, indices)
		}
	}
	be.Lap()
	return be.Laps()
}

// summarise fills in the figures of the given times.
func (b *benchmark) summarise(times []time.Duration) {
	slices.Sort(times)
	n := len(times)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.StepMS = (ms(times[(n-1)/2]) + ms(times[n/2])) / 2
	b.StepMSMin = ms(times[0])
	b.StepMSP95 = ms(times[(n*95+99)/100-1])
	b.ImagesPerSecond = 1000 * float64(b.BatchSize) / b.StepMS
	b.PeakBytes = peakMemory()
}
