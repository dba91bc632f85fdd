//go:build cuda

package gpu

import (
	"errors"
	"fmt"
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// ReadMonitor asks NVML. Its library is loaded only during the call. Values that the driver or a card
// does not report are zero.
func ReadMonitor() (m Monitor, err error) {
	switch code := nvml.Init(); code {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return m, errors.New("libnvidia-ml.so.1 was not found")
	default:
		return m, fmt.Errorf("libnvidia-ml.so.1: %w", code)
	}
	defer nvml.Shutdown()

	m.Driver, _ = nvml.SystemGetDriverVersion()
	if has("nvmlSystemGetCudaDriverVersion_v2") {
		if version, code := nvml.SystemGetCudaDriverVersion_v2(); code == nvml.SUCCESS {
			m.CUDA = cudaVersion(version)
		}
	}
	count, code := nvml.DeviceGetCount()
	if code != nvml.SUCCESS {
		return m, fmt.Errorf("nvmlDeviceGetCount: %w", code)
	}
	for i := range count {
		device, code := nvml.DeviceGetHandleByIndex(i)
		if code != nvml.SUCCESS { // such as GPU is lost
			m.Cards = append(m.Cards, Card{Name: fmt.Sprintf("GPU %d: %v", i, code)})
			continue
		}
		m.Cards = append(m.Cards, readCardStatus(device))
	}
	return m, nil
}

// has says whether the library has a function. Old libraries may lack it, and calling a missing
// function would end the program.
func has(function string) bool { return nvml.Extensions().LookupSymbol(function) == nil }

func readCardStatus(device nvml.Device) (c Card) {
	c.Name, _ = device.GetName()
	c.UUID, _ = device.GetUUID()
	if has("nvmlDeviceGetMigMode") {
		mode, _, code := device.GetMigMode()
		c.MIG = code == nvml.SUCCESS && mode == nvml.DEVICE_MIG_ENABLE
	}
	if memory, code := device.GetMemoryInfo(); code == nvml.SUCCESS {
		c.Used, c.Total = int64(memory.Used), int64(memory.Total)
	}
	if celsius, code := device.GetTemperature(nvml.TEMPERATURE_GPU); code == nvml.SUCCESS {
		c.Temperature = int(celsius)
	}
	if milliwatts, code := device.GetPowerUsage(); code == nvml.SUCCESS {
		c.Power = float64(milliwatts) / 1000
	}
	if has("nvmlDeviceGetClockInfo") {
		if megahertz, code := device.GetClockInfo(nvml.CLOCK_SM); code == nvml.SUCCESS {
			c.ClockMHz = int(megahertz)
		}
	}
	processes, _ := device.GetComputeRunningProcesses()
	for _, p := range processes {
		process := Process{ID: int(p.Pid)}
		process.Name, _ = nvml.SystemGetProcessName(process.ID)
		if p.UsedGpuMemory != math.MaxUint64 { // NVML_VALUE_NOT_AVAILABLE
			process.Memory = int64(p.UsedGpuMemory)
		}
		c.Processes = append(c.Processes, process)
	}
	return c
}
