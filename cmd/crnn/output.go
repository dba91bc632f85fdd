package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// output is the standard output. It keeps the first error of a write and writes nothing after it,
// so that a full disk does not pass for success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.err = fmt.Errorf("standard output: %w", err)
	}
	return n, o.err
}

// readerGone reports whether the reader of the output has stopped reading.
func (o *output) readerGone() bool { return errors.Is(o.err, syscall.EPIPE) }

// unwrapWriter returns the writer below w. It shows what kind of file standard output is.
func unwrapWriter(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.w
	}
	return w
}
