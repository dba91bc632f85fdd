package main

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestFindNVIDIA(t *testing.T) {
	const version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12\n"
	const open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  nvidia
	}{
		{"nothing", nil, nvidia{}},
		{"driver and cards", map[string]string{
			"proc/driver/nvidia/version":                       version,
			"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n",
			"dev/nvidia0": "",
		}, nvidia{driver: "535.104.05", cards: []string{"NVIDIA H100 80GB HBM3"}}},
		{"open driver, device file alone", map[string]string{
			"proc/driver/nvidia/version": open, "dev/nvidia0": "", "dev/nvidiactl": "",
		}, nvidia{driver: "570.86.15", cards: []string{"/dev/nvidia0"}}},
		{"card without driver", map[string]string{
			"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
			"sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
			"sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n", "sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
		}, nvidia{onBus: 1}},
		{"unknown form", map[string]string{"proc/driver/nvidia/version": "?"}, nvidia{driver: "of unknown version"}},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		got := findNVIDIA(root)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(nvidia{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got.driverLine() == "" || got.cardsLine() == "" {
			t.Errorf("%s: nothing said", c.name)
		}
	}
}
