package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/data/fetch"
	"crnn/data/known"
	"crnn/report"
)

// locate returns the directory of the data set: dir, a setting of the command, unless it
// is empty. An error about dir says where it was set.
func locate(c *cli.Context, dir string) (string, error) {
	found, err := data.Locate(dir)
	if err != nil && dir != "" {
		return "", fmt.Errorf("%s: %w", dataSource(c), err)
	}
	return found, err
}

// dataSource names the source of the setting data.
func dataSource(c *cli.Context) string {
	for _, from := range []struct{ flag, format string }{{"data", ""}, {"resume", "checkpoint of %s: data"},
		{"config", "%s: data"}} {
		o := lookupFlag(c.Command, from.flag)
		if o == nil {
			continue
		}
		if text, source, ok := o.lookup(); ok && from.format == "" {
			return source
		} else if ok {
			return fmt.Sprintf(from.format, text)
		}
	}
	return "data"
}

// locateOrFetch is locate, but downloads the data set if the user named no directory and none was
// found.
func locateOrFetch(c *cli.Context, dir string) (string, error) {
	found, err := locate(c, dir)
	if !errors.Is(err, data.ErrNotFound) {
		return found, err
	}
	dir = known.FashionMNIST.CacheDir()
	fmt.Fprintf(c.App.ErrWriter, "the data set is not on this machine: downloading Fashion-MNIST (30 MB) into %s\n", dir)
	return dir, download(c, nil, dir)
}

// dataFetch fetches the data set that the command line names, or Fashion-MNIST, into dir only if the flag
// names it. The environment names the data set for training, which may be the user's own.
func dataFetch(c *cli.Context, dir string) error {
	name := c.Args().Get(1)
	set, err := namedSet(name)
	if err != nil {
		return err
	}
	if !c.IsSet("data") {
		if dir != "" {
			fmt.Fprintf(c.App.ErrWriter, "the other commands use %s, set by %s\n", dir, data.EnvVar)
		}
		dir = set.CacheDir()
	}
	if err := download(c, set, dir); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, dir)
	if name != "" {
		fmt.Fprintln(c.App.ErrWriter, "crnn train --data", shellWord(dir))
	}
	return nil
}

// namedSet returns the known data set of that name; the empty name is Fashion-MNIST's.
func namedSet(name string) (*known.Set, error) {
	names := known.Names()
	word := strings.ToLower(name)
	switch word {
	case "":
		word = names[0]
	case "cifar-10": // as it is written
		word = "cifar10"
	case "emnist":
		return nil, usagef("crnn data fetch %s: expected one of three sets of EMNIST: emnist-letters (26 classes), "+
			"emnist-balanced (47) or emnist-byclass (62)", name)
	}
	if set := known.Find(word); set != nil {
		return set, nil
	}
	last := len(names) - 1
	return nil, usagef("crnn data fetch %q: expected %s or %s%s",
		name, strings.Join(names[:last], ", "), names[last], didYouMean(word, names))
}

// shellWord returns text as one word for a shell.
func shellWord(text string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:@%+,"+string(filepath.Separator), r)
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// download gets the missing files of set into dir; nil is Fashion-MNIST. Its progress goes to stderr.
func download(c *cli.Context, set *known.Set, dir string) error {
	p := &fetchProgress{w: c.App.ErrWriter, live: report.IsTerminal(c.App.ErrWriter)}
	err := fetch.Run(c.Context, dir, fetch.Options{Set: set, Progress: p.report, Log: p.log})
	p.endLine()
	return err
}

// fetchProgress shows the progress of downloads: on a terminal in one line that changes, else in
// one line per finished file.
type fetchProgress struct {
	w    io.Writer
	live bool
	last time.Time // when the line changed last
	open bool      // the line shows something
}

func (p *fetchProgress) report(file string, done, total int64) {
	complete := done == total
	switch {
	case p.live && (complete || time.Since(p.last) > 100*time.Millisecond):
		p.last, p.open = time.Now(), true
		// Return to the start of the line and clear it.
		fmt.Fprintf(p.w, "\r\x1b[K%s: %s", file, megabytes(done))
		if total >= 0 {
			fmt.Fprintf(p.w, " of %s", megabytes(total))
		}
		if complete {
			p.endLine()
		}
	case !p.live && complete:
		fmt.Fprintf(p.w, "%s: %s\n", file, megabytes(done))
	}
}

func (p *fetchProgress) log(line string) {
	p.endLine()
	fmt.Fprintln(p.w, line)
}

func (p *fetchProgress) endLine() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
