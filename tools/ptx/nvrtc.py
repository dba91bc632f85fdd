"""NVIDIA's runtime compiler: CUDA C++ to PTX, with no GPU and no toolkit."""

import ctypes
import os

import nvidia

WHEELS = nvidia.__path__[0]
HEADERS = [os.path.join(WHEELS, "cuda_runtime", "include"), os.path.join(WHEELS, "cuda_nvcc", "include")]


class CompileError(Exception):
    """The compiler's own messages, each with file and line."""


def _library():
    library = ctypes.CDLL(os.path.join(WHEELS, "cuda_nvrtc", "lib", "libnvrtc.so.12"))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def _text(size, get, program):
    """The text that a pair of functions like nvrtcGetPTXSize and nvrtcGetPTX returns."""
    length = ctypes.c_size_t()
    size(program, ctypes.byref(length))
    buffer = ctypes.create_string_buffer(length.value)
    get(program, buffer)
    return buffer.value.decode()


ISA = "8.0"  # of the PTX that this compiler writes


def compile_ptx(path, architecture, isa=ISA):
    """The PTX of the CUDA C++ in path for compute_<architecture>, and the compiler's warnings.

    The PTX declares the given ISA: a source needs it if its inline PTX is newer than the compiler.
    Includes are searched in path's own folder and in the headers of the wheels. The result depends
    on the contents of these files only. It has no line information, which would double its size and
    change it with every comment.
    """
    library = _library()
    folder, name = os.path.split(path)
    with open(path, "rb") as file:
        source = file.read()
    program = ctypes.c_void_p()
    options = [f"--gpu-architecture=compute_{architecture}", "--std=c++17"]
    options += [f"--include-path={include}" for include in [folder, *HEADERS]]
    arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = library.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None)
    if status:
        raise CompileError(f"{name}: {library.nvrtcGetErrorString(status).decode()}")
    try:
        status = library.nvrtcCompileProgram(program, len(options), arguments)
        log = _text(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program).strip()
        if status:
            message = log or library.nvrtcGetErrorString(status).decode()
            raise CompileError(f"{name} for compute_{architecture}: {message}")
        ptx = _text(library.nvrtcGetPTXSize, library.nvrtcGetPTX, program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    version = f"\n.version {ISA}\n"
    if version not in ptx:
        raise CompileError(f"{name}: the compiler does not write PTX ISA {ISA}")
    return ptx.replace(version, f"\n.version {isa}\n"), log
