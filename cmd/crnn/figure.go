package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"crnn/report"
)

// saveFigure writes a figure and says where it is.
func saveFigure(c *cli.Context, f report.Figure, path string) error {
	if err := f.Save(path); err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) { // it names a temporary file
			err = cause.Err
		}
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	fmt.Fprintln(c.App.ErrWriter, "wrote", path)
	return nil
}
