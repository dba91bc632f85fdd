package main

import (
	"errors"
	"fmt"
	"io"
	"os"
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
	description string // as its maker calls it
	threads     int    // that it computes with; of a GPU, the setting, for a run that goes on elsewhere
	// note is a line for the user, to be shown when the computing starts: what was chosen
	// and why, empty if there was no choice.
	note string
}

// openDevice returns the device that valid settings ask for. This is the one place where a
// name becomes a device.
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

// openCPU returns the CPU, and if it is a second choice says why it is not a GPU.
func openCPU(c train.Config, notGPU error) (*device, error) {
	instead := ""
	if notGPU != nil {
		instead = " (not a GPU: " + shortly(notGPU) + ")"
	}
	if c.Precision == "tf32" {
		return nil, usagef("--precision tf32: that is a GPU's%s: use --precision fp32 or bf16", instead)
	}
	backend, err := cpu.New(cpu.Options{
		Threads: c.Threads, Kernels: os.Getenv("CRNN_CPU_KERNELS"), BF16: c.Precision == "bf16", Memory: totalMemory(),
	})
	if errors.Is(err, cpu.ErrNoBF16) {
		return nil, usagef("--precision bf16: %w%s: use --precision fp32", err, instead)
	}
	if err != nil {
		return nil, err
	}
	d := &device{Backend: backend, description: processor(), threads: backend.Threads()}
	if notGPU != nil {
		d.note = fmt.Sprintf("device: cpu (%s kernels, %d threads), not a GPU: %s", backend.KernelName(), d.threads, shortly(notGPU))
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

// firstGPU returns the first GPU that works, or why the first of all does not.
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
		if e := (*gpu.Error)(nil); errors.As(failure, &e) { // the others name the GPU
			failure = fmt.Errorf("%v: %w", g, failure)
		}
		if err == nil {
			err = failure
		}
	}
	return nil, err
}

// explainGPU turns the error of a GPU that was asked for by name into one about the setting.
func explainGPU(c train.Config, err error) error {
	if err == nil {
		return nil
	}
	if e := (*gpu.PrecisionError)(nil); errors.As(err, &e) {
		return usagef("--precision %w: use --precision fp32", err)
	}
	return fmt.Errorf("--device %s: %w, or use --device cpu", c.Device, err)
}

// shortly returns why a GPU is not used, with a remedy where there may be one to use.
func shortly(err error) string {
	if e := (*gpu.Unavailable)(nil); errors.As(err, &e) && e.Usual {
		return e.What
	}
	return err.Error()
}

// load puts a trained network on the device, for batches of maxBatch images, or of as many as fit
// into its memory.
func (d *device) load(state *model.State, maxBatch int) (*model.Network, error) {
	const seed = 0 // of dropout, which training alone has
	net, err := model.New(d.Backend, state.Config, maxBatch, seed)
	if e := (*model.MemoryError)(nil); errors.As(err, &e) && e.Fits > 0 {
		net, err = model.New(d.Backend, state.Config, e.Fits, seed)
	}
	if err != nil {
		return nil, err
	}
	return net, net.SetState(state)
}

// announce shows the note, if there is one.
func (d *device) announce(stderr io.Writer) {
	if d.note != "" {
		fmt.Fprintln(stderr, d.note)
	}
}
