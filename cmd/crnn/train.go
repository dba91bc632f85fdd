package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/gpu"
	"crnn/model"
	"crnn/report"
	"crnn/train"
)

// resumable are the settings that may be given with --resume; all others are the run's. Device and
// precision change the rounding in the steps; epochs changes only their number.
var resumable = []string{"resume", "epochs", "data", "device", "precision", "threads"}

func trainCommand() *cli.Command {
	config := train.Default()
	var configFile, resume string
	options := append(settings(&config),
		&option{name: "config", category: "Data and files", target: &configFile, value: "FILE",
			usage: "settings in YAML, named like the flags with _ for -; flags and environment win"},
		&option{name: "resume", category: "Data and files", target: &resume, value: "DIR",
			usage: "continue the run in DIR; may change --" + strings.Join(resumable[1:], ", --")})
	return newCommand("train", "", "train the network",
		"Trains the network and tests it, by default exactly as in the recipe. Standard output gets a line for\n"+
			"each epoch and one for the test, standard error everything else. The run's directory gets its settings,\n"+
			"metrics, figures, weights and a checkpoint after every epoch. Ctrl-C finishes the current step and\n"+
			"keeps everything; --resume continues, to the same bits as without the interruption.",
		"crnn train --epochs 3 --lr 0.001 --lr-schedule none --out runs/short\n"+
			"crnn train --resume runs/short --epochs 5", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			for _, o := range options {
				if o.target == &configFile || o.target == &resume {
					if err := o.set(); err != nil {
						return err
					}
				}
			}
			if resume != "" {
				return resumeRun(c, &config, resume, options)
			}
			inFile, err := readConfig(&config, configFile)
			if err != nil {
				return err
			}
			if err := setOptions(options); err != nil {
				return err
			}
			given := map[string]bool{}
			for _, o := range options {
				given[o.name] = o.isSet() || inFile[strings.ReplaceAll(o.name, "-", "_")]
			}
			return blame(newRun(c, config, given), options, configFile, inFile)
		})
}

// readConfig reads a config file into c, if one is given, and returns the keys it sets.
func readConfig(c *train.Config, path string) (inFile map[string]bool, err error) {
	if path == "" {
		return nil, nil
	}
	loaded, inFile, err := train.LoadConfig(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("--config: %w", err)}
	}
	*c = loaded
	return inFile, nil
}

// newRun trains from the start. given holds the names of the settings that the user gave. A
// wrong setting is a *train.FieldError.
func newRun(c *cli.Context, config train.Config, given map[string]bool) error {
	if err := config.Validate(); err != nil {
		return err
	}
	device, err := openDevice(config)
	if err != nil {
		return err
	}
	defer device.Close()
	if config.Init != "" { // check before data is downloaded in vain
		state, err := model.ReadWeights(config.Init)
		if err != nil {
			return fmt.Errorf("--init: %w", err)
		}
		for _, note := range state.Notes {
			fmt.Fprintln(c.App.ErrWriter, note)
		}
		if config.Init, err = filepath.Abs(config.Init); err != nil {
			return err
		}
	}
	dataset, err := readData(c, config)
	if err != nil {
		return err
	}
	if err := resolve(&config, device, dataset); err != nil {
		return err
	}
	runner, err := train.New(train.Job{Backend: device.Backend, Data: dataset, Config: config, Given: given})
	if err != nil {
		return err
	}
	// All checks are done: a refused run has left nothing behind.
	dir, err := train.CreateDir(config.Out, time.Now())
	if err != nil {
		return err
	}
	defer dir.Close()
	runner.Dir = dir
	return makeRun(c, device, runner)
}

// resolve puts the used device and data into config, so that its records serve a resume or a
// repetition in any folder.
func resolve(config *train.Config, device *device, dataset *data.Dataset) (err error) {
	config.Device, config.Threads = device.Name(), device.threads
	config.Data, err = filepath.Abs(dataset.Dir)
	return err
}

