package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// adviseHugePages asks for huge pages that lie entirely in b. If the kernel declines, the pages
// stay as usual, which does no harm.
func adviseHugePages(b []byte) {
	first := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugePage)
	if n := (len(b) - first) / hugePage * hugePage; n > 0 {
		_ = unix.Madvise(b[first:first+n], unix.MADV_HUGEPAGE)
	}
}
