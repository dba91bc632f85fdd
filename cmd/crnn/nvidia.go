package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"crnn/gpu"
	"crnn/train"
)

// nvidia describes this machine's NVIDIA driver and cards, from three sources. Each may fail.
type nvidia struct {
	host       gpu.Host
	monitor    gpu.Monitor
	monitorErr error
	devices    []gpu.Device
	devicesErr error
}

func findNVIDIA() (n nvidia) {
	n.host = gpu.ReadHost(os.DirFS("/"))
	n.monitor, n.monitorErr = gpu.ReadMonitor()
	n.devices, n.devicesErr = gpu.Devices()
	return n
}

// driverLine describes the driver.
func (n nvidia) driverLine() string {
	switch {
	case n.monitorErr == nil && n.monitor.CUDA != "":
		return fmt.Sprintf("%s, CUDA %s", n.monitor.Driver, n.monitor.CUDA)
	case n.monitorErr == nil:
		return n.monitor.Driver
	case n.host.Driver != "":
		return n.host.Driver
	case n.devicesErr == nil || gpu.HasDriver():
		return "there, of unknown version"
	case runtime.GOOS != "linux":
		return "not looked for on this system; crnn needs none"
	case n.host.OnBus > 0:
		return "none, though there is a card: NVIDIA's driver comes from the system's packages"
	}
	return "none; crnn needs it for a GPU only"
}

// cardLines describes the cards, one per line.
func (n nvidia) cardLines() (lines []string) {
	others := slices.Clone(n.devices)
	for _, card := range n.monitor.Cards {
		device := "not shown to CUDA"
		if card.MIG {
			device = "in MIG mode: CUDA is shown parts of it"
		}
		if i := slices.IndexFunc(others, func(d gpu.Device) bool { return d.UUID == card.UUID }); i >= 0 {
			device = deviceText(others[i])
			others = slices.Delete(others, i, i+1)
		}
		lines = append(lines, fmt.Sprintf("%s, %s%s", card.Name, device, cardText(card)))
	}
	// The rest are parts of cards in MIG mode, or all devices if the monitor shows none.
	for _, d := range others {
		line := fmt.Sprintf("%s, %s, %s of memory", d.Name, deviceText(d), gibibytes(d.TotalMemory))
		if n.monitorErr != nil {
			line += fmt.Sprintf("; its use is not known: %v", n.monitorErr)
		}
		lines = append(lines, line)
	}
	switch {
	case lines != nil:
		return lines
	case len(n.host.Cards) > 0:
		return n.host.Cards
	case n.host.OnBus > 0:
		return []string{"on the PCI bus, but not usable without a driver"}
	}
	return []string{"none"}
}

func deviceText(d gpu.Device) string {
	return fmt.Sprintf("cuda:%d, compute capability %d.%d (%s)",
		d.Index, d.Capability/10, d.Capability%10, strings.Join(d.Precisions(), ", "))
}

// cardText describes the state of a card, with a comma before each part.
func cardText(c gpu.Card) string {
	var text strings.Builder
	if c.Total > 0 {
		fmt.Fprintf(&text, ", %s of %s of memory in use", gibibytes(c.Used), gibibytes(c.Total))
	}
	if c.Temperature > 0 {
		fmt.Fprintf(&text, ", %d °C", c.Temperature)
	}
	if c.Power > 0 {
		fmt.Fprintf(&text, ", %.0f W", c.Power)
	}
	others := slices.DeleteFunc(slices.Clone(c.Processes), func(p gpu.Process) bool { return p.ID == os.Getpid() })
	for i, p := range others {
		text.WriteString(", ")
		if i == 0 {
			text.WriteString("used by ")
		}
		fmt.Fprintf(&text, "process %d", p.ID)
		if p.Name != "" {
			text.WriteString(" " + p.Name)
		}
		if p.Memory > 0 {
			fmt.Fprintf(&text, " (%s)", gibibytes(p.Memory))
		}
	}
	return text.String()
}

func gibibytes(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// cudaLine tries the GPUs. It names the one that crnn can use, or says why there is none.
func (n nvidia) cudaLine() string {
	if n.devicesErr != nil {
		return n.devicesErr.Error()
	}
	d, err := firstGPU(train.Default())
	if err == nil {
		name := d.Name()
		if err = d.Close(); err == nil {
			return name + " works"
		}
	}
	return err.Error()
}
