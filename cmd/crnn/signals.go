package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"crnn/report"
)

// signalContext is a context that a signal cancels once somebody has looked at it, as training and
// downloading often do. Before that nobody would notice, and nothing needs an orderly end. So a
// signal ends the program at once, even if it is waiting for a file that never comes.
type signalContext struct {
	context.Context
	watched atomic.Bool
}

func (c *signalContext) Done() <-chan struct{} {
	c.watched.Store(true)
	return c.Context.Done()
}

func (c *signalContext) Err() error {
	c.watched.Store(true)
	return c.Context.Err()
}

// sameRequest is the time within which a second signal counts as the first one repeated.
const sameRequest = time.Second

// notifyContext returns the program's context and starts to handle its signals.
func notifyContext() context.Context {
	inner, cancel := context.WithCancel(context.Background())
	ctx := &signalContext{Context: inner}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		if report.IsTerminal(os.Stderr) {
			// The terminal has written ^C. Return to the start of the line, where the progress bar
			// expects the cursor.
			fmt.Fprint(os.Stderr, "\r")
		}
		if ctx.watched.Load() {
			cancel()
			// A second request means: do not wait for the current step. But a signal right after
			// the first is the same request: timeout signals the program and then its whole group.
			for asked := time.Now(); time.Since(asked) < sameRequest; {
				<-signals
			}
		}
		fmt.Fprintln(os.Stderr, errorLine(context.Canceled))
		os.Exit(exitInterrupted)
	}()
	return ctx
}
