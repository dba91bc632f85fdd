//go:build cuda

// Package cudalink stands in for NVIDIA's libcuda.so.1 when crnn is linked, so that one program
// starts on every machine: it defines each function of the driver that the program refers to
// (symbols.h), and loads the library when it is first asked for. Until then, and where there is
// none, the functions return CUDA_ERROR_NOT_INITIALIZED; a function that the library lacks
// returns CUDA_ERROR_NOT_FOUND.
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

// Driver is what came of loading the driver's library.
type Driver struct {
	Path  string // of the library, empty if it could not be loaded
	Error string // of the loader, if it could not be loaded
	Init  int    // what cuInit returned: 0 for success
}

// Status loads the library and initialises CUDA, the first time, and returns what came of it.
// No function of the driver may be called before.
var Status = sync.OnceValue(func() Driver {
	var path, message [4096]C.char
	code := C.cudalink_load(&path[0], &message[0], C.size_t(len(path)))
	if code < 0 {
		return Driver{Error: C.GoString(&message[0])}
	}
	return Driver{Path: C.GoString(&path[0]), Init: int(code)}
})

// Lacking returns the name of the function that was called last of those that the library
// lacks, empty if none was.
func Lacking() string {
	if name := C.cudalink_lacking(); name != nil {
		return C.GoString(name)
	}
	return ""
}
