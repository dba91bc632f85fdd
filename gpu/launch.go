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
	shared      int // dynamic shared memory, bytes
}

// program is the code on the card and the graphs made of it.
type program struct {
	modules   map[string]cu.Module      // by source
	functions map[[2]string]cu.Function // by source and name
	shared    map[[2]string]int         // dynamic shared memory that a function may use, if more than 48 KiB

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
	p.shared = map[[2]string]int{}
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

// function returns a kernel's code, which is loaded when it is first asked for.
func (be *Backend) function(source, name string) (cu.Function, error) {
	key := [2]string{source, name}
	if f, ok := be.functions[key]; ok {
		return f, nil
	}
	m, ok := be.modules[source]
	if !ok {
		text, _, ok := kernels.PTX(source, be.card.Capability)
		if !ok {
			return cu.Function{}, fmt.Errorf("%s (%s): the kernels of %s are not made for compute capability %s",
				be.Name(), be.card.Name, source, dotted(be.card.Capability))
		}
		var err error
		if m, err = cu.LoadData(text); err != nil {
			return cu.Function{}, failed("cuModuleLoadData of "+source, err)
		}
		be.modules[source] = m
	}
	f, err := m.Function(name)
	if err != nil {
		return f, failed("cuModuleGetFunction of "+name, err)
	}
	be.functions[key] = f
	return f, nil
}

// launch runs a kernel, or notes it for the graph in the making.
func (be *Backend) launch(call kernels.Call, grid, block dim, shared int) {
	if be.err != nil || be.plan {
		return
	}
	l := launch{call, grid, block, shared}
	if be.recording {
		be.list = append(be.list, l)
		return
	}
	defer be.enter()()
	be.fail(be.flush())
	be.fail(be.prepare(l))
	be.fail(be.submit(l))
}

// prepare does for a launch what cannot be done while a graph is captured.
func (be *Backend) prepare(l launch) error {
	f, err := be.function(l.call.Source, l.call.Name)
	if err != nil {
		return err
	}
	const always = 48 << 10
	key := [2]string{l.call.Source, l.call.Name}
	if l.shared <= max(always, be.shared[key]) {
		return nil
	}
	be.shared[key] = l.shared
	return allowShared(f, l.shared)
}

// submit sends a launch that was prepared to the stream.
func (be *Backend) submit(l launch) error {
	if be.err != nil {
		return be.err
	}
	args := make([]unsafe.Pointer, l.call.Count)
	for i := range args {
		args[i] = unsafe.Pointer(&l.call.Args[i])
	}
	f := be.functions[[2]string{l.call.Source, l.call.Name}]
	err := f.Launch(l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2], l.shared, be.stream, args)
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
	for _, l := range list {
		if err := be.prepare(l); err != nil {
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
		if err := be.graphs[maxGraphs-1].graph.destroy(); err != nil {
			return nil, err
		}
		be.graphs = be.graphs[:maxGraphs-1]
	}
	be.graphs = slices.Insert(be.graphs, 0, &recorded{slices.Clone(list), g})
	return g, nil
}
