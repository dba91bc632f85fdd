package data

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unsafe"
)

// The kernel shows what it was asked for as "hg" (Documentation/filesystems/proc.rst).
func TestKernelIsAskedForHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no huge pages that come by themselves:", err)
	}
	a := newArray(4 * hugePage)
	middle := uintptr(unsafe.Pointer(&a[len(a)/2]))
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	area := regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) `)
	inside := false
	for line := range strings.Lines(string(smaps)) {
		if m := area.FindStringSubmatch(line); m != nil {
			var from, to uintptr
			fmt.Sscanf(m[1]+" "+m[2], "%x %x", &from, &to)
			inside = from <= middle && middle < to
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			if !strings.Contains(flags+" ", " hg ") {
				t.Errorf("flags of the memory:%s, want hg among them", flags)
			}
			return
		}
	}
	t.Error("/proc/self/smaps does not have the memory")
}
