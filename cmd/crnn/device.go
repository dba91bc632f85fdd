package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"crnn/cpu"
	"crnn/gpu"
	"crnn/model"
	"crnn/train"
)

// device is a device to compute on.
type device struct {
	model.Backend
	description string // the maker's name for it
	threads     int    // CPU threads; for a GPU, the setting, for a run that continues on a CPU
	// note is a line for the user, shown when the computing starts: the chosen device and the
	// reason. It is empty if there was no choice.
	note string
}

// openDevice returns the device that valid settings ask for. Only here a name becomes a device.
func openDevice(c train.Config) (*device, error) {
	if number, ok := strings.CutPrefix(c.Device, "cuda:"); ok {
		index, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		d, err := openGPU(c, index)
		return d, explainGPU(c, err)
	}
	if c.Device == "cpu" {
		return openCPU(c, nil)
	}
	d, err := firstGPU(c)
	switch {
	case c.Device == "cuda":
		return d, explainGPU(c, err)
	case err != nil:
		return openCPU(c, err)
	}
	return d, nil
}

// kernelsVariable is the environment variable that names the CPU's kernels, to compare them or to
// imitate a processor without the fastest ones.
const kernelsVariable = "CRNN_CPU_KERNELS"

// chosenKernels returns the kernels that the environment names, or "" for the fastest.
func chosenKernels() (string, error) {
	name, offered := os.Getenv(kernelsVariable), cpu.Kernels()
	if name != "" && !slices.Contains(offered, name) {
		return "", usagef("environment variable %s %q: this processor and build offer %s: take one of these, or leave it out",
			kernelsVariable, name, strings.Join(offered, ", "))
	}
	return name, nil
}

// bf16Instructions names the instruction sets for --precision bf16; the C kernels need one of them.
const bf16Instructions = "AVX-512 BF16 or Armv8.6's BF16"

// cpuPrecisions returns the values of --precision that the given CPU kernels support.
func cpuPrecisions(kernels string) []string {
	if _, err := cpu.New(cpu.Options{Threads: 1, Kernels: kernels, BF16: true}); err != nil {
		return []string{"fp32"}
	}
	return []string{"fp32", "bf16"}
}

// openCPU returns the CPU. If a GPU was tried first, notGPU is its error, for the device's note.
func openCPU(c train.Config, notGPU error) (*device, error) {
	kernels, err := chosenKernels()
	if err != nil {
		return nil, err
	}
	if has := cpuPrecisions(kernels); !slices.Contains(has, c.Precision) {
		var why []string
		if c.Precision == "bf16" {
			why = append(why, "bf16 needs "+bf16Instructions)
			if kernels != "" {
				why = append(why, kernelsVariable+" chose the "+kernels+" kernels")
			}
		}
		if notGPU != nil {
			why = append(why, "not a GPU: "+shortly(notGPU))
		}
		because := ""
		if why != nil {
			because = " (" + strings.Join(why, "; ") + ")"
		}
		return nil, usagef("--precision %s: the CPU computes in %s only%s: use --precision %s",
			c.Precision, strings.Join(has, " and "), because, strings.Join(has, " or "))
	}
	backend, err := cpu.New(cpu.Options{
		Threads: c.Threads, Kernels: kernels, BF16: c.Precision == "bf16", Memory: totalMemory(),
	})
	if err != nil {
		return nil, err
	}
	d := &device{Backend: backend, description: processor(), threads: backend.Threads()}
	if notGPU != nil {
		d.note = fmt.Sprintf("device: cpu (%s kernels, %d threads), not a GPU: %s",
			backend.KernelName(), d.threads, shortly(notGPU))
	}
	return d, nil
}

// openGPU returns GPU number index.
func openGPU(c train.Config, index int) (*device, error) {
	backend, err := gpu.Open(gpu.Options{Device: index, Precision: c.Precision})
	if err != nil {
		return nil, err
	}
	return &device{Backend: backend, description: backend.Description(), threads: c.Threads}, nil
}

// firstGPU returns the first GPU that works, or else the error of the very first one.
func firstGPU(c train.Config) (*device, error) {
	devices, err := gpu.Devices()
	for _, g := range devices {
		d, failure := openGPU(c, g.Index)
		if failure == nil {
			d.note = fmt.Sprintf("device: %s (%s)", d.Name(), d.description)
			if err != nil {
				d.note += ", not " + shortly(err)
			}
			return d, nil
		}
		if e := (*gpu.Error)(nil); errors.As(failure, &e) { // other errors name the GPU
			failure = fmt.Errorf("%v: %w", g, failure)
		}
		if err == nil {
			err = failure
		}
	}
	return nil, err
}

// explainGPU turns the error of a GPU that the user asked for into an error about the setting.
func explainGPU(c train.Config, err error) error {
	if err == nil {
		return nil
	}
	if e := (*gpu.PrecisionError)(nil); errors.As(err, &e) {
		return usagef("--precision %w: use --precision fp32", err)
	}
	return fmt.Errorf("--device %s: %w, or use --device cpu", c.Device, err)
}

// shortly returns the reason not to use a GPU, with a remedy if the machine may have a GPU.
func shortly(err error) string {
	if e := (*gpu.Unavailable)(nil); errors.As(err, &e) && e.Usual {
		return e.What
	}
	return err.Error()
}

// load puts a trained network on the device, for batches of maxBatch images or the largest number
// that fits into its memory.
func (d *device) load(state *model.State, maxBatch int) (*model.Network, error) {
	net, err := model.New(d.Backend, state.Config, model.Options{MaxBatch: maxBatch})
	if e := (*model.MemoryError)(nil); errors.As(err, &e) && e.Fits > 0 {
		net, err = model.New(d.Backend, state.Config, model.Options{MaxBatch: e.Fits})
	}
	if err != nil {
		return nil, err
	}
	return net, net.SetState(state)
}

// announce shows the note, if any.
func (d *device) announce(stderr io.Writer) {
	if d.note != "" {
		fmt.Fprintln(stderr, d.note)
	}
}