// resumeRun continues the run in the directory at path. The options set fields of config.
func resumeRun(c *cli.Context, config *train.Config, path string, options []*option) error {
	taken := slices.DeleteFunc(slices.Clone(options), func(o *option) bool { return !slices.Contains(resumable, o.name) })
	epochs := 0 // the run's own
	for _, o := range options {
		if o.target == &config.Epochs {
			o.noEnv = true // a forgotten variable must not make a run longer
		}
		if o.given != nil && !slices.Contains(taken, o) {
			return usagef("--%s cannot be changed in a run that is resumed: give it to a new run, or leave it out", o.name)
		}
	}
	// Check the settings before touching the run.
	if err := configure(config, taken); err != nil {
		return err
	}
	if slices.ContainsFunc(taken, func(o *option) bool { return o.target == &config.Epochs && o.isSet() }) {
		epochs = config.Epochs
	}
	dir, checkpoint, err := train.OpenDir(path, epochs)
	if err != nil {
		return blame(fmt.Errorf("--resume: %w", err), options, "", nil)
	}
	defer dir.Close()
	*config = checkpoint.Config
	if err := setOptions(taken); err != nil {
		return err
	}
	if test := checkpoint.Finished(); test != nil {
		fmt.Fprintf(c.App.ErrWriter, "%s is finished: test accuracy %.2f%% with the model of epoch %d\n",
			dir.Path(), test.Accuracy, test.Epoch)
		p := checkpoint.Progress
		if ended := endedBy(*config, p.Epoch, p.Step); ended != "" {
			fmt.Fprintf(c.App.ErrWriter, "it was ended by %s; more epochs need a new run\n", ended)
		}
		return nil
	}
	device, err := openDevice(*config)
	if err != nil {
		return err
	}
	defer device.Close()
	dataset, err := readData(c, *config)
	if err != nil {
		return err
	}
	if err := resolve(config, device, dataset); err != nil {
		return err
	}
	checkpoint.Config = *config
	runner, err := train.New(train.Job{Backend: device.Backend, Data: dataset, Dir: dir, From: checkpoint})
	if e := (*model.MemoryError)(nil); errors.As(err, &e) && e.Fits > 0 {
		return fmt.Errorf("%w, but a run that goes on keeps its own: end other programs on the GPU, or use %s",
			err, onCPU(*config))
	}
	if err != nil {
		return blame(err, options, "", nil)
	}
	if epochs != 0 {
		if err := checkMetrics(dir); err != nil { // before the run is made longer
			return err
		}
	}
	return makeRun(c, device, runner)
}

// checkMetrics returns an error if the metrics of a run to resume are damaged.
func checkMetrics(dir *train.Dir) error {
	if _, err := os.Stat(dir.File(train.MetricsFile)); errors.Is(err, fs.ErrNotExist) {
		return nil // moved away
	}
	_, err := report.ReadMetrics(dir.Path())
	return explainMetrics(dir, err)
}

// explainMetrics adds the remedy to an error of the metrics of a run to resume.
func explainMetrics(dir *train.Dir, err error) error {
	if err == nil {
		return nil
	}
	path := dir.File(train.MetricsFile)
	return fmt.Errorf("%w; to go on without what they hold so far, `mv %s %s.damaged` and resume again", err, path, path)
}

