package gpu

import (
	"fmt"
	"strings"
)

// The minimum that crnn's kernels need.
const (
	minCapability = 75          // Turing
	minCUDA       = 12000       // CUDA 12.0, as cuDriverGetVersion writes it
	minDriver     = "525.60.13" // the first with CUDA 12.0, on Linux
)

// Device is a GPU that the driver shows.
type Device struct {
	Index       int // cuda:Index
	Name        string
	UUID        string // as nvidia-smi writes it, GPU-… or MIG-…
	Capability  int    // compute capability: 90 for 9.0
	TotalMemory int64  // bytes
	prohibited  bool   // its compute mode is Prohibited
}

// Options are the arguments of Open.
type Options struct {
	Device    int    // index of the GPU
	Precision string // fp32, tf32 or bf16; empty: fp32
}

func (d Device) String() string { return fmt.Sprintf("cuda:%d (%s)", d.Index, d.Name) }

// Precisions returns the values of --precision that d offers.
func (d Device) Precisions() []string {
	if d.Capability < 80 {
		return []string{"fp32"}
	}
	return []string{"fp32", "tf32", "bf16"}
}

// Unavailable says why a GPU, or any GPU, cannot be used.
type Unavailable struct {
	What   string // what was found
	Remedy string // what to do about it
	Usual  bool   // nothing hints at a GPU that could be used
}

func (u *Unavailable) Error() string { return u.What + ": " + u.Remedy }

// Usable returns nil, or an *Unavailable with the reason why d cannot be used.
func (d Device) Usable() error {
	switch {
	case d.Capability < minCapability:
		return &Unavailable{
			What: fmt.Sprintf("%v is too old: its compute capability is %s, and %s is needed",
				d, dotted(d.Capability), dotted(minCapability)),
			Remedy: "use a card of the Turing generation (2018) or newer"}
	case d.prohibited:
		return &Unavailable{
			What:   fmt.Sprintf("%v may not be used: its compute mode is Prohibited", d),
			Remedy: fmt.Sprintf("change that with `nvidia-smi -i %s -c DEFAULT`, as root", d.UUID)}
	}
	return nil
}

// Probe returns GPU number index, or the reason why it cannot be used, as Devices does. It does not
// notice that another process uses the GPU exclusively; Open does.
func Probe(index int) (Device, error) {
	devices, err := Devices()
	if err != nil {
		return Device{}, err
	}
	if index >= len(devices) {
		return Device{}, outOfRange(index, devices)
	}
	return devices[index], devices[index].Usable()
}

func outOfRange(index int, devices []Device) *Unavailable {
	var there []string
	for _, d := range devices {
		there = append(there, d.String())
	}
	return &Unavailable{
		What:   fmt.Sprintf("there is no cuda:%d, only %s", index, strings.Join(there, ", ")),
		Remedy: "take one of these",
	}
}

// dotted writes a compute capability: 75 as 7.5.
func dotted(capability int) string { return fmt.Sprintf("%d.%d", capability/10, capability%10) }

// cudaVersion writes a version of CUDA, given as cuDriverGetVersion returns it.
func cudaVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }
