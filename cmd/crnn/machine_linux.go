package main

import (
	"bufio"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// peakMemory returns the peak physical memory of this process, in bytes.
func peakMemory() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Maxrss * 1024
}

// totalMemory returns the physical memory of the machine, in bytes, or the part that this process's
// control groups (such as a container's) allow.
func totalMemory() int64 {
	limit := cgroupMemory(os.DirFS("/"))
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		limit = min(limit, int64(info.Totalram)*int64(info.Unit))
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// processorName returns the system's name of the processor, empty if it has none.
func processorName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
