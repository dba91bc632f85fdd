package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"unicode"

	"crnn/train"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Run holds the data of a run, finished or not.
type Run struct {
	Name     string // of its directory
	Metrics  Metrics
	Settings map[string]string // of its config.yaml; a setting inside another one is named "outer.inner"
}

// ReadRuns reads the runs in the given directories. Runs whose directories have the same
// name are named by their paths.
func ReadRuns(dirs []string) ([]Run, error) {
	runs := make([]Run, len(dirs))
	named := make(map[string]int)
	for i, dir := range dirs {
		m, err := ReadMetrics(dir)
		if err != nil {
			return nil, err
		}
		settings, err := readSettings(filepath.Join(dir, train.ConfigFile))
		if err != nil {
			return nil, err
		}
		runs[i] = Run{runName(dir), m, settings}
		named[runs[i].Name]++
	}
	for i, dir := range dirs {
		if named[runs[i].Name] > 1 {
			runs[i].Name = printable(filepath.Clean(dir))
		}
	}
	return runs, nil
}

// runName returns the name of a directory, also if dir is a path like "." or "..".
func runName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return printable(filepath.Base(dir))
}

// maxConfig is many times the usual size of a config.yaml, in bytes.
const maxConfig = 1 << 16

// readSettings reads a config.yaml with any keys: it may be another version's. A run without the
// file has no settings.
func readSettings(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("%s: longer than %d bytes, not the settings of a run", path, maxConfig)
	}
	settings, line, err := parseSettings(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: damaged: %w", path, line, err)
	}
	return settings, nil
}

// parseSettings also returns the line of its error.
func parseSettings(text []byte) (settings map[string]string, line int, err error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var e yaml.Error // its text would show an excerpt of the file, on several lines
		if errors.As(err, &e) && e.GetToken() != nil {
			return nil, e.GetToken().Position.Line, errors.New(e.GetMessage())
		}
		return nil, 1, err
	}
	settings = make(map[string]string)
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue // nothing but comments
		}
		mapping, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			return nil, doc.Body.GetToken().Position.Line, errors.New("expected settings such as `epochs: 15`")
		}
		flatten(settings, "", mapping)
	}
	return settings, 0, nil
}

// flatten puts the leaves of a tree into settings.
func flatten(settings map[string]string, prefix string, tree *ast.MappingNode) {
	for _, entry := range tree.Values {
		key := prefix + printable(entry.Key.String())
		switch value := entry.Value.(type) {
		case *ast.MappingNode:
			flatten(settings, key+".", value)
		case *ast.StringNode:
			settings[key] = printable(value.Value)
		case *ast.IntegerNode:
			settings[key] = fmt.Sprint(value.Value)
		case *ast.FloatNode:
			settings[key] = fmt.Sprint(value.Value)
		default: // as written: aliases are not followed, since a few bytes can stand for very many
			settings[key] = printable(value.String())
		}
	}
}

// printable returns s, quoted if it is empty or has characters that would break a line.
func printable(s string) string {
	if s == "" {
		return `""`
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
