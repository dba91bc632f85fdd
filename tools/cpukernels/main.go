// Command cpukernels writes what follows from cpu/kernels.h, the statement of the CPU's inner loops,
// into the folder where it runs: the Go interface and structs, the calls through cgo, the profile's
// list, and the entries of a table in C. `go generate ./cpu` runs it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cpukernels:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile("kernels.h")
	if err != nil {
		return err
	}
	files, err := generate(string(text))
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
