package main

import (
	"bufio"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// peakMemory returns the most physical memory that this process has had, in bytes.
func peakMemory() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Maxrss * 1024
}

// totalMemory returns the physical memory of the machine, or the part of it that the
// control groups of this process (a container's, say) allow, in bytes.
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

// processorName returns what the system calls the processor, empty if it has no name for it.
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
