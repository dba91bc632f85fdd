//go:build cuda

package gpu

import (
	"fmt"
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"crnn/kernels"
)

// dim are the sizes of a grid, in blocks, or of a block, in threads.
type dim [3]int

// launch is a kernel to run, with all that its launch is made of: two that are equal do the same.
type launch struct {
	call        kernels.Call
	grid, block dim
}

// program is the code on the card and the graphs made of it.
type program struct {
	modules   map[string]cu.Module      // by source
	functions map[[2]string]cu.Function // by source and name

	recording bool
	list      []launch // called since Together began
	graphs    []*recorded
}

// recorded is a graph and the launches that it was made of.
type recorded struct {
	list  []launch
	graph *graph
}

// maxGraphs is the number of graphs kept: a training step, an evaluation, both of a smaller last
// batch, and as many again for a second network.
const maxGraphs = 8

func (p *program) init() {
	p.modules = map[string]cu.Module{}
	p.functions = map[[2]string]cu.Function{}
}

// close unloads the code.
func (p *program) close() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, r := range p.graphs {
		keep(r.graph.destroy())
	}
	for _, m := range p.modules {
		keep(failed("cuModuleUnload", m.Unload()))
	}
	p.graphs, p.modules = nil, nil
	return first
}

// ready loads the code of sources: what the driver cannot compile for the card is found
// when an operator is made, and not in the middle of a run.
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

// module returns the code of a source, which is loaded when it is first asked for.
func (be *Backend) module(source string) (cu.Module, error) {
	if m, ok := be.modules[source]; ok {
		return m, nil
	}
	text, _, ok := kernels.PTX(source, be.card.Capability)
	if !ok {
		return cu.Module{}, fmt.Errorf("%s (%s): the kernels of %s are not made for compute capability %s",
			be.Name(), be.card.Name, source, dotted(be.card.Capability))
	}
	m, err := cu.LoadData(text)
	if err != nil {
		return m, failed("cuModuleLoadData of "+source, err)
	}
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

// launch runs a kernel, or notes it for the graph in the making.
func (be *Backend) launch(call kernels.Call, grid, block dim) {
	if be.err != nil || be.plan {
		return
	}
	l := launch{call, grid, block}
	if be.recording {
		be.list = append(be.list, l)
		return
	}
	defer be.enter()()
	be.fail(be.flush())
	be.fail(be.submit(l))
}

// submit sends a launch to the stream. While a graph is captured, its code must be loaded already.
func (be *Backend) submit(l launch) error {
	if be.err != nil {
		return be.err
	}
	args := make([]unsafe.Pointer, l.call.Count)
	for i := range args {
		args[i] = unsafe.Pointer(&l.call.Args[i])
	}
	f, err := be.function(l.call.Source, l.call.Name)
	if err != nil {
		return err
	}
	err = f.Launch(l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2], 0, be.stream, args)
	return failed("cuLaunchKernel of "+l.call.Name, err)
}

// Together implements model.Backend. body is run each time, but its launches are only noted,
// which costs some microseconds; if they are those of a graph, that is replayed, so a graph never
// runs that does something else than body would.
func (be *Backend) Together(body func()) {
	be.record(body)
	if be.err != nil || be.plan {
		return
	}
	defer be.enter()()
	be.fail(be.flush())
	g, err := be.graphOf(be.list)
	if err != nil {
		be.fail(err)
		return
	}
	be.fail(g.launch(be.stream))
}

// record notes the launches of body.
func (be *Backend) record(body func()) {
	be.list, be.recording = be.list[:0], true
	body()
	be.recording = false
}

// graphOf returns the graph of the given launches, and makes it if there is none.
func (be *Backend) graphOf(list []launch) (*graph, error) {
	for i, r := range be.graphs {
		if slices.Equal(r.list, list) {
			// The one used last comes first.
			copy(be.graphs[1:i+1], be.graphs[:i])
			be.graphs[0] = r
			return r.graph, nil
		}
	}
	for _, l := range list { // what cannot be done while a graph is captured
		if _, err := be.function(l.call.Source, l.call.Name); err != nil {
			return nil, err
		}
	}
	g, err := capture(be.stream, func() error {
		for _, l := range list {
			if err := be.submit(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(be.graphs) == maxGraphs {
		if err := be.sync(); err != nil { // it may be running
			return nil, err
		}
		if err := be.graphs[maxGraphs-1].graph.destroy(); err != nil {
			return nil, err
		}
		be.graphs = be.graphs[:maxGraphs-1]
	}
	be.graphs = slices.Insert(be.graphs, 0, &recorded{slices.Clone(list), g})
	return g, nil
}
