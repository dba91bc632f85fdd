package gpu

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// Host is what a machine's files show of NVIDIA's driver and cards, without a call to either.
type Host struct {
	Driver    string   // version of the driver in the kernel, empty for none
	Cards     []string // names that the driver gives, or device files where it gives none
	OnBus     int      // cards on the PCI bus, with a driver or without
	Container bool     // the program runs in a container
}

var driverVersion = regexp.MustCompile(`^NVRM version:.*?\s(\d+\.[\d.]+)\s`)

// ReadHost reads the machine's files, which only Linux has. root is the machine's file system.
func ReadHost(root fs.FS) (h Host) {
	if text, err := fs.ReadFile(root, "proc/driver/nvidia/version"); err == nil {
		h.Driver = "of unknown version"
		if m := driverVersion.FindSubmatch(text); m != nil {
			h.Driver = string(m[1])
		}
	}
	// Glob fails for malformed patterns only.
	files, _ := fs.Glob(root, "proc/driver/nvidia/gpus/*/information")
	for _, file := range files {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n") {
			if model, ok := strings.CutPrefix(line, "Model:"); ok {
				h.Cards = append(h.Cards, strings.TrimSpace(model))
			}
		}
	}
	if h.Cards == nil {
		devices, _ := fs.Glob(root, "dev/nvidia[0-9]*")
		for _, device := range devices {
			h.Cards = append(h.Cards, "/"+device)
		}
	}
	devices, _ := fs.Glob(root, "sys/bus/pci/devices/*/vendor")
	for _, file := range devices {
		vendor, _ := fs.ReadFile(root, file)
		class, _ := fs.ReadFile(root, path.Join(path.Dir(file), "class"))
		// Class 0x03 is displays, including cards without a connector.
		if strings.TrimSpace(string(vendor)) == "0x10de" && strings.HasPrefix(string(class), "0x03") {
			h.OnBus++
		}
	}
	for _, mark := range []string{".dockerenv", "run/.containerenv"} { // of Docker, of Podman
		if _, err := fs.Stat(root, mark); err == nil {
			h.Container = true
		}
	}
	return h
}

// noLibrary says why libcuda.so.1 could not be loaded, given the loader's message.
func (h Host) noLibrary(message string) *Unavailable {
	u := &Unavailable{
		What:   "no NVIDIA driver (libcuda.so.1 was not found)",
		Remedy: "install NVIDIA's driver, " + minDriver + " or newer"}
	found := !strings.Contains(message, "libcuda.so.1") || !strings.HasSuffix(message, "No such file or directory")
	switch {
	case found:
		u.What = "the driver's libcuda.so.1 cannot be loaded (" + message + ")"
		u.Remedy = "install NVIDIA's driver anew"
	case h.Driver != "":
		u.What = "NVIDIA's driver " + h.Driver + " is loaded, but its libcuda.so.1 was not found"
		u.Remedy = "install the CUDA library of the same version (libcuda1 on Debian, libnvidia-compute on Ubuntu)"
	}
	if h.Container {
		u.Remedy = startWithGPUs
	}
	u.Usual = !found && h.Driver == "" && h.OnBus == 0 && !h.Container
	return u
}

const startWithGPUs = "give the container the GPUs of its host with `docker run --gpus all`"

// noDevice says why the driver shows no GPU. visible is the value of CUDA_VISIBLE_DEVICES, if set.
func (h Host) noDevice(visible string, set bool) *Unavailable {
	u := &Unavailable{What: h.driver() + " finds no GPU", Remedy: checkCard}
	switch {
	case set:
		u.What += fmt.Sprintf(" among those of CUDA_VISIBLE_DEVICES=%q", visible)
		u.Remedy = "unset it, or give numbers that `nvidia-smi -L` lists"
		if strings.Contains(visible, "-") {
			u.Remedy = "unset it, or give whole UUIDs (GPU-…, MIG-…) that `nvidia-smi -L` lists"
		}
	case h.Container:
		u.Remedy = startWithGPUs
	}
	return u
}

// tooOld says why a driver with the given version of CUDA is not enough.
func (h Host) tooOld(version int) *Unavailable {
	remedy := "update it to " + minDriver + " or newer"
	if h.Container {
		remedy += ", on the host"
	}
	return &Unavailable{
		What: fmt.Sprintf("%s is too old: it has CUDA %s, and %s is needed",
			h.driver(), cudaVersion(version), cudaVersion(minCUDA)),
		Remedy: remedy}
}

func (h Host) driver() string { return strings.TrimSpace("NVIDIA's driver " + h.Driver) }
