package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/data/imageset"
	"crnn/data/known"
	"crnn/report"
	"crnn/train"
)

// dataWords are the words that follow crnn data, the number of arguments behind them, and the flags that
// they take.
var dataWords = []struct {
	name  string
	most  int
	flags []string
}{
	{"fetch", 1, []string{"data"}},
	{"verify", 0, []string{"data"}},
	{"where", 0, []string{"data"}},
	{"info", 1, append([]string{"json", "out"}, dataSettings...)},
	{"convert", 2, []string{"image-size", "grayscale", "background", "test-fraction", "seed"}},
}

func dataCommand() *cli.Command {
	config := train.Default()
	var asJSON bool
	var out string
	options := append(settings(&config, dataSettings...),
		&option{name: "json", category: "Output", target: &asJSON, noEnv: true, usage: "print what info finds as JSON"},
		&option{name: "out", category: "Output", target: &out, noEnv: true, value: "FILE.png",
			usage: "picture that info writes: images of each class"})
	actions := map[string]func(*cli.Context) error{
		"fetch":   func(c *cli.Context) error { return dataFetch(c, config.Data) },
		"verify":  func(c *cli.Context) error { return dataVerify(c, config.Data) },
		"where":   func(c *cli.Context) error { return dataWhere(c, config.Data) },
		"info":    func(c *cli.Context) error { return dataInfo(c, config, asJSON, out) },
		"convert": func(c *cli.Context) error { return dataConvert(c, config) },
	}
	return newCommand("data", "[where | fetch [NAME] | verify | info [PATH] | convert PATH DIR]",
		"find, download, check, describe or convert the data set",
		"where (the default) prints the directory in which the data set was found.\n"+
			"fetch puts it into the directory of --data, or else into the user's cache. NAME is fashion-mnist\n"+
			"(the default), mnist, kmnist, emnist-letters, emnist-balanced, emnist-byclass or cifar10.\n"+
			"verify checks magic number, shape, length and SHA-256 of every IDX file.\n"+
			"info counts the images by class, as crnn train divides them, and warns of what looks wrong.\n"+
			"convert writes the data set at PATH into the new directory DIR, as four IDX files and classes.txt.",
		"crnn data fetch\ncrnn data fetch cifar10\ncrnn data verify --data ~/fashion-mnist\n"+
			"crnn data info ~/photos --image-size 64x64 --out photos.png\n"+
			"crnn data convert ~/photos ~/photos-idx --image-size 64x64", options,
		func(c *cli.Context) error {
			word := c.Args().First()
			if word == "" {
				word = "where"
			}
			if err := checkDataWord(c, word, options); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			return actions[word](c)
		})
}

// checkDataWord refuses an unknown word, too many arguments behind it, and flags that it does
// not take.
func checkDataWord(c *cli.Context, word string, options []*option) error {
	var words []string
	for _, w := range dataWords {
		words = append(words, w.name)
	}
	at := slices.Index(words, word)
	if at < 0 {
		return usagef("crnn data %q: expected fetch, verify, where, info or convert%s", word, didYouMean(word, words))
	}
	if err := noArguments(c, 1+dataWords[at].most); err != nil {
		return err
	}
	for _, o := range options {
		if o.given == nil || slices.Contains(dataWords[at].flags, o.name) {
			continue
		}
		var takers []string
		for _, w := range dataWords {
			if slices.Contains(w.flags, o.name) {
				takers = append(takers, w.name)
			}
		}
		return usagef("--%s: not a flag of crnn data %s, but of crnn data %s", o.name, word, strings.Join(takers, ", "))
	}
	return nil
}

func dataWhere(c *cli.Context, dir string) error {
	dir, err := locate(c, dir)
	if err != nil {
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

func verdict(s known.State) string {
	if s == known.Match {
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
	o := readOptions(config)
	o.Progress, o.Like = progress.report, like
	set, err := data.Read(c.Context, path, o)
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

// readOptions are the settings that say how a data set is read.
func readOptions(config train.Config) data.Options {
	return data.Options{
		Height: config.ImageSize.Height, Width: config.ImageSize.Width, Gray: config.Grayscale,
		TestFraction: config.TestFraction, Seed: config.Seed, Background: imageset.Background(config.Background),
	}
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
