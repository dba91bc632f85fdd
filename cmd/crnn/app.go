package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

// newApp returns the program, which writes to stdout and stderr.
func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "crnn",
		Usage:     "train and run a convolutional recurrent network on Fashion-MNIST",
		Writer:    stdout,
		ErrWriter: stderr,
		HideHelp:  true, // arrange handles `crnn help` and --help
		Commands: []*cli.Command{
			trainCommand(), evalCommand(), predictCommand(), benchCommand(), compareCommand(),
			summaryCommand(), samplesCommand(), dataCommand(), doctorCommand(), versionCommand(),
		},
		HideVersion:    true,
		ExitErrHandler: func(*cli.Context, error) {}, // run turns errors into exit codes
	}
	app.Commands = append(app.Commands, helpCommand(app))
	return app
}

// newCommand returns a command that takes the given options and runs action. example is one or more
// lines of its help text.
func newCommand(name, args, usage, description, example string, options []*option, action cli.ActionFunc) *cli.Command {
	c := &cli.Command{
		Name: name, ArgsUsage: args, Usage: usage,
		Description: description, UsageText: example,
		HideHelp: true, Action: action,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
	}
	for _, o := range options {
		c.Flags = append(c.Flags, o)
	}
	return c
}
