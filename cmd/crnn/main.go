// Command crnn trains and runs an image classifier: two convolution blocks, a tanh RNN over
// their output, and a linear layer. `crnn help` lists its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"crnn/model"
)

func init() { model.Version = version }

func main() {
	// A reader may go away, as in `crnn summary | head -1`. Then the next write returns an error
	// (see output) instead of a signal that ends a training run at once.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	os.Exit(run(notifyContext(), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code. Errors are one line on stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	out := &output{w: stdout}
	defer func() {
		if bug := recover(); bug != nil {
			fmt.Fprintln(stderr, errorLine(fmt.Errorf(
				"internal error: %v (a bug; CRNN_DEBUG=1 in the environment shows where)", bug)))
			if os.Getenv("CRNN_DEBUG") != "" {
				stderr.Write(debug.Stack())
			}
			code = exitFailed
		}
	}()
	app := newApp(out, stderr)
	args, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	if out.err != nil && (err == nil || errors.Is(err, out.err)) {
		if out.readerGone() {
			return exitDone
		}
		err = out.err
	}
	if err != nil {
		fmt.Fprintln(stderr, errorLine(err))
	}
	return exitCode(err)
}
