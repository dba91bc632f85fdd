package main

import (
	"fmt"
	"io"
	"strings"

	"crnn/cpu"
	"crnn/model"
	"crnn/train"
)

// noCUDA is why this program uses no GPU.
const noCUDA = "this build has no CUDA support"

// device is a device to compute on.
type device struct {
	model.Backend
	description string // as its maker calls it
	threads     int    // that it computes with
	// note is a line for the user, to be shown when the computing starts: what was chosen
	// and why, empty if there was no choice.
	note string
}

// openDevice returns the device that valid settings ask for. This is the one place where a
// name becomes a device.
func openDevice(c train.Config) (*device, error) {
	if strings.HasPrefix(c.Device, "cuda") {
		return nil, fmt.Errorf("--device %s: %s: use --device cpu, or auto", c.Device, noCUDA)
	}
	if c.Precision != "fp32" {
		return nil, usagef("--precision %s: the CPU computes in fp32 only: use --precision fp32", c.Precision)
	}
	backend, err := cpu.New(cpu.Options{Threads: c.Threads, Memory: totalMemory()})
	if err != nil {
		return nil, err
	}
	d := &device{Backend: backend, description: processor(), threads: backend.Threads()}
	if c.Device == "auto" {
		d.note = fmt.Sprintf("device: cpu (%s kernels, %d threads), not a GPU: %s", backend.KernelName(), d.threads, noCUDA)
	}
	return d, nil
}

// announce shows the note, if there is one.
func (d *device) announce(stderr io.Writer) {
	if d.note != "" {
		fmt.Fprintln(stderr, d.note)
	}
}
