package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1 // it failed while running
	exitUsage       = 2 // the command line or the config is wrong
	exitInterrupted = 130
)

// usageError is a mistake on the command line, in the environment or in a config file.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (e usageError) Unwrap() error { return e.error }

func isInterrupted(err error) bool { return errors.Is(err, context.Canceled) }

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case isInterrupted(err):
		return exitInterrupted
	case isUsage(err):
		return exitUsage
	}
	return exitFailed
}

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// errorLine returns the one line that is printed for an error.
func errorLine(err error) string {
	text := err.Error()
	if errors.Is(err, context.Canceled) && text == context.Canceled.Error() {
		text = "interrupted"
	}
	return "crnn: " + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
