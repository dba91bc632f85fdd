//go:build cuda

package gpu

import (
	"fmt"
	"os"
	"strings"

	"crnn/gpu/cudalink"

	"gorgonia.org/cu"
)

// Built says whether this build has CUDA support.
const Built = true

// HasDriver says whether the driver's library was found.
func HasDriver() bool { return cudalink.Status().Path != "" }

// Devices returns the GPUs that the driver shows, in its order, usable or not. If there are none, it
// returns the reason: an *Unavailable, or the driver's error.
func Devices() ([]Device, error) {
	host := ReadHost(os.DirFS("/"))
	visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	driver := cudalink.Status()
	switch {
	case driver.Path == "":
		return nil, host.noLibrary(driver.Error)
	case driver.Init == noDevice:
		return nil, host.noDevice(visible, set)
	case driver.Init != 0:
		return nil, notWorking(&Error{Call: "cuInit", Code: driver.Init})
	}
	version, err := supportedVersion()
	if err != nil {
		return nil, notWorking(failed("cuDriverGetVersion", err))
	}
	if version < minCUDA {
		return nil, host.tooOld(version)
	}
	count, err := cu.NumDevices()
	if err != nil {
		return nil, notWorking(failed("cuDeviceGetCount", err))
	}
	if count == 0 {
		return nil, host.noDevice(visible, set)
	}
	devices := make([]Device, count)
	for i := range devices {
		if devices[i], err = readDevice(i); err != nil {
			return nil, notWorking(err)
		}
	}
	return devices, nil
}

func notWorking(err error) error { return fmt.Errorf("NVIDIA's driver does not work: %w", err) }

// isMIG says whether d is a part of a GPU in MIG mode. The driver appends the part's profile to the
// card's name: NVIDIA H100 80GB HBM3 MIG 1g.10gb.
func (d Device) isMIG() bool { return strings.Contains(d.Name, " MIG ") }

// readDevice asks the driver about GPU number index.
func readDevice(index int) (d Device, err error) {
	device, err := cu.GetDevice(index)
	if err != nil {
		return d, failed("cuDeviceGet", err)
	}
	d.Index = index
	if d.Name, err = device.Name(); err != nil {
		return d, failed("cuDeviceGetName", err)
	}
	if d.TotalMemory, err = device.TotalMem(); err != nil {
		return d, failed("cuDeviceTotalMem", err)
	}
	id, err := uuid(device)
	if err != nil {
		return d, err
	}
	d.UUID = "GPU-" + id
	if d.isMIG() {
		d.UUID = "MIG-" + id
	}
	var major, minor, mode int
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		to        *int
	}{{cu.ComputeCapabilityMajor, &major}, {cu.ComputeCapabilityMinor, &minor}, {cu.ComputeMode, &mode}} {
		if *a.to, err = device.Attribute(a.attribute); err != nil {
			return d, failed("cuDeviceGetAttribute", err)
		}
	}
	const prohibited = 2 // CU_COMPUTEMODE_PROHIBITED
	d.Capability, d.prohibited = 10*major+minor, mode == prohibited
	return d, nil
}
