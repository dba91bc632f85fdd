"""The processes of the peers; only one computes at a time."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from turns import Failed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WEIGHTS = ROOT / "testdata" / "weights" / "recipe.safetensors"

# For ‖a - b‖ / ‖b‖ and for losses. Another order of sums makes a difference of some 1e-7; bfloat16, which is
# OpenVINO's default, makes 1e-3.
TOLERANCE = 1e-5


class Peer(NamedTuple):
    name: str
    script: str
    options: tuple[str, ...] = ()
    python: str = "peers"  # or "reference": which environment of scripts/python-env


EAGER = Peer("PyTorch eager", "pytorch_worker.py", python="reference")
COMPILED = Peer("PyTorch compiled", "pytorch_worker.py", ("--compiled",), python="reference")
JAX = Peer("JAX", "jax_worker.py")
ONNXRUNTIME = Peer("onnxruntime", "onnx_worker.py", ("--runtime", "onnxruntime"))
OPENVINO = Peer("OpenVINO", "onnx_worker.py", ("--runtime", "openvino"))

# Settings that limit PyTorch, its libraries and its compiled code to AVX2.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",
}


class Different(Exception):
    """A peer's results differ from PyTorch's."""


class Worker:
    """A peer's process. It is stopped between requests, since threads that wait for work may spin."""

    def __init__(self, peer: Peer, python: str, arguments: list[str], environment: dict[str, str]):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, str(HERE / peer.script), *arguments, *peer.options], env=os.environ | environment,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)

    def ask(self, request):
        """The answer to "check", or the milliseconds of a number of steps."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the answer below is empty
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            lines = self._errors.read().split("\n")
            raise Failed(next((line for line in reversed(lines) if line.strip()), "ended without a word"))
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def end(self) -> int:
        """Ends it; returns its largest memory use in bytes, or 0 if it ended by itself."""
        if self._process.poll() is not None:
            return 0
        self._process.kill()
        return peak_memory(self._process)


def peak_memory(process: subprocess.Popen) -> int:
    """Waits for the end of a process; returns its largest memory use in bytes."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Workers:
    """Starts peers, and keeps them for later works."""

    def __init__(self, data: Path, threads: int):
        self._data, self._threads = data, threads
        self._started: dict[tuple, tuple[Worker, dict]] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        for worker, _ in self._started.values():
            worker.end()

    def start(self, peer: Peer, mode: str, batch_sizes: tuple[int, ...],
              environment: dict[str, str] | None = None) -> Worker:
        """A worker that the caller must end."""
        python = self._peers_python if peer.python == "peers" else sys.executable
        if not python:
            raise Failed("its Python is missing, as said above")
        arguments = ["--mode", mode, "--batch-sizes", ",".join(map(str, batch_sizes)), "--threads", str(self._threads),
                     "--data", str(self._data), "--weights", str(WEIGHTS)]
        return Worker(peer, python, arguments, environment or {})

    def checked(self, *setting, **environment: str) -> tuple[Worker, dict]:
        """A worker whose results were compared with PyTorch eager's, and its description of itself. The
        arguments are those of start."""
        key = setting, tuple(environment.items())
        if key not in self._started:
            worker = self.start(*setting, environment)
            try:
                about = worker.ask("check")
                peer, *rest = setting
                if peer is not EAGER:
                    _, expected = self.checked(EAGER, *rest, **environment)
                    compare(peer, about, expected)
            except BaseException:
                worker.end()
                raise
            self._started[key] = worker, about
        return self._started[key]

    @functools.cached_property
    def _peers_python(self) -> str:
        """Made at the first call; empty if that fails, which scripts/python-env explains."""
        done = subprocess.run([ROOT / "scripts" / "python-env", "--peers"], text=True, stdout=subprocess.PIPE)
        return done.stdout.strip() if done.returncode == 0 else ""


def compare(peer: Peer, found: dict, expected: dict) -> None:
    for what in ("outputs", "losses"):
        if what in expected:
            ours, theirs = np.array(found[what]), np.array(expected[what])
            error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
            if not error <= TOLERANCE:
                raise Different(f"{peer.name} computes something else than PyTorch: {what} {error:.1e} off, "
                                f"where {TOLERANCE} is allowed")
