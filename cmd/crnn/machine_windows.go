package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32             = windows.NewLazySystemDLL("kernel32.dll")
	getProcessMemoryInfo = kernel32.NewProc("K32GetProcessMemoryInfo")
	globalMemoryStatusEx = kernel32.NewProc("GlobalMemoryStatusEx")
)

// processMemoryCounters is PROCESS_MEMORY_COUNTERS.
type processMemoryCounters struct {
	size, pageFaults             uint32
	peakWorkingSet, workingSet   uintptr
	quotaPeakPaged, quotaPaged   uintptr
	quotaPeakNonPaged, quotaNonP uintptr
	pagefile, peakPagefile       uintptr
}

// memoryStatusEx is MEMORYSTATUSEX.
type memoryStatusEx struct {
	size, load                         uint32
	totalPhys, availPhys               uint64
	totalPage, availPage               uint64
	totalVirtual, availVirtual, availE uint64
}

// peakMemory returns the peak physical memory of this process, in bytes.
func peakMemory() int64 {
	var counters processMemoryCounters
	counters.size = uint32(unsafe.Sizeof(counters))
	ok, _, _ := getProcessMemoryInfo.Call(uintptr(windows.CurrentProcess()),
		uintptr(unsafe.Pointer(&counters)), uintptr(counters.size))
	if ok == 0 {
		return 0
	}
	return int64(counters.peakWorkingSet)
}

// totalMemory returns the physical memory of the machine, in bytes.
func totalMemory() int64 {
	var status memoryStatusEx
	status.size = uint32(unsafe.Sizeof(status))
	ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&status)))
	if ok == 0 {
		return 0
	}
	return int64(status.totalPhys)
}

// processorName returns the system's name of the processor, empty if it has none.
func processorName() string { return os.Getenv("PROCESSOR_IDENTIFIER") }
