package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/model"
	"crnn/train"
)

// benchmark is a measurement, in the form of --json. Its times are per step. A step runs one batch
// forward, in training also backward and into the parameters. In predict it is the work of crnn
// predict on one image, from its bytes on.
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
	// ClockMHz is the clock of the GPU's multiprocessors right after the steps; 0 if unknown.
	ClockMHz int `json:"clock_mhz,omitempty"`
	// PeakBytes is the GPU memory in use, or on the CPU the peak memory of the process; 0 if the
	// system does not report it.
	PeakBytes int64        `json:"peak_bytes"`
	Kernels   []kernelTime `json:"kernels,omitempty"` // with --profile
	// PeakGFLOPS is the processor's peak speed, measured by multiply-adds in registers.
	PeakGFLOPS float64 `json:"peak_gflop_per_second,omitempty"` // with --profile
}

// kernelTime is the time of a kernel in a step, over all its launches.
type kernelTime struct {
	Operator     string  `json:"operator,omitempty"`
	Name         string  `json:"name"`
	Launches     int     `json:"launches"`
	Microseconds float64 `json:"microseconds"`
	GFLOP        float64 `json:"gflop,omitempty"`
}

func benchCommand() *cli.Command {
	config := train.Default()
	var asJSON, profile bool
	mode, steps := "train", 50
	options := append([]*option{
		{name: "mode", category: "Measurement", target: &mode, noEnv: true,
			value: "MODE", usage: "train (forward, backward and Adam), eval (forward and loss) or predict (one image)"},
		{name: "steps", category: "Measurement", target: &steps, noEnv: true, value: "N",
			usage: "steps to time, after a few untimed ones"},
		{name: "profile", category: "Measurement", target: &profile, noEnv: true,
			usage: "also the time of each kernel in a step, and on the CPU its share of the peak speed"},
		{name: "json", category: "Output", target: &asJSON, noEnv: true, usage: "a JSON object"},
	}, settings(&config, slices.Concat([]string{"batch-size"}, computeSettings, dataSettings, networkSettings)...)...)
	return newCommand("bench", "", "how long a step takes on this machine",
		"Times steps of the network, by default the recipe's, on the real training images: the median, the fastest and the\n"+
			"95th percentile. --mode predict times what crnn predict does with one image, from its bytes to its\n"+
			"probabilities. --profile shows where the time of a step goes, in further steps.",
		"crnn bench --mode train --batch-size 50 --threads 2", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			switch mode {
			case "train", "eval":
			case "predict":
				if c.IsSet("batch-size") && config.BatchSize != 1 {
					return usagef("--batch-size %d: --mode predict times a single image: leave it out, or give 1", config.BatchSize)
				}
				config.BatchSize = 1
			default:
				return usagef("--mode %q: expected train, eval or predict", mode)
			}
			if steps < 1 {
				return usagef("--steps %d: expected at least 1", steps)
			}
			device, err := openDevice(config)
			if err != nil {
				return err
			}
			defer device.Close()
			set, err := loadData(c, config)
			if err != nil {
				return err
			}
			device.announce(c.App.ErrWriter)
			result := benchmark{
				Device: device.Name(), DeviceName: device.description, Mode: mode,
				Precision: config.Precision, BatchSize: config.BatchSize, Threads: device.threads,
			}
			sizes, err := config.SizesFor(set)
			if err != nil {
				return blame(err, options, "", nil)
			}
			work, err := newWork(device.Backend, set.Train, sizes, config.BatchSize, mode)
			if err != nil {
				return err
			}
			times, err := work.time(c, steps)
			if err != nil {
				return err
			}
			result.summarise(times)
			if clock, ok := device.Backend.(interface{ ClockMHz() int }); ok {
				result.ClockMHz = clock.ClockMHz()
			}
			if p, ok := device.Backend.(model.Planner); ok {
				result.PeakBytes = p.MemoryUsed()
			} else {
				result.PeakBytes = peakMemory()
			}
			if profile {
				if err := result.profile(work); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(c.App.Writer, result)
			}
			return result.print(c.App.Writer)
		})
}