// makeRun makes the prepared run. It sets the last fields of runner that are missing.
func makeRun(c *cli.Context, device *device, runner *train.Runner) error {
	dir, stderr := runner.Dir, c.App.ErrWriter
	runner.Build = train.Build{Version: version, DeviceName: device.description}
	if err := runner.Start(); err != nil {
		return err
	}
	warn(c, runner.Data)
	device.announce(stderr)
	step := int64(0)
	if runner.From == nil {
		fmt.Fprintf(stderr, "run: %s: %d epochs, %d training and %d validation images\n",
			dir.Path(), runner.Config.Epochs, len(runner.Train), len(runner.Val))
		fmt.Fprintln(stderr, networkLine(runner))
	} else {
		step = runner.From.Progress.Step
		fmt.Fprintf(stderr, "run: %s, going on after step %d of %d\n", dir.Path(), step, runner.TotalSteps)
	}
	// The progress bar needs to know what kind of file standard output is.
	progress := report.NewProgress(unwrapWriter(c.App.Writer), stderr, report.Plan{
		Epochs: runner.Config.Epochs, Steps: runner.TotalSteps, StepsPerEpoch: int64(runner.StepsPerEpoch),
		BatchSize: runner.Config.BatchSize,
	})
	defer progress.Close()
	reporter, err := report.NewReporter(dir.Path(), step, report.Options{
		Epochs: runner.Config.Epochs, Classes: runner.Data.Train.Classes, LogSteps: runner.Config.LogSteps,
	}, progress)
	if err != nil && runner.From != nil {
		err = explainMetrics(dir, err)
	}
	if err != nil {
		return err
	}
	if err := dir.LinkLatest(); err != nil {
		fmt.Fprintln(stderr, "warning:", err)
	}
	// Both can wait for the first step. By then the run has nearly all its lasting memory, in
	// arrays that cost a garbage collection no time. So garbage may grow to a twentieth of it; Go's
	// default is as much again.
	firstStep := sync.OnceValue(func() error {
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(5)
		}
		return saveSamples(runner.Data.Test, dir)
	})
	runner.Observe = func(e train.Event) error {
		err := reporter.Observe(e)
		if err == nil {
			err = firstStep()
		}
		if err != nil {
			return fmt.Errorf("%w; `crnn train --resume %s` goes on from the last checkpoint", err, dir.Path())
		}
		return nil
	}
	result, err := runner.Run(c.Context)
	if e := (*gpu.Error)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%s: %w; `crnn train --resume %s %s` goes on from the last checkpoint without it",
			device.Name(), err, dir.Path(), onCPU(runner.Config))
	}
	if failed := firstStep(); err == nil { // an interrupted run may have had no event
		err = failed
	}
	if err := errors.Join(err, reporter.Close()); err != nil {
		return err
	}
	progress.Close()
	if ended := endedBy(runner.Config, result.Epochs, result.Steps); ended != "" {
		fmt.Fprintln(stderr, "ended by", ended)
	}
	fmt.Fprintf(stderr, "done: %s holds the model of epoch %d (best.safetensors) and the figures\n",
		dir.Path(), result.Test.Epoch)
	return nil
}

// networkLine describes images and network of a run.
func networkLine(runner *train.Runner) string {
	sizes := runner.Sizes()
	return fmt.Sprintf("network: images of %s, %d classes; %d time steps of %d features; %d parameters",
		runner.Data.Train.Size(), sizes.Classes, sizes.SeqLen(), sizes.InputSize, sizes.Layout().Trainable())
}

// saveSamples puts the figure of samples into the directory of a run.
func saveSamples(test *data.Set, dir *train.Dir) error {
	figure, err := samplesFigure(test)
	if err != nil {
		return err
	}
	return figure.Save(dir.File(report.SamplesFile))
}

// onCPU returns the flags that continue a run on the CPU.
func onCPU(c train.Config) string {
	if c.Precision != "fp32" {
		return "--device cpu --precision fp32"
	}
	return "--device cpu"
}

// endedBy names the flag of the setting that ended a run before its last epoch; empty if none did.
func endedBy(c train.Config, epochs int, steps int64) string {
	switch {
	case c.MaxSteps > 0 && steps >= int64(c.MaxSteps):
		return fmt.Sprintf("--max-steps %d", c.MaxSteps)
	case epochs < c.Epochs:
		return fmt.Sprintf("--early-stopping %d: no better validation loss for as many epochs", c.EarlyStopping)
	}
	return ""
}
