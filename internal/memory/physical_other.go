//go:build !linux

package memory

// Physical returns 0: not known.
func Physical() int64 { return 0 }
