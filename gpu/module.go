//go:build cuda

package gpu

import (
	"fmt"
	"time"

	"gorgonia.org/cu"

	"crnn/kernels"
)

// code holds the kernels that the driver has compiled for the card.
type code struct {
	// sources returns the PTX of a source: it is kernels.PTX, except in tests that replace it.
	sources   func(source string, capability int) (text string, architecture int, ok bool)
	modules   map[string]*module        // by source
	functions map[[2]string]cu.Function // by source and name
}

// module is the code of a source.
type module struct {
	cu.Module
	loading time.Duration // time of compiling, unless the driver's cache had the code
}

func (c *code) init() {
	c.sources = kernels.PTX
	c.modules = map[string]*module{}
	c.functions = map[[2]string]cu.Function{}
}

// close unloads the code.
func (c *code) close() error {
	var first error
	for _, m := range c.modules {
		if err := failed("cuModuleUnload", m.Unload()); first == nil {
			first = err
		}
	}
	c.modules, c.functions = nil, nil
	return first
}

// ready loads the code that every use of an operator needs. So a driver that cannot compile it fails
// when the operator is made. Code for training only is loaded by the first training step.
func (be *Backend) ready(sources ...string) error {
	if be.planning() {
		return nil
	}
	defer be.enter()()
	for _, source := range sources {
		if _, err := be.module(source); err != nil {
			return err
		}
	}
	return be.err
}

// module returns the code of a source, and loads it the first time.
func (be *Backend) module(source string) (*module, error) {
	if m, ok := be.modules[source]; ok {
		return m, nil
	}
	text, _, ok := be.sources(source, be.card.Capability)
	if !ok {
		return nil, fmt.Errorf("%s (%s): the kernels of %s are not made for compute capability %s",
			be.Name(), be.card.Name, source, dotted(be.card.Capability))
	}
	start := time.Now()
	loaded, err := loadModule(source, text)
	if err != nil {
		return nil, err
	}
	m := &module{loaded, time.Since(start)}
	be.modules[source] = m
	return m, nil
}

// function returns a kernel's code.
func (be *Backend) function(source, name string) (cu.Function, error) {
	key := [2]string{source, name}
	if f, ok := be.functions[key]; ok {
		return f, nil
	}
	m, err := be.module(source)
	if err != nil {
		return cu.Function{}, err
	}
	f, err := m.Function(name)
	if err != nil {
		return f, failed("cuModuleGetFunction of "+name, err)
	}
	be.functions[key] = f
	return f, nil
}