// print writes the measurement as text.
func (b *benchmark) print(w io.Writer) error {
	fmt.Fprintf(w, "%s step on %s (%s), %s, batch %d", b.Mode, b.Device, b.DeviceName, b.Precision, b.BatchSize)
	if b.Threads > 0 {
		fmt.Fprintf(w, ", %d threads", b.Threads)
	}
	fmt.Fprintf(w, ":\n%s median, %s fastest, %s 95th percentile; %.0f images/s; %s of memory at most",
		milliseconds(b.StepMS), milliseconds(b.StepMSMin), milliseconds(b.StepMSP95), b.ImagesPerSecond,
		megabytes(b.PeakBytes))
	if b.ClockMHz > 0 {
		fmt.Fprintf(w, "; at %d MHz", b.ClockMHz)
	}
	fmt.Fprintln(w)
	if b.Kernels == nil {
		return nil
	}
	return b.printKernels(w)
}

// milliseconds writes a time with three significant digits, or more before the point.
func milliseconds(ms float64) string {
	return strconv.FormatFloat(ms, 'f', max(0, 2-int(math.Floor(math.Log10(max(ms, 1e-3))))), 64) + " ms"
}

// work is a network with the data for its steps.
type work struct {
	be      model.Backend
	net     *model.Network
	images  model.Images
	order   []int32
	mode    string
	classes []string

	next    int
	indices []int32
}

func newWork(be model.Backend, set *data.Set, sizes model.Config, batch int, mode string) (*work, error) {
	const seed = 1
	w := &work{be: be, classes: set.Classes, mode: mode, indices: make([]int32, batch)}
	var err error
	// The images come first, so that the network's check sees the memory that is left.
	if w.images, err = be.NewImages(set.Images, set.Labels, set.Channels, set.Height, set.Width); err != nil {
		return nil, err
	}
	if w.net, err = model.New(be, sizes, model.Options{MaxBatch: batch, Seed: seed}); err != nil {
		return nil, err
	}
	if err := w.net.Init(seed); err != nil {
		return nil, err
	}
	all, _ := data.Split(set.Count, 0, seed)
	w.order = data.Order(all, seed, 0, true)
	return w, nil
}

// step makes a step on the next batch.
func (w *work) step() error {
	for i := range w.indices {
		w.indices[i] = w.order[w.next%len(w.order)]
		w.next++
	}
	switch w.mode {
	case "train":
		return w.net.Step(w.images, w.indices, 0.0005)
	case "eval":
		return w.net.Evaluate(w.images, w.indices)
	case "predict":
		_, err := classify(w.net, w.images, w.indices, w.classes)
		return err
	}
	return nil
}

// time runs steps and returns the time of each.
func (w *work) time(c *cli.Context, steps int) ([]time.Duration, error) {
	step := func() error {
		if err := c.Context.Err(); err != nil {
			return err
		}
		return w.step()
	}
	if err := warmUp(step, w.be.Sync); err != nil {
		return nil, err
	}
	for range steps {
		w.be.Lap()
		if err := step(); err != nil {
			return nil, err
		}
	}
	w.be.Lap()
	return w.be.Laps()
}

// warmUp makes some steps, which fill caches, start threads and load kernels. It continues for at
// least 200 ms, until a GPU has raised its clock.
func warmUp(step, sync func() error) error {
	start := time.Now()
	for i := 0; i < 5 || time.Since(start) < 200*time.Millisecond; i++ {
		if err := step(); err != nil {
			return err
		}
		if err := sync(); err != nil {
			return err
		}
	}
	return nil
}

// summarise computes the figures from the given times.
func (b *benchmark) summarise(times []time.Duration) {
	slices.Sort(times)
	n := len(times)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.StepMS = (ms(times[(n-1)/2]) + ms(times[n/2])) / 2
	b.StepMSMin = ms(times[0])
	b.StepMSP95 = ms(times[(n*95+99)/100-1])
	b.ImagesPerSecond = 1000 * float64(b.BatchSize) / b.StepMS
}
