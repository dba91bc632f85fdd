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

// failed returns the *Error of a driver call that returned err, or nil for nil. The error type of
// gorgonia.org/cu is not exported; its values are the codes, as ints.
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

// isOutOfMemory says whether err is the driver's error for full GPU memory.
func isOutOfMemory(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == outOfMemory
}

// driverWords returns the driver's name of a code, and its explanation.
func driverWords(code int) (name, meaning string) {
	var cName, cMeaning *C.char
	if C.cuGetErrorName(C.CUresult(code), &cName) != 0 || C.cuGetErrorString(C.CUresult(code), &cMeaning) != 0 {
		return fmt.Sprintf("CUDA error %d", code), "the driver does not say what it is"
	}
	return C.GoString(cName), C.GoString(cMeaning)
}
