//go:build cuda

package gpu

// #include <cuda.h>
import "C"

import (
	"errors"
	"fmt"
	"reflect"

	"crnn/gpu/cudalink"
)

// failed returns the *Error of a call of the driver that returned err, or nil for nil. The type
// of gorgonia.org/cu's errors is not exported: it is the code, as an int.
func failed(call string, err error) error {
	for ; err != nil; err = errors.Unwrap(err) {
		switch v := reflect.ValueOf(err); {
		case v.CanInt():
			return newError(call, int(v.Int()))
		case v.CanUint():
			return newError(call, int(v.Uint()))
		case errors.Unwrap(err) == nil:
			return fmt.Errorf("%s: %w", call, err)
		}
	}
	return nil
}

func newError(call string, code int) *Error {
	if name := cudalink.Lacking(); code == notFound && name != "" {
		call = name
	}
	return &Error{Call: call, Code: code}
}

// isOutOfMemory says whether err is the driver's for a GPU whose memory is full.
func isOutOfMemory(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == outOfMemory
}

// driverWords returns what the driver calls a code, and what it says about it.
func driverWords(code int) (name, meaning string) {
	var cName, cMeaning *C.char
	if C.cuGetErrorName(C.CUresult(code), &cName) != 0 || C.cuGetErrorString(C.CUresult(code), &cMeaning) != 0 {
		return fmt.Sprintf("CUDA error %d", code), "the driver does not say what it is"
	}
	return C.GoString(cName), C.GoString(cMeaning)
}
