//go:build !cuda

// Package gpu runs the network on an NVIDIA GPU. Without the build tag cuda it has only this file and
// the others that need no CUDA; Open then returns an error.
package gpu

import "crnn/model"

// Built says whether this build has CUDA support.
const Built = false

// Backend is never made.
type Backend struct{ model.Backend }

// Description returns the name of the card.
func (*Backend) Description() string { return "" }

func notBuilt() error {
	return &Unavailable{
		What:   "this build has no CUDA support",
		Remedy: "`make build` makes one that has it, on Linux with gcc",
		Usual:  true}
}

// Open returns an *Unavailable.
func Open(Options) (*Backend, error) { return nil, notBuilt() }

// HasDriver returns false: this build does not look for a driver.
func HasDriver() bool { return false }

// Devices returns an *Unavailable.
func Devices() ([]Device, error) { return nil, notBuilt() }

// ReadMonitor returns an *Unavailable.
func ReadMonitor() (Monitor, error) { return Monitor{}, notBuilt() }

func driverWords(int) (name, meaning string) {
	return "an error", "without a driver its name is unknown"
}
