// Command lines reports lines that are longer than .editorconfig says, in the files that it is given:
// 120 characters of code, 100 of text. In Markdown, tables, code and lines with a link may be longer.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// limits are the longest lines, in characters, by the ending of a file's name.
var limits = map[string]int{
	".go": 120, ".c": 120, ".h": 120, ".cu": 120, ".cuh": 120, ".cpp": 120, ".py": 120,
	".md": 100,
}

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		file, err := os.Open(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, "lines:", err)
			os.Exit(1)
		}
		for _, long := range tooLong(path, file) {
			fmt.Println(long)
			failed = true
		}
		file.Close()
	}
	if failed {
		os.Exit(1)
	}
}

// tooLong returns a message per line of a file that is too long.
func tooLong(path string, text io.Reader) []string {
	limit, known := limits[filepath.Ext(path)]
	if !known || strings.Contains(filepath.Base(path), "_gen.") {
		return nil
	}
	var found []string
	markdown, code := limit == limits[".md"], false
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if markdown {
			fence := strings.HasPrefix(line, "```")
			if fence {
				code = !code
			}
			if fence || code || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "|") || strings.Contains(line, "](") {
				continue
			}
		}
		if length := utf8.RuneCountInString(line); length > limit {
			found = append(found, fmt.Sprintf("%s:%d: %d characters, at most %d", path, n, length, limit))
		}
	}
	return found
}
