//go:build cuda

package gpu

import (
	"slices"
	"unsafe"

	"crnn/kernels"
)

// grid is the size of a grid, in blocks.
type grid [3]int

// launch is a kernel call and its grid. Equal launches do the same.
type launch struct {
	call kernels.Call
	grid grid
}

// program is the code on the card and the graphs made of it.
type program struct {
	code

	recording bool
	list      []launch       // noted since Together began
	after     []func() error // to do once these launches are submitted
	graphs    []*recorded
}

// recorded is a graph and the launches in it.
type recorded struct {
	list  []launch
	graph *graph
}

// maxGraphs is the number of graphs kept: a training step, an evaluation, both of a smaller last
// batch, each with both slots of images in the host's memory, and as many again for a second network.
const maxGraphs = 16

// close destroys the graphs and unloads the code.
func (p *program) close() error {
	var first error
	for _, r := range p.graphs {
		if err := r.graph.destroy(); first == nil {
			first = err
		}
	}
	p.graphs = nil
	if err := p.code.close(); first == nil {
		first = err
	}
	return first
}

// launchEach runs a kernel with a thread for each of n elements.
func (be *Backend) launchEach(n int, call kernels.Call) {
	be.launch(call, grid{ceil(n, call.Threads), 1, 1})
}

// launchClusters runs a kernel with a number of clusters.
func (be *Backend) launchClusters(n int, call kernels.Call) {
	be.launch(call, grid{n * call.Cluster, 1, 1})
}

// launch runs a kernel or, inside Together, notes it.
func (be *Backend) launch(call kernels.Call, blocks grid) {
	if be.err != nil || be.plan {
		return
	}
	l := launch{call, blocks}
	if be.recording {
		be.list = append(be.list, l)
		return
	}
	defer be.enter()()
	be.fail(be.flush())
	be.fail(be.submit(l))
}

// afterwards calls do once the launches so far are submitted.
func (be *Backend) afterwards(do func() error) {
	if be.recording {
		be.after = append(be.after, do)
		return
	}
	be.fail(do())
}

// submit sends a launch to the stream. During a capture, the kernel's code must be loaded already.
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
	err = f.Launch(l.grid[0], l.grid[1], l.grid[2], l.call.Threads, 1, 1, 0, be.stream, args)
	return failed("cuLaunchKernel of "+l.call.Name, err)
}

// Together implements model.Backend. body runs each time, but its launches are only noted, which
// costs some microseconds. If a graph has the same launches, it is replayed. So a graph always does
// exactly what body does.
func (be *Backend) Together(body func()) {
	be.record(body)
	if be.err != nil || be.plan || len(be.list) == 0 {
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
	for _, do := range be.after {
		be.fail(do())
	}
}

// record notes the launches of body.
func (be *Backend) record(body func()) {
	be.list, be.after, be.recording = be.list[:0], be.after[:0], true
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
	for _, l := range list { // code cannot be loaded during a capture
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
		if err := be.sync(); err != nil { // the graph may be running
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
