package gpu

import "fmt"

// Error is an error of the driver.
type Error struct {
	Call string // the driver's function, and its object if that helps
	Code int    // CUresult
	Log  string // the log of the driver's compiler, as one line; empty for other calls
}

// maxLog is the length of a log in an error: one line of the compiler, which names the cause.
const maxLog = 240

// Error returns the call, the code's CUDA name, its meaning and a remedy, as one line.
func (e *Error) Error() string {
	log := e.Log
	if len(log) > maxLog {
		log = log[:maxLog] + " …"
	}
	if log != "" {
		log = " (" + log + ")"
	}
	if e.Code == outOfMemory && e.Call == pinHost {
		return e.Call + ": CUDA_ERROR_OUT_OF_MEMORY: the machine has no memory that may be locked: " +
			"end other programs, or see `ulimit -l`"
	}
	if c, ok := codes[e.Code]; ok {
		return fmt.Sprintf("%s: CUDA_ERROR_%s: %s%s: %s", e.Call, c.name, c.meaning, log, c.remedy)
	}
	name, meaning := driverWords(e.Code)
	return fmt.Sprintf("%s: %s: %s%s: %s", e.Call, name, meaning, log, report)
}

// RuinsContext says whether every further call in the context fails after the error, so that the
// process must end before the GPU can be used again. NVIDIA's documentation of CUresult says so for
// 226, 700, 702, 714 to 719, 721 and 810 (the process "must be terminated and relaunched") and for
// 710. The other codes mean that a context, a memory or a card is gone.
func (e *Error) RuinsContext() bool {
	switch e.Code {
	case 4, 46, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 999:
		return true
	}
	return false
}

// PrecisionError says that a GPU cannot compute in a precision.
type PrecisionError struct {
	Precision  string // the one asked for
	Device     string // "cuda:0"
	Name       string // of the card
	Capability int    // its compute capability, 75 for 7.5
}

func (e *PrecisionError) Error() string {
	return fmt.Sprintf("%s: %s (%s) has compute capability %s and computes in fp32 only; tf32 and bf16 need 8.0",
		e.Precision, e.Device, e.Name, dotted(e.Capability))
}

// Remedies that several codes share.
const (
	report  = "this is a bug of crnn or of the driver: report it with the output of `crnn doctor`"
	restart = "restart the machine; if it happens again, the card may be faulty " +
		"(`dmesg | grep Xid` shows what the driver saw)"
	checkCard = "see with nvidia-smi whether the card is in order"
	update    = "update NVIDIA's driver"
	mps       = "see the log of nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY"
)

// pinHost is the call that takes the machine's memory, not the GPU's.
const pinHost = "cuMemHostAlloc"

// The codes that the program distinguishes.
const (
	outOfMemory = 2
	noDevice    = 100
	notFound    = 500
)

