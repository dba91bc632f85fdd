//go:build !linux && !darwin && !windows

package main

// Values that are unknown on this system are zero.

func peakMemory() int64     { return 0 }
func totalMemory() int64    { return 0 }
func processorName() string { return "" }
