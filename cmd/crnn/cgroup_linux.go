package main

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroupMemory returns the least memory limit of this process's control groups and their parents,
// in bytes. Without a limit it returns math.MaxInt64. root is the machine's file system.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	// Each line is number:controllers:path. Version 2 has number 0 and no controllers.
	for _, line := range strings.Split(strings.TrimSpace(string(groups)), "\n") {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if fields[1] != "" {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
			if !slices.Contains(strings.Split(fields[1], ","), "memory") {
				continue
			}
		}
		// In a container the path may be the host's path, with only the root mounted.
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			if text, err := fs.ReadFile(root, path.Join(mount, group, file)); err == nil {
				// Without a limit the file holds the word max, or in version 1 a number larger than
				// any memory.
				if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
					limit = min(limit, n)
				}
			}
			if group == "/" {
				break
			}
		}
	}
	return limit
}