// codes are the errors that can occur, by their CUresult. Others are shown in the driver's own words.
var codes = map[int]struct{ name, meaning, remedy string }{
	1: {"INVALID_VALUE", "the driver refuses an argument", report},
	outOfMemory: {"OUT_OF_MEMORY", "the GPU's memory is full",
		"end other programs on it (crnn doctor shows them), or use a smaller batch"},
	3: {"NOT_INITIALIZED", "the driver was not started", report},
	4: {"DEINITIALIZED", "the driver has shut down", report},
	34: {"STUB_LIBRARY", "the libcuda.so.1 that was found is the CUDA toolkit's stub for linking",
		"take the toolkit's folder stubs out of LD_LIBRARY_PATH"},
	46: {"DEVICE_UNAVAILABLE", "the GPU is busy or does not answer",
		"end the process that uses it exclusively (crnn doctor shows it; compute mode Exclusive Process), " +
			"or reset it (`nvidia-smi --gpu-reset`)"},
	noDevice: {"NO_DEVICE", "the driver finds no GPU", checkCard},
	101:      {"INVALID_DEVICE", "there is no such GPU, or it does not work", checkCard},
	102: {"DEVICE_NOT_LICENSED", "the virtual GPU has no licence",
		"see `nvidia-smi -q` and the settings of nvidia-gridd"},
	200: {"INVALID_IMAGE", "the driver cannot read a kernel", update},
	201: {"INVALID_CONTEXT", "the GPU's context is gone", report},
	209: {"NO_BINARY_FOR_GPU", "no kernel is made for this card", update},
	214: {"ECC_UNCORRECTABLE", "the GPU's memory has an error that it cannot correct", restart},
	218: {"INVALID_PTX", "the driver cannot compile a kernel", update},
	220: {"NVLINK_UNCORRECTABLE", "the connection between the GPUs has an error", restart},
	221: {"JIT_COMPILER_NOT_FOUND", "the driver's compiler libnvidia-ptxjitcompiler.so.1 is missing",
		"install NVIDIA's driver whole; in a container, NVIDIA_DRIVER_CAPABILITIES must have compute"},
	222: {"UNSUPPORTED_PTX_VERSION", "the kernels are newer than the driver", update},
	223: {"JIT_COMPILATION_DISABLED", "the driver may not compile the kernels for this card",
		"unset CUDA_DISABLE_PTX_JIT"},
	304: {"OPERATING_SYSTEM", "the operating system refuses a call of the driver",
		"see whether you may write to /dev/nvidia* and how much memory may be locked (`ulimit -l`)"},
	400:      {"INVALID_HANDLE", "the driver does not know a handle of the call", report},
	401:      {"ILLEGAL_STATE", "the driver's state does not allow the call", report},
	notFound: {"NOT_FOUND", "the driver lacks the function", update},
	700:      {"ILLEGAL_ADDRESS", "a kernel went outside its memory", report},
	701:      {"LAUNCH_OUT_OF_RESOURCES", "a kernel needs more than the card has", report},
	702: {"LAUNCH_TIMEOUT", "a kernel took longer than a card with a screen allows",
		"use a smaller batch, or a card without a screen"},
	709: {"CONTEXT_IS_DESTROYED", "the GPU's context is gone", report},
	710: {"ASSERT", "an assertion in a kernel failed", report},
	714: {"HARDWARE_STACK_ERROR", "a kernel failed", restart},
	715: {"ILLEGAL_INSTRUCTION", "a kernel failed", report},
	716: {"MISALIGNED_ADDRESS", "a kernel failed", report},
	717: {"INVALID_ADDRESS_SPACE", "a kernel failed", report},
	718: {"INVALID_PC", "a kernel failed", report},
	719: {"LAUNCH_FAILED", "a kernel failed, or the card stopped", restart},
	720: {"COOPERATIVE_LAUNCH_TOO_LARGE", "a kernel needs more blocks at a time than the card has", report},
	800: {"NOT_PERMITTED", "the driver does not permit it", report},
	801: {"NOT_SUPPORTED", "the card or its driver does not have this", update},
	802: {"SYSTEM_NOT_READY", "the machine's NVSwitch is not ready",
		"start nvidia-fabricmanager, of the driver's version"},
	803: {"SYSTEM_DRIVER_MISMATCH", "the driver in the kernel and its library differ in version",
		"restart the machine, as after every update of the driver"},
	804: {"COMPAT_NOT_SUPPORTED_ON_DEVICE",
		"a newer CUDA on an older driver (package cuda-compat) is for data centre cards only",
		"remove cuda-compat, or " + update},
	805: {"MPS_CONNECTION_FAILED", "NVIDIA's MPS does not answer", mps},
	806: {"MPS_RPC_FAILURE", "NVIDIA's MPS does not answer", mps},
	807: {"MPS_SERVER_NOT_READY", "NVIDIA's MPS is not ready", mps},
	808: {"MPS_MAX_CLIENTS_REACHED", "NVIDIA's MPS serves as many programs as it can", mps},
	809: {"MPS_MAX_CONNECTIONS_REACHED", "NVIDIA's MPS serves as many programs as it can", mps},
	810: {"MPS_CLIENT_TERMINATED", "NVIDIA's MPS ended this program's work", mps},
	900: {"STREAM_CAPTURE_UNSUPPORTED", "the step cannot be recorded", report},
	901: {"STREAM_CAPTURE_INVALIDATED", "the step cannot be recorded", report},
	910: {"GRAPH_EXEC_UPDATE_FAILURE", "the recorded step cannot be changed", report},
	912: {"INVALID_CLUSTER_SIZE", "the card has no cluster of this size", report},
	999: {"UNKNOWN", "the driver does not know the cause; often the card has stopped or fallen off the bus", restart},
}
