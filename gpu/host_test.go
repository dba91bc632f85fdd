package gpu

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestReadHost(t *testing.T) {
	const version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n" +
		"GCC version: 12\n"
	const open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Host
	}{
		{"nothing", nil, Host{}},
		{"driver and cards", map[string]string{
			"proc/driver/nvidia/version":                       version,
			"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n",
			"dev/nvidia0": "",
		}, Host{Driver: "535.104.05", Cards: []string{"NVIDIA H100 80GB HBM3"}}},
		{"open driver, device file alone", map[string]string{
			"proc/driver/nvidia/version": open, "dev/nvidia0": "", "dev/nvidiactl": "",
		}, Host{Driver: "570.86.15", Cards: []string{"/dev/nvidia0"}}},
		{"card without driver", map[string]string{
			"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
			"sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n", "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
			"sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n", "sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
		}, Host{OnBus: 1}},
		{"unknown form", map[string]string{"proc/driver/nvidia/version": "?"}, Host{Driver: "of unknown version"}},
		{"Docker", map[string]string{".dockerenv": ""}, Host{Container: true}},
		{"Podman", map[string]string{"run/.containerenv": ""}, Host{Container: true}},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if diff := cmp.Diff(c.want, ReadHost(root)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReasons(t *testing.T) {
	const notFound = "libcuda.so.1: cannot open shared object file: No such file or directory" // of glibc
	for _, c := range []struct {
		name  string
		got   *Unavailable
		want  string // What, a colon, and a part of Remedy
		usual bool
	}{
		{"no driver", Host{}.noLibrary(notFound),
			"no NVIDIA driver (libcuda.so.1 was not found): install NVIDIA's driver", true},
		{"no driver, musl", Host{}.noLibrary("Error loading shared library libcuda.so.1: No such file or directory"),
			"no NVIDIA driver (libcuda.so.1 was not found): install NVIDIA's driver", true},
		{"no driver for a card", Host{OnBus: 1}.noLibrary(notFound),
			"no NVIDIA driver (libcuda.so.1 was not found): install NVIDIA's driver", false},
		{"half a driver", Host{Driver: "535.1"}.noLibrary(notFound),
			"NVIDIA's driver 535.1 is loaded, but its libcuda.so.1 was not found: install the CUDA library", false},
		{"container", Host{Container: true}.noLibrary(notFound),
			"no NVIDIA driver (libcuda.so.1 was not found): " +
				"give the container the GPUs of its host with `docker run --gpus all`", false},
		{"empty file in an image", Host{Container: true}.noLibrary("/usr/lib/libcuda.so.1: file too short"),
			"the driver's libcuda.so.1 cannot be loaded (/usr/lib/libcuda.so.1: file too short): " +
				"give the container the GPUs", false},
		{"a library that it needs",
			Host{}.noLibrary("libnvidia-x.so.1: cannot open shared object file: No such file or directory"),
			"the driver's libcuda.so.1 cannot be loaded (libnvidia-x.so.1: " +
				"cannot open shared object file: No such file or directory): install NVIDIA's driver anew", false},
		{"no card", Host{Driver: "535.1"}.noDevice("", false),
			"NVIDIA's driver 535.1 finds no GPU: see with nvidia-smi", false},
		{"no card in the container", Host{Container: true}.noDevice("", false),
			"NVIDIA's driver finds no GPU: give the container the GPUs", false},
		{"hidden part", Host{}.noDevice("MIG-7", true),
			`NVIDIA's driver finds no GPU among those of CUDA_VISIBLE_DEVICES="MIG-7": ` +
				`unset it, or give whole UUIDs (GPU-…, MIG-…)`, false},
		{"hidden", Host{}.noDevice("7", true),
			`NVIDIA's driver finds no GPU among those of CUDA_VISIBLE_DEVICES="7": unset it`, false},
		{"old driver", Host{Driver: "470.57.02"}.tooOld(11040),
			"NVIDIA's driver 470.57.02 is too old: it has CUDA 11.4, and 12.0 is needed: " +
				"update it to 525.60.13 or newer", false},
		{"old driver of the host", Host{Container: true}.tooOld(11080),
			"NVIDIA's driver is too old: it has CUDA 11.8, and 12.0 is needed: " +
				"update it to 525.60.13 or newer, on the host", false},
	} {
		if got := c.got.Error(); !strings.HasPrefix(got, c.want) || c.got.Usual != c.usual {
			t.Errorf("%s: %q, usual %t, want %q, %t", c.name, got, c.got.Usual, c.want, c.usual)
		}
	}
}
