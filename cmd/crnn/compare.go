package main

import (
	"github.com/urfave/cli/v2"

	"crnn/report"
)

func compareCommand() *cli.Command {
	out := ""
	options := []*option{
		{name: "out", category: "Output", target: &out, noEnv: true, value: "FILE.png",
			usage: "picture to draw the curves of all runs in"},
	}
	return newCommand("compare", "RUN…", "several runs in one table and one figure",
		"Prints the settings in which the runs differ and the results of each run; with --out, also\n"+
			"draws their losses and accuracies in training and validation.",
		"crnn compare runs/recipe runs/constant --out runs/lr.png", options,
		func(c *cli.Context) error {
			if err := setOptions(options); err != nil {
				return err
			}
			if c.NArg() == 0 {
				return usagef("crnn compare needs the directory of a run, as in: crnn compare runs/a runs/b")
			}
			runs, err := report.ReadRuns(c.Args().Slice())
			if err != nil {
				return err
			}
			if err := report.WriteTable(c.App.Writer, runs); err != nil {
				return err
			}
			if out == "" {
				return nil
			}
			return saveFigure(c, report.Comparison(runs), out)
		})
}
