package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/model"
	"crnn/report"
	"crnn/train"
)

// resumable are the settings that may be given with --resume; all others are the run's.
// None of them changes what the steps compute, but for how many there are.
var resumable = []string{"resume", "epochs", "data", "device", "threads"}

func trainCommand() *cli.Command {
	config := train.Default()
	var configFile, resume string
	options := append(settings(&config),
		&option{name: "config", category: "Data and files", target: &configFile, value: "FILE",
			usage: "settings in YAML, named as the flags with _ for -; flags and environment win"},
		&option{name: "resume", category: "Data and files", target: &resume, value: "DIR",
			usage: "go on with the run in DIR, under its settings; takes --" + strings.Join(resumable[1:], ", --") + " too"})
	return newCommand("train", "", "train the network",
		"Trains the network and tests it, by default exactly as in the recipe. Standard output gets a line for\n"+
			"each epoch and one for the test, standard error everything else. The run's directory gets its settings,\n"+
			"metrics, figures, weights and a checkpoint after every epoch. Ctrl-C finishes the step in hand and\n"+
			"keeps everything; --resume goes on, to the same bits as without the interruption.",
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
			return blame(newRun(c, config), options, configFile, inFile)
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

// newRun trains from the start. A wrong setting is a *train.FieldError.
func newRun(c *cli.Context, config train.Config) error {
	if err := config.Validate(); err != nil {
		return err
	}
	device, err := openDevice(config)
	if err != nil {
		return err
	}
	defer device.Close()
	if config.Init != "" { // before the directory of a run is made for nothing
		if _, err := model.ReadWeights(config.Init); err != nil {
			return fmt.Errorf("--init: %w", err)
		}
	}
	dataset, err := loadData(c, config.Data)
	if err != nil {
		return err
	}
	if _, err := config.Plan(dataset.Train.Count); err != nil {
		return err
	}
	dir, err := train.CreateDir(config.Out, time.Now())
	if err != nil {
		return err
	}
	defer dir.Close()
	return makeRun(c, device, train.Job{Config: config, Data: dataset, Dir: dir})
}

// resumeRun goes on with the run in the directory at path. config takes what options set.
func resumeRun(c *cli.Context, config *train.Config, path string, options []*option) error {
	taken := slices.DeleteFunc(slices.Clone(options), func(o *option) bool { return !slices.Contains(resumable, o.name) })
	for _, o := range options {
		if o.given != nil && !slices.Contains(taken, o) {
			return usagef("--%s cannot be changed in a run that is resumed: give it to a new run, or leave it out", o.name)
		}
	}
	// Checked before the run is touched.
	if err := configure(config, taken); err != nil {
		return err
	}
	epochs := 0 // the run's own
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
	checkpoint.Config = *config
	if test := checkpoint.Finished(); test != nil {
		fmt.Fprintf(c.App.ErrWriter, "%s is finished: test accuracy %.2f%% with the model of epoch %d\n", dir.Path(), test.Accuracy, test.Epoch)
		return nil
	}
	device, err := openDevice(*config)
	if err != nil {
		return err
	}
	defer device.Close()
	dataset, err := loadData(c, config.Data)
	if err != nil {
		return err
	}
	return makeRun(c, device, train.Job{Config: *config, Data: dataset, Dir: dir, From: checkpoint})
}

// makeRun makes the run of a job that lacks only what is said here.
func makeRun(c *cli.Context, device *device, job train.Job) error {
	dir, stderr := job.Dir, c.App.ErrWriter
	plan, err := job.Config.Plan(job.Data.Train.Count)
	if err != nil {
		return err
	}
	figure, err := samplesFigure(job.Data.Test)
	if err != nil {
		return err
	}
	if err := figure.Save(dir.File(report.SamplesFile)); err != nil {
		return err
	}

	device.announce(stderr)
	step := int64(0)
	if job.From == nil {
		fmt.Fprintf(stderr, "run: %s: %d epochs, %d training and %d validation images\n",
			dir.Path(), job.Config.Epochs, len(plan.Train), len(plan.Val))
	} else {
		step = job.From.Progress.Step
		fmt.Fprintf(stderr, "run: %s, going on after step %d of %d\n", dir.Path(), step, plan.Steps)
	}
	// The progress bar has to know what kind of file standard output is.
	progress := report.NewProgress(c.App.Writer.(*output).w, stderr, report.Plan{
		Epochs: job.Config.Epochs, Steps: plan.Steps, StepsPerEpoch: int64(plan.StepsPerEpoch), BatchSize: job.Config.BatchSize,
	})
	defer progress.Close()
	reporter, err := report.NewReporter(dir.Path(), step, report.Options{
		Epochs: job.Config.Epochs, Classes: data.ClassNames[:], LogSteps: job.Config.LogSteps,
	}, progress)
	if err != nil {
		return err
	}
	job.Backend = device
	job.Build = train.Build{Version: version, DeviceName: device.description}
	linked := false
	job.Observe = func(e train.Event) error {
		if !linked { // not before, for a run that makes no step is not what runs/latest is for
			if err := dir.LinkLatest(); err != nil {
				return err
			}
			linked = true
		}
		if err := reporter.Observe(e); err != nil {
			return fmt.Errorf("%w; `crnn train --resume %s` goes on from the last checkpoint", err, dir.Path())
		}
		return nil
	}
	result, err := train.Run(c.Context, job)
	if err := errors.Join(err, reporter.Close()); err != nil {
		return err
	}
	progress.Close()
	fmt.Fprintf(stderr, "done: %s holds the model of epoch %d (best.safetensors) and the figures\n", dir.Path(), result.Test.Epoch)
	return nil
}
