package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/report"
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

// loadData finds and reads the data set of the settings. It downloads Fashion-MNIST if the user named no
// data and none was found. Its warnings go to stderr.
func loadData(c *cli.Context, config train.Config) (*data.Dataset, error) {
	set, err := readData(c, config)
	if err == nil {
		warn(c, set)
	}
	return set, err
}

// loadDataLike is loadData for a network that was trained on images like these.
func loadDataLike(c *cli.Context, config train.Config, like *imageset.Description) (*data.Dataset, error) {
	set, err := readDataLike(c, config, like)
	if err == nil {
		warn(c, set)
	}
	return set, err
}

// readData is loadData without the warnings, which take time to compute.
func readData(c *cli.Context, config train.Config) (*data.Dataset, error) {
	return readDataLike(c, config, nil)
}

func readDataLike(c *cli.Context, config train.Config, like *imageset.Description) (*data.Dataset, error) {
	path, err := locateOrFetch(c, config.Data)
	if err != nil {
		return nil, err
	}
	progress := &readProgress{w: c.App.ErrWriter, live: report.IsTerminal(c.App.ErrWriter)}
	set, err := data.Read(c.Context, path, data.Options{
		Height: config.ImageSize.Height, Width: config.ImageSize.Width, Gray: config.Grayscale,
		TestFraction: config.TestFraction, Seed: config.Seed, Progress: progress.report, Like: like,
	})
	progress.end()
	if unreadable := (*data.UnreadableError)(nil); errors.As(err, &unreadable) && len(unreadable.Each) > 1 {
		for _, e := range unreadable.Each {
			fmt.Fprintln(c.App.ErrWriter, e)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, note := range set.Notes {
		fmt.Fprintln(c.App.ErrWriter, note)
	}
	// From here on a signal waits for the current step: see signalContext.
	return set, c.Context.Err()
}

func warn(c *cli.Context, set *data.Dataset) {
	for _, w := range set.Warnings() {
		fmt.Fprintln(c.App.ErrWriter, "warning:", w)
	}
}

// readProgress shows how many pictures of a folder are read: on a terminal in one line that changes,
// else in one line at the end.
type readProgress struct {
	w           io.Writer
	live        bool
	last        time.Time // when the line changed last
	done, total int
}

func (p *readProgress) report(done, total int) {
	p.done, p.total = done, total
	if p.live && (done == total || time.Since(p.last) > 100*time.Millisecond) {
		p.last = time.Now()
		fmt.Fprintf(p.w, "\r\x1b[K%d of %d pictures read", done, total)
	}
}

// end ends the line.
func (p *readProgress) end() {
	switch {
	case p.total == 0:
	case p.live:
		fmt.Fprintln(p.w)
	default:
		fmt.Fprintf(p.w, "%d pictures read\n", p.done)
	}
}
