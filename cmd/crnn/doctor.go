package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"crnn/cpu"
	"crnn/data"
	"crnn/train"
)

func doctorCommand() *cli.Command {
	config := train.Default()
	options := settings(&config, "data")
	return newCommand("doctor", "", "what this machine offers, and remedies for what is missing",
		"Prints the processor and its kernels, memory, GPU support and the data set, each with a remedy\n"+
			"where something is missing. It changes nothing.",
		"crnn doctor", options,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			if err := configure(&config, options); err != nil {
				return err
			}
			kernels, err := chosenKernels()
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
			line := func(what, format string, args ...any) {
				fmt.Fprintf(t, "%s:\t%s\n", what, fmt.Sprintf(format, args...))
			}
			line("program", "crnn %s, commit %s, %s %s/%s", version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			line("build features", "%s", buildFeatures())
			line("processor", "%s, %d in use of %d", processor(), runtime.GOMAXPROCS(0), runtime.NumCPU())
			line("processor features", "%s", processorFeatures())
			line("kernels", "%s", kernelsLine(kernels))
			line("CPU precisions", "%s", precisionsLine(kernels))
			if total := totalMemory(); total > 0 {
				line("memory", "%.1f GiB", float64(total)/(1<<30))
			}
			gpus := findNVIDIA()
			line("NVIDIA driver", "%s", gpus.driverLine())
			for i, text := range gpus.cardLines() {
				if i == 0 {
					line("NVIDIA GPUs", "%s", text)
				} else {
					fmt.Fprintf(t, "\t%s\n", text)
				}
			}
			line("CUDA", "%s", gpus.cudaLine())
			line("data", "%s", dataLine(c, config.Data))
			return t.Flush()
		})
}

// kernelsLine names the CPU kernels in use and says whether the environment chose them. If only the
// Go kernels are built in, it says how to get faster ones.
func kernelsLine(chosen string) string {
	names := cpu.Kernels()
	inUse := []string{cmp.Or(chosen, cpu.DefaultKernels(false))}
	text := inUse[0] + " in use"
	if chosen != "" {
		text += ", chosen by " + kernelsVariable
	} else if bf16 := cpu.DefaultKernels(true); bf16 != inUse[0] {
		inUse = append(inUse, bf16)
		text += ", " + bf16 + " with --precision bf16"
	}
	if len(names) > 1 {
		others := slices.DeleteFunc(names, func(name string) bool { return slices.Contains(inUse, name) })
		text += "; also there: " + strings.Join(others, ", ")
		if err := cpu.TilesRefused(); err != nil {
			text += "; the processor's AMX is not used: " + err.Error()
		}
		return text
	}
	return text + " (built without cgo, some fifty times slower than with it: " +
		"install a C compiler and build with CGO_ENABLED=1)"
}

// precisionsLine names the values of --precision that the given CPU kernels support.
func precisionsLine(kernels string) string {
	text := strings.Join(cpuPrecisions(kernels), ", ")
	if !strings.Contains(text, "bf16") {
		text += "; bf16 needs " + bf16Instructions
	}
	return text
}

// dataLine gives the place and state of the data set, or says how to get it.
func dataLine(c *cli.Context, dir string) string {
	dir, err := locate(c, dir)
	switch {
	case errors.Is(err, data.ErrNotFound):
		return "not on this machine: crnn data fetch downloads it (30 MB), as crnn train does by itself"
	case err != nil:
		return err.Error()
	}
	set, err := data.Load(dir)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%s: %d training and %d test images", dir, set.Train.Count, set.Test.Count)
	if len(set.Warnings()) == 0 {
		return text + ", Fashion-MNIST"
	}
	return text + "; " + strings.Join(set.Warnings(), "; ")
}
