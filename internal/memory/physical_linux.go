package memory

import "golang.org/x/sys/unix"

// Physical returns the physical memory of the machine, in bytes; 0: not known.
func Physical() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
