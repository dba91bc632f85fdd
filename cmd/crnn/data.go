package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/train"
)

func dataCommand() *cli.Command {
	config := train.Default()
	options := settings(&config, "data")
	actions := map[string]func(*cli.Context, string) error{
		"fetch": dataFetch, "verify": dataVerify, "where": dataWhere,
	}
	return newCommand("data", "[fetch|verify|where]", "find, download or check the data set",
		"where (the default) prints the directory in which the data set was found.\n"+
			"fetch puts it into the directory of --data, or else into the user's cache.\n"+
			"verify checks magic number, shape, length and SHA-256 of every file.",
		"crnn data fetch\ncrnn data verify --data ~/fashion-mnist", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 1); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			word := c.Args().First()
			if word == "" {
				word = "where"
			}
			action := actions[word]
			if action == nil {
				return usagef("crnn data %q: expected fetch, verify or where%s",
					word, didYouMean(word, []string{"fetch", "verify", "where"}))
			}
			return action(c, config.Data)
		})
}

func dataWhere(c *cli.Context, dir string) error {
	dir, err := locate(c, dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, dir)
	return nil
}

// dataFetch fetches into dir only if the flag names it. The environment names the data set for
// training, which may be the user's own.
func dataFetch(c *cli.Context, dir string) error {
	if !c.IsSet("data") {
		if dir != "" {
			fmt.Fprintf(c.App.ErrWriter, "the other commands use %s, set by %s\n", dir, data.EnvVar)
		}
		dir = data.CacheDir()
	}
	if err := fetch(c, dir); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, dir)
	return nil
}

func dataVerify(c *cli.Context, dir string) error {
	dir, err := locate(c, dir)
	if err != nil {
		return err
	}
	files, err := data.Verify(dir)
	if err != nil {
		return err
	}
	var bad error
	for _, f := range files {
		if f.Err != nil {
			fmt.Fprintf(c.App.Writer, "%s: %s\n", f.Name, f.State)
			if bad == nil {
				bad = f.Err
			}
			continue
		}
		fmt.Fprintf(c.App.Writer, "%s: %s, %d items, SHA-256 %s\n", f.Path, verdict(f.State), f.Count, f.SHA256)
	}
	return bad
}

func verdict(s data.State) string {
	if s == data.Match {
		return "Fashion-MNIST"
	}
	return "in order, but not the file of Fashion-MNIST"
}

// loadData finds and reads the data set. It downloads the data set if the user named no directory
// and none was found. Its warnings go to stderr.
func loadData(c *cli.Context, dir string) (*data.Dataset, error) {
	set, err := readData(c, dir)
	if err == nil {
		warn(c, set)
	}
	return set, err
}

// readData is loadData without the warnings, which take time to compute.
func readData(c *cli.Context, dir string) (*data.Dataset, error) {
	dir, err := locateOrFetch(c, dir)
	if err != nil {
		return nil, err
	}
	set, err := data.Load(dir)
	if err != nil {
		return nil, err
	}
	// From here on a signal waits for the current step: see signalContext.
	return set, c.Context.Err()
}

func warn(c *cli.Context, set *data.Dataset) {
	for _, w := range set.Warnings() {
		fmt.Fprintln(c.App.ErrWriter, "warning:", w)
	}
}
