package main

import (
	"io/fs"
	"path"
	"regexp"
	"runtime"
	"strings"
)

// nvidia is what a machine shows of NVIDIA's driver and cards.
type nvidia struct {
	driver string   // version, empty for no driver
	cards  []string // names that the driver gives, or device files where it gives none
	onBus  int      // cards on the PCI bus, with a driver or without
}

var driverVersion = regexp.MustCompile(`^NVRM version:.*?\s(\d+\.[\d.]+)\s`)

// findNVIDIA looks for driver and cards without asking either. root is the file system of
// the machine, of which only Linux shows them.
func findNVIDIA(root fs.FS) (n nvidia) {
	if text, err := fs.ReadFile(root, "proc/driver/nvidia/version"); err == nil {
		n.driver = "of unknown version"
		if m := driverVersion.FindSubmatch(text); m != nil {
			n.driver = string(m[1])
		}
	}
	// A pattern is never malformed.
	files, _ := fs.Glob(root, "proc/driver/nvidia/gpus/*/information")
	for _, file := range files {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n") {
			if model, ok := strings.CutPrefix(line, "Model:"); ok {
				n.cards = append(n.cards, strings.TrimSpace(model))
			}
		}
	}
	if n.cards == nil {
		devices, _ := fs.Glob(root, "dev/nvidia[0-9]*")
		for _, device := range devices {
			n.cards = append(n.cards, "/"+device)
		}
	}
	devices, _ := fs.Glob(root, "sys/bus/pci/devices/*/vendor")
	for _, file := range devices {
		vendor, _ := fs.ReadFile(root, file)
		class, _ := fs.ReadFile(root, path.Join(path.Dir(file), "class"))
		// 0x03 is the class of displays, those without a plug included.
		if strings.TrimSpace(string(vendor)) == "0x10de" && strings.HasPrefix(string(class), "0x03") {
			n.onBus++
		}
	}
	return n
}

// notLooked says that the system is not one on which findNVIDIA finds anything.
const notLooked = "not looked for on this system; crnn needs none"

// driverLine tells about the driver.
func (n nvidia) driverLine() string {
	switch {
	case n.driver != "":
		return n.driver
	case runtime.GOOS != "linux":
		return notLooked
	case n.onBus > 0:
		return "none, though there is a card: NVIDIA's driver comes from the system's packages; this build of crnn does not need it"
	}
	return "none; crnn does not need it"
}

// cardsLine tells about the cards.
func (n nvidia) cardsLine() string {
	switch {
	case len(n.cards) > 0:
		return strings.Join(n.cards, ", ")
	case runtime.GOOS != "linux":
		return notLooked
	case n.onBus > 0:
		return "on the PCI bus, but not usable without a driver"
	case n.driver != "":
		return "none that the driver shows: in a container, start it with access to the GPUs (docker run --gpus all)"
	}
	return "none"
}
