//go:build cuda

package gpu

// What gorgonia.org/cu v0.9.6 lacks: the error of cuDriverGetVersion, the UUID of a MIG device, the
// log of the driver's compiler, stream capture, graphs, page-locked memory, resident clusters.

/*
#include <stdlib.h>
#include <cuda.h>

// load compiles a text of PTX, and writes the compiler's error messages into log.
static CUresult load(CUmodule *module, const char *text, char *log, size_t size) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)size};
	return cuModuleLoadDataEx(module, text, 2, options, values);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"crnn/kernels"
)

// driverError is the driver's error code from a call in this file.
type driverError C.CUresult

func (e driverError) Error() string {
	var name *C.char
	if C.cuGetErrorName(C.CUresult(e), &name) != C.CUDA_SUCCESS {
		return "unknown CUDA error"
	}
	return C.GoString(name)
}

func result(code C.CUresult) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	return driverError(code)
}

func cStream(s cu.Stream) C.CUstream { return C.CUstream(unsafe.Pointer(s.C())) }

// cFunction reaches the handle in cu.Function, which has no other field and no accessor.
func cFunction(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }

// supportedVersion returns the version of CUDA that the driver has, 12040 for 12.4.
func supportedVersion() (int, error) {
	var version C.int
	err := result(C.cuDriverGetVersion(&version))
	return int(version), err
}

// uuid returns the UUID of a device as nvidia-smi writes it, without its prefix. For a part of a GPU
// it is the MIG device's; cu.Device.UUID would return the whole GPU's.
func uuid(d cu.Device) (string, error) {
	var id [16]byte
	err := result(C.cuDeviceGetUuid_v2((*C.CUuuid)(unsafe.Pointer(&id)), C.CUdevice(d)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), failed("cuDeviceGetUuid", err)
}

// loadModule lets the driver compile the PTX of a source. An error contains the compiler's log.
func loadModule(source, text string) (m cu.Module, err error) {
	const room = 8192 // bytes of the log: the first lines name the cause
	log := (*C.char)(C.calloc(1, room))
	defer C.free(unsafe.Pointer(log))
	ptx := C.CString(text)
	defer C.free(unsafe.Pointer(ptx))
	// cu.Module has no field but the handle, and no accessor.
	err = failed("cuModuleLoadDataEx of "+source, result(C.load((*C.CUmodule)(unsafe.Pointer(&m)), ptx, log, room)))
	if e := (*Error)(nil); errors.As(err, &e) {
		e.Log = strings.Join(strings.Fields(C.GoString(log)), " ")
	}
	return m, err
}

// graph is an instantiated CUDA graph.
type graph struct {
	exec  C.CUgraphExec
	nodes int
}

// capture records what submit sends to the stream as a graph.
func capture(s cu.Stream, submit func() error) (*graph, error) {
	if err := result(C.cuStreamBeginCapture(cStream(s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)); err != nil {
		return nil, failed("cuStreamBeginCapture", err)
	}
	err := submit()
	var recorded C.CUgraph
	// The capture must end in any case: until then the stream takes nothing else.
	if ended := result(C.cuStreamEndCapture(cStream(s), &recorded)); err == nil && ended != nil {
		err = failed("cuStreamEndCapture", ended)
	}
	if recorded == nil {
		if err == nil {
			err = errors.New("the driver recorded no graph")
		}
		return nil, err
	}
	var g *graph
	if err == nil {
		g, err = instantiate(recorded)
	}
	if destroyed := result(C.cuGraphDestroy(recorded)); err == nil && destroyed != nil {
		err = failed("cuGraphDestroy", destroyed)
	}
	return g, err
}

// instantiate makes a launchable graph of a recorded one.
func instantiate(recorded C.CUgraph) (*graph, error) {
	var nodes C.size_t
	if err := result(C.cuGraphGetNodes(recorded, nil, &nodes)); err != nil {
		return nil, failed("cuGraphGetNodes", err)
	}
	g := &graph{nodes: int(nodes)}
	if err := result(C.cuGraphInstantiateWithFlags(&g.exec, recorded, 0)); err != nil {
		return nil, failed("cuGraphInstantiate", err)
	}
	return g, nil
}

func (g *graph) launch(s cu.Stream) error {
	return failed("cuGraphLaunch", result(C.cuGraphLaunch(g.exec, cStream(s))))
}

func (g *graph) destroy() error {
	return failed("cuGraphExecDestroy", result(C.cuGraphExecDestroy(g.exec)))
}

// pinned is page-locked host memory, from which the card copies by itself.
type pinned []byte

func newPinned(size int) (pinned, error) {
	var p unsafe.Pointer
	if err := result(C.cuMemHostAlloc(&p, C.size_t(size), 0)); err != nil {
		return nil, failed(pinHost, err)
	}
	return unsafe.Slice((*byte)(p), size), nil
}

func (p pinned) free() error {
	if p == nil {
		return nil
	}
	return failed("cuMemFreeHost", result(C.cuMemFreeHost(unsafe.Pointer(unsafe.SliceData(p)))))
}

// residentClusters returns how many clusters of a kernel the card can run at the same time. f is the
// code of the call's kernel.
func residentClusters(f cu.Function, call kernels.Call) (int, error) {
	var attribute C.CUlaunchAttribute
	attribute.id = C.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
	*(*[3]C.uint)(unsafe.Pointer(&attribute.value)) = [3]C.uint{C.uint(call.Cluster), 1, 1}
	// The configuration points to the attribute, so both lie in C memory for the call.
	type memory struct {
		config    C.CUlaunchConfig
		attribute C.CUlaunchAttribute
	}
	m := (*memory)(C.calloc(1, C.size_t(unsafe.Sizeof(memory{}))))
	defer C.free(unsafe.Pointer(m))
	*m = memory{
		config: C.CUlaunchConfig{
			gridDimX: C.uint(call.Cluster), gridDimY: 1, gridDimZ: 1,
			blockDimX: C.uint(call.Threads), blockDimY: 1, blockDimZ: 1,
			attrs: &m.attribute, numAttrs: 1,
		},
		attribute: attribute,
	}
	var count C.int
	err := result(C.cuOccupancyMaxActiveClusters(&count, cFunction(f), &m.config))
	return int(count), failed("cuOccupancyMaxActiveClusters", err)
}
