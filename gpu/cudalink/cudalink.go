//go:build cuda

// Package cudalink stands in for NVIDIA's libcuda.so.1 when crnn is linked, so that one program
// starts on every machine. It defines each driver function that the program refers to (symbols.h).
// Status loads the library. Before that, and on a machine without the library, the functions return
// CUDA_ERROR_NOT_INITIALIZED. A function that the library lacks returns CUDA_ERROR_NOT_FOUND.
//
// Import it before gorgonia.org/cu: the empty libcuda.a here satisfies that package's -lcuda,
// and --as-needed drops a real one that the linker finds first.
package cudalink

/*
#cgo LDFLAGS: -L${SRCDIR} -Wl,--as-needed -ldl
#include "load.h"
*/
import "C"

import "sync"

// Driver is the result of loading the driver's library.
type Driver struct {
	Path  string // of the library, empty if it could not be loaded
	Error string // of the loader, if it could not be loaded
	Init  int    // what cuInit returned: 0 for success
}

// Status loads the library and initialises CUDA the first time, and returns the result. Call it
// before any function of the driver.
var Status = sync.OnceValue(func() Driver {
	var path, message [4096]C.char
	code := C.cudalink_load(&path[0], &message[0], C.size_t(len(path)))
	if code < 0 {
		return Driver{Error: C.GoString(&message[0])}
	}
	return Driver{Path: C.GoString(&path[0]), Init: int(code)}
})

// Lacking returns the missing function of the library that was called last, or an empty string.
func Lacking() string {
	if name := C.cudalink_lacking(); name != nil {
		return C.GoString(name)
	}
	return ""
}
