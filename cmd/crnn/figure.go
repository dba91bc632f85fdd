package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"crnn/internal/osfile"
	"crnn/report"
)

// saveFigure writes a figure and prints its path.
func saveFigure(c *cli.Context, f report.Figure, path string) error {
	if ext := filepath.Ext(path); ext != "" && !strings.EqualFold(ext, ".png") {
		return fmt.Errorf("cannot write %s: figures are PNG files, expected FILE.png", path)
	}
	if err := f.Save(path); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, osfile.Cause(err))
	}
	fmt.Fprintln(c.App.ErrWriter, "wrote", path)
	return nil
}
