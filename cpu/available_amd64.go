//go:build cgo

package cpu

/*
#include "kernels.h"

#ifdef __linux__
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
// Asks the system to let this process use the registers of tiles, and returns 0 or the error.
static int ask_for_tiles(void) {
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) ? errno : 0;
}
#else
static int ask_for_tiles(void) { return -1; }
#endif
*/
import "C"

import (
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/cpu"
)

// available returns the kernels that this processor runs, the fastest in fp32 first.
func available() []kernels {
	var list []kernels
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasFMA {
		list = append(list, cKernels{table: &C.crnn_kernels_avx512, bf16: x.HasAVX512BF16})
		if hasAMX() && TilesRefused() == nil {
			list = append(list, cKernels{table: &C.crnn_kernels_avx512, bf16: true, tiles: true, title: "amx"})
		}
	}
	if x.HasAVX2 && x.HasFMA {
		list = append(list, cKernels{table: &C.crnn_kernels_avx2})
	}
	return append(list, cKernels{table: &C.crnn_kernels_generic}, goKernels{})
}

func hasAMX() bool {
	return cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && cpu.X86.HasAVX512BF16
}

// askForTiles asks the system for the registers of AMX. One call serves the whole process.
var askForTiles = sync.OnceValue(func() error {
	switch code := C.ask_for_tiles(); {
	case code < 0:
		return fmt.Errorf("crnn uses it under Linux only")
	case code > 0:
		return fmt.Errorf("the system refuses its registers (arch_prctl: %w)", syscall.Errno(code))
	}
	return nil
})

// TilesRefused returns why the processor's AMX is not used, or nil if it is used or the processor has none.
func TilesRefused() error {
	if !hasAMX() {
		return nil
	}
	return askForTiles()
}
