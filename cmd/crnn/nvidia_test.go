package main

import (
	"errors"
	"strings"
	"testing"

	"crnn/gpu"
)

// What doctor says of a card depends on the available sources.
func TestNVIDIALines(t *testing.T) {
	device := gpu.Device{Index: 0, Name: "NVIDIA H100", UUID: "GPU-a", Capability: 90, TotalMemory: 80 << 30}
	card := gpu.Card{Name: "NVIDIA H100", UUID: "GPU-a", Used: 3 << 29, Total: 80 << 30, Temperature: 41, Power: 68.4,
		Processes: []gpu.Process{{ID: 12, Name: "python3", Memory: 1 << 30}, {ID: 13}}}
	hidden := gpu.Card{Name: "NVIDIA T400", UUID: "GPU-b"}
	parent := gpu.Card{Name: "NVIDIA H100 80GB HBM3", UUID: "GPU-c", MIG: true}
	part := gpu.Device{Index: 0, Name: "NVIDIA H100 80GB HBM3 MIG 1g.10gb", UUID: "MIG-d",
		Capability: 90, TotalMemory: 19 << 29}
	none := errors.New("none")
	for _, c := range []struct {
		name          string
		n             nvidia
		driver, cards string
	}{
		{"all", nvidia{monitor: gpu.Monitor{Driver: "535.1", CUDA: "12.2", Cards: []gpu.Card{card, hidden}},
			devices: []gpu.Device{device}},
			"535.1, CUDA 12.2",
			"NVIDIA H100, cuda:0, compute capability 9.0 (fp32, tf32, bf16), " +
				"1.5 GiB of 80.0 GiB of memory in use, 41 °C, 68 W, " +
				"used by process 12 python3 (1.0 GiB), process 13\nNVIDIA T400, not shown to CUDA"},
		{"a part of a card",
			nvidia{monitor: gpu.Monitor{Driver: "580.1", CUDA: "13.0", Cards: []gpu.Card{parent}}, devices: []gpu.Device{part}},
			"580.1, CUDA 13.0",
			"NVIDIA H100 80GB HBM3, in MIG mode: CUDA is shown parts of it\n" +
				"NVIDIA H100 80GB HBM3 MIG 1g.10gb, cuda:0, compute capability 9.0 (fp32, tf32, bf16), 9.5 GiB of memory"},
		{"CUDA alone", nvidia{monitorErr: none, devices: []gpu.Device{device}},
			"there, of unknown version",
			"NVIDIA H100, cuda:0, compute capability 9.0 (fp32, tf32, bf16), 80.0 GiB of memory; its use is not known: none"},
		{"files alone",
			nvidia{monitorErr: none, devicesErr: none, host: gpu.Host{Driver: "535.1", Cards: []string{"NVIDIA H100"}}},
			"535.1", "NVIDIA H100"},
		{"bus alone", nvidia{monitorErr: none, devicesErr: none, host: gpu.Host{OnBus: 1}},
			"", "on the PCI bus, but not usable without a driver"},
		{"nothing", nvidia{monitorErr: none, devicesErr: none}, "", "none"},
	} {
		driver, cards := c.n.driverLine(), strings.Join(c.n.cardLines(), "\n")
		if driver != c.driver && (c.driver != "" || driver == "") || cards != c.cards {
			t.Errorf("%s:\n%s\n%s\nwant\n%s\n%s", c.name, driver, cards, c.driver, c.cards)
		}
	}
}
