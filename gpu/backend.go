//go:build cuda

// Package gpu runs the network on an NVIDIA GPU: the kernels of package kernels, launched
// through gorgonia.org/cu.
//
// Everything runs on one stream, in the order of the calls. The calls inside Together are captured
// as a CUDA graph the first time and replayed from then on.
package gpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	_ "crnn/gpu/cudalink" // the driver's symbols, found at run time; before cu, whose init calls one

	"gorgonia.org/cu"

	"crnn/model"
)

// card holds the properties of a GPU that decide how kernels are launched.
type card struct {
	Device
	multiprocessors int
	clusters        bool // it has clusters of thread blocks
}

// Backend is a GPU as a model.Backend.
type Backend struct {
	precision string
	card      card

	device  cu.Device
	context cu.CUContext
	stream  cu.Stream

	// err is the first error of a call that returns none.
	err error

	pool
	program
	stepBlock
	laps laps

	closers []func() error // of what was made on the way
}

var _ model.Planner = (*Backend)(nil)

// Open returns the GPU with the given options, ready to compute. The error says in one line
// why it cannot be used.
func Open(o Options) (*Backend, error) {
	device, err := Probe(o.Device)
	if err != nil {
		return nil, err
	}
	be := &Backend{precision: o.Precision}
	if be.precision == "" {
		be.precision = "fp32"
	}
	if !slices.Contains(device.Precisions(), be.precision) {
		return nil, &PrecisionError{
			Precision: be.precision, Device: fmt.Sprintf("cuda:%d", device.Index),
			Name: device.Name, Capability: device.Capability,
		}
	}
	if be.device, err = cu.GetDevice(o.Device); err != nil {
		return nil, failed("cuDeviceGet", err)
	}
	if be.card, err = readCard(device, be.device); err != nil {
		return nil, err
	}
	if be.context, err = be.device.RetainPrimaryCtx(); err != nil {
		return nil, failed("cuDevicePrimaryCtxRetain", err)
	}
	be.fail(be.start())
	if be.err != nil {
		be.Close()
		return nil, be.err
	}
	return be, nil
}

// start makes the stream and the step block, and loads the kernels that every use needs.
func (be *Backend) start() error {
	defer be.enter()()
	if be.err != nil {
		return be.err
	}
	var err error
	if be.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return failed("cuStreamCreate", err)
	}
	be.code.init()
	if err := be.stepBlock.init(be); err != nil {
		return err
	}
	// A driver that cannot compile kernels fails here, while the caller can still take another device.
	return be.ready("batch")
}

// readCard asks the driver for the properties of a card.
func readCard(device Device, d cu.Device) (c card, err error) {
	c.Device = device
	const clusterLaunch = 120 // in cuda.h; gorgonia.org/cu has no name for it
	attribute := func(a cu.DeviceAttribute) (value int) {
		if err == nil {
			value, err = d.Attribute(a)
			err = failed("cuDeviceGetAttribute", err)
		}
		return value
	}
	c.multiprocessors = attribute(cu.MultiprocessorCount)
	c.clusters = device.Capability >= 90 && attribute(clusterLaunch) == 1
	return c, err
}

// enter makes the GPU's context current in the calling thread, until leave is called: CUDA has one
// context per thread, and Go moves goroutines between threads.
func (be *Backend) enter() (leave func()) {
	if be.planning() {
		return func() {}
	}
	runtime.LockOSThread()
	be.fail(failed("cuCtxSetCurrent", cu.SetCurrentContext(be.context)))
	return runtime.UnlockOSThread
}

// fail keeps the first error, for the next call that returns one.
func (be *Backend) fail(err error) {
	if be.err == nil && err != nil {
		be.err = err
	}
}

// begin reports whether an operator can run, given the results of its checks. Otherwise the next
// call that returns an error says why not.
func (be *Backend) begin(operator string, checks ...error) bool {
	for _, err := range checks {
		if err != nil {
			be.fail(fmt.Errorf("%s %w", operator, err))
		}
	}
	return be.err == nil
}

// Name returns "cuda:N".
func (be *Backend) Name() string { return fmt.Sprintf("cuda:%d", be.card.Index) }

// Description returns the name of the card.
func (be *Backend) Description() string { return be.card.Name }

// Sync implements model.Backend.
func (be *Backend) Sync() error {
	defer be.enter()()
	return be.sync()
}

// sync waits for the stream.
func (be *Backend) sync() error {
	if be.err == nil && !be.planning() {
		be.fail(failed("cuStreamSynchronize", be.stream.Synchronize()))
	}
	return be.err
}

// Close implements model.Backend. Of several errors it returns the first.
func (be *Backend) Close() error {
	if be.planning() {
		return nil
	}
	defer be.enter()()
	first := be.sync()
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	// In a ruined context nothing can be freed, nor while a stream is in a capture that did not end. The
	// end of the context frees it.
	if !ruined(first) && !leftCapturing(first) {
		keep(be.laps.close())
		for _, end := range be.closers {
			keep(end())
		}
		keep(be.stepBlock.close())
		keep(be.program.close())
		keep(be.pool.close())
		if be.stream != (cu.Stream{}) {
			keep(failed("cuStreamDestroy", be.stream.Destroy()))
		}
	}
	keep(failed("cuDevicePrimaryCtxRelease", be.device.ReleasePrimaryCtx()))
	return first
}

// leftCapturing says whether err comes from a capture, in which the stream may still be.
func leftCapturing(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.Code >= 900 && e.Code <= 908
}

// ruined says whether err is an error of the driver that ruins the GPU's context.
func ruined(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.RuinsContext()
}
