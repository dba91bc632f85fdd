package memory

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel shows the request for huge pages as "hg" (Documentation/filesystems/proc.rst).
func TestKernelIsAskedForHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no transparent huge pages:", err)
	}
	probe, err := unix.Mmap(-1, 0, 2*hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(probe)
	if err := unix.Madvise(probe, unix.MADV_HUGEPAGE); err != nil || !askedForHugePages(t, &probe[hugePage]) {
		t.Skip("advice does not reach the kernel, as under qemu-user:", err)
	}
	a := Zeros(4 * hugePage)
	if !askedForHugePages(t, &a[len(a)/2]) {
		t.Error("the kernel was not asked for huge pages")
	}
}

// askedForHugePages reports whether the memory at p has the flag hg.
func askedForHugePages(t *testing.T, p *byte) bool {
	t.Helper()
	at := uintptr(unsafe.Pointer(p))
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
			inside = from <= at && at < to
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Contains(flags+" ", " hg ")
		}
	}
	t.Fatal("/proc/self/smaps does not list the memory")
	return false
}
