package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"crnn/data"
)

// locateOrFetch returns the directory of the data set.
func locateOrFetch(c *cli.Context, dir string) (string, error) {
	found, err := data.Locate(dir)
	if !errors.Is(err, data.ErrNotFound) {
		return found, err
	}
	dir = data.CacheDir()
	fmt.Fprintf(c.App.ErrWriter, "the data set is not on this machine: downloading Fashion-MNIST (30 MB) into %s\n", dir)
	return dir, fetch(c, dir)
}

// fetch downloads into dir what is missing there. Its progress goes to stderr.
func fetch(c *cli.Context, dir string) error {
	p := &fetchProgress{w: c.App.ErrWriter, live: isTerminal(c.App.ErrWriter)}
	err := data.Fetch(c.Context, dir, data.FetchOptions{Progress: p.report, Log: p.log})
	p.endLine()
	return err
}

// fetchProgress shows how far downloads are: on a terminal in one line that changes, else
// in a line for each file that has come.
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
		// Back to the start of the line, and clear what it held.
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

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
