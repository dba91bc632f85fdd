package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	code        = regexp.MustCompile("`([^`]+)`")
	placeholder = regexp.MustCompile(`…|\bN\b`)
	concatenate = regexp.MustCompile(`"\s*\+\s*"`) // two literals of one message
)

// The messages that README.md quotes must be messages of the program.
func TestMessagesOfREADME(t *testing.T) {
	const top = "../.."
	readme, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n| message | means |\n|---|---|\n")
	if !found {
		t.Fatal("README.md has no table of messages")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	source := sourceText(t, top)
	for _, row := range strings.Split(table, "\n") {
		column := strings.SplitN(row, "|", 3)[1]
		quotes := code.FindAllStringSubmatch(column, -1)
		if quotes == nil {
			t.Errorf("no message in the row %s", row)
		}
		for _, quote := range quotes {
			literal := 0 // letters of the searched parts
			for _, part := range placeholder.Split(quote[1], -1) {
				part = strings.TrimSpace(part)
				literal += len(part)
				if !strings.Contains(source, part) {
					t.Errorf("README.md quotes `%s`, but no source says %q", quote[1], part)
				}
			}
			if literal < 8 {
				t.Errorf("README.md quotes `%s`: too short to search for", quote[1])
			}
		}
	}
}

// sourceText returns the text of all Go files but tests, and of the Makefile and scripts.
func sourceText(t *testing.T, top string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(name, ".") && path != top:
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		inScripts := filepath.Dir(path) == filepath.Join(top, "scripts")
		inProgram := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
		if inProgram || name == "Makefile" || inScripts && filepath.Ext(name) != ".md" {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text.Write(concatenate.ReplaceAll(content, nil))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}
