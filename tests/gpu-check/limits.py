"""Common to the sections: paths, and running programs within the time that is left."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import dataset
from pack import Tools
from workload import Workload

KEPT = 20_000  # characters of a program's output, from its end


class CutShort(Exception):
    """The time of a section is over."""


class Clock:
    """The time of the whole check, and of the current section."""

    def __init__(self, seconds: float):
        self._start = self._section_start = time.monotonic()
        self._end = self._section_end = self._start + seconds

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def section_seconds(self) -> float:
        return time.monotonic() - self._section_start

    def left(self) -> float:
        """Seconds left for the section."""
        return self._section_end - time.monotonic()

    @contextlib.contextmanager
    def section(self, limit: float):
        self._section_start = time.monotonic()
        self._section_end = min(self._section_start + limit, self._end)
        yield


@dataclass
class Done:
    """A program that ended by itself, or was ended when its time was over."""

    code: int  # negative: the signal
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool

    def __bool__(self) -> bool:
        return self.code == 0 and not self.timed_out

    def why(self) -> str:
        """Why it failed, as one line."""
        if self.timed_out:
            return f"not done after {self.seconds:.0f} s, and ended"
        last = (self.stderr.strip() or self.stdout.strip()).splitlines()
        # If a Go program crashed, the first lines say why, otherwise the last.
        line = next((l for l in last if l.startswith(("panic:", "fatal error:", "SIG"))), last[-1] if last else "")
        return f"exit code {self.code}: {line}"[:500]


@dataclass
class Check:
    root: Path
    scratch: Path
    tools: Tools
    clock: Clock
    workload: Workload
    save: Callable = None  # writes the report as it stands
    ms_per_image: float = 0.0  # of a step; 0 while unknown
    operator_tests: list = field(default_factory=list)  # their names, when known
    crnn: list = field(init=False)
    tests: list = field(init=False)
    environment: dict = field(init=False)

    def __post_init__(self):
        under = [str(self.root / "scripts" / "emulated-cuda")] if self.workload.emulated else []
        self.crnn = [*under, str(self.tools.crnn)]
        self.tests = [*under, str(self.tools.tests)]
        # Settings for crnn in the caller's environment must have no effect.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CRNN_") or k.startswith("CRNN_EMULATOR_")}
        compiled = self.scratch / "compiled"  # so that the first start compiles the PTX
        compiled.mkdir(exist_ok=True)
        self.environment = kept | {
            "CRNN_DATA": str(self.tools.data),
            "CRNN_TEST_CUDA": "1",  # a test that finds no GPU fails
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts
            "CUDA_CACHE_PATH": str(compiled),
        }

    def steps(self, batch: int) -> int:
        """How many steps of a batch size to time, by their time so far."""
        work = self.workload
        if not work.measure or not self.ms_per_image:
            return work.least_steps
        return max(work.least_steps, min(2000, int(1000 * work.measure / (self.ms_per_image * batch))))

    def learn(self, bench: dict) -> None:
        """Notes the time of a step from the result of `crnn bench --json`."""
        self.ms_per_image = bench["step_ms"] / bench["batch_size"]

    def short_data(self) -> dict:
        """The environment that makes crnn read fewer images, if the workload has fewer."""
        if not self.workload.images:
            return {}
        folder = self.scratch / "fewer-images"
        if not folder.exists():
            dataset.cut(self.tools.data, folder, *self.workload.images)
        return {"CRNN_DATA": str(folder)}

    @contextlib.contextmanager
    def within(self, environment: dict):
        """Adds environment variables for programs."""
        before, self.environment = self.environment, self.environment | environment
        yield
        self.environment = before

    def call(self, command, limit: float, folder: Path = None, environment: dict = {}) -> Done:
        """Runs a program, and ends it after limit seconds (emulated, more) or when the section's time is over."""
        lines = []
        return self.stream(command, limit, lines.append, folder, environment, lines)

    def stream(self, command, limit, each, folder=None, environment: dict = {}, lines=None) -> Done:
        """Runs a program, and passes each line of its standard output to each, as it comes."""
        limit = min(limit * self.workload.slowness, self.clock.left())
        if limit < 1:
            raise CutShort(f"the time was over before `{Path(command[0]).name}` could run")
        start = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace", dir=self.scratch) as stderr:
            timed_out = threading.Event()
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
                cwd=folder or self.root,
                env=self.environment | environment,
                start_new_session=True,
            ) as program:
                timer = threading.Timer(limit, lambda: (timed_out.set(), end(program)))
                timer.start()
                try:
                    for line in program.stdout:
                        each(line.rstrip("\n"))
                    program.wait()
                finally:
                    timer.cancel()
                    if program.poll() is None:  # the check itself was ended
                        end(program)
            stderr.seek(0)
            errors = stderr.read()
        return Done(
            program.returncode,
            "\n".join(lines or [])[-KEPT:],
            errors[-KEPT:],
            time.monotonic() - start,
            timed_out.is_set(),
        )


def flags(**settings) -> list:
    """Settings as crnn's flags: batch_size=50 becomes --batch-size 50."""
    return [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]


def end(program: subprocess.Popen) -> None:
    """Ends a program and the programs that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
