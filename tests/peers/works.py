"""The works to measure: each has a figure for crnn and for each peer, the smaller the better."""

import functools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from turns import Crnn, Failed
from workers import AVX2, COMPILED, EAGER, JAX, ONNXRUNTIME, OPENVINO, Peer, Workers, peak_memory

WARM_UP = 5  # uncounted steps of a peer at the start of a turn, as many as in crnn bench
TEST_IMAGES = 10_000

Turn = Callable[[], float]  # measures once; ms or MB


@dataclass
class Work:
    name: str
    figure: str  # its name
    bar: float  # the least ratio wanted
    crnn: Turn
    peers: dict[str, Turn] = field(default_factory=dict)
    unit: str = "ms"
    beside: tuple[str, ...] = ()  # peers that the ratio leaves out
    about: dict[str, dict] = field(default_factory=dict)  # the peers' descriptions of themselves


@dataclass
class Setting:
    """Common to all works."""

    program: str
    data: Path
    threads: int
    steps: int
    workers: Workers

    def bench(self, mode: str, batch_size: int, steps: int, images: int, environment: dict | None = None,
              **more) -> Turn:
        """Turns of crnn bench; a figure is the time of a number of images."""
        crnn = Crnn(self.program, self.data, environment)
        setting = {"mode": mode, "batch_size": batch_size, "threads": self.threads, "steps": steps} | more
        return lambda: crnn.step_ms(**setting) * images / batch_size

    def add(self, work: Work, peers: tuple[Peer, ...], mode: str, batch_sizes: tuple[int, ...],
            steps: Callable[[int], int], images: int, **environment: str) -> None:
        """Adds turns of peers to a work. They take the fastest of the batch sizes, and make as many steps
        as steps returns for the images of one."""

        def turn(peer: Peer) -> float:
            worker, about = self.workers.checked(peer, mode, batch_sizes, **environment)
            work.about[peer.name] = {"versions": about["versions"]}
            if len(batch_sizes) > 1:
                work.about[peer.name]["form"] = about["form"]
            worker.ask(WARM_UP)
            return statistics.median(worker.ask(steps(about["images"]))) * images / about["images"]

        work.peers |= {peer.name: functools.partial(turn, peer) for peer in peers}

    def train(self, directory: str, *flags: str) -> subprocess.Popen:
        """Starts a run in a directory."""
        with open(Path(directory, "stderr"), "w") as errors:
            return subprocess.Popen(
                [self.program, "train", "--device", "cpu", "--threads", str(self.threads), "--data", self.data,
                 "--out", Path(directory, "run"), *flags], stdout=errors, stderr=errors)


def train(s: Setting, name="train", bar=2.8, peers=(EAGER, COMPILED, JAX), peers_environment={},
          **more) -> list[Work]:
    """A training step of 50 images."""
    # If JAX cannot be limited to some threads, it takes all.
    beside = () if hasattr(os, "sched_setaffinity") else (JAX.name,)
    work = Work(name, "a step of 50 images", bar, s.bench("train", 50, s.steps, 50, **more), beside=beside)
    s.add(work, peers, "train", (50,), lambda images: s.steps, 50, **peers_environment)
    return [work]


def train_bf16(s: Setting) -> list[Work]:
    """The same in bf16, with the peers in fp32."""
    return train(s, "train-bf16", 4, precision="bf16")


def train_avx2(s: Setting) -> list[Work]:
    """The same with crnn and PyTorch limited to AVX2."""
    environment = os.environ | {"CRNN_CPU_KERNELS": "avx2"}
    (work,) = train(s, "train-avx2", 2, (EAGER, COMPILED), AVX2, environment=environment)
    bench = work.crnn

    def crnn() -> float:
        doctor = subprocess.run([s.program, "doctor"], env=environment, text=True, capture_output=True).stdout
        if not re.search(r"^kernels: *avx2 in use", doctor, re.MULTILINE):
            raise Failed("CRNN_CPU_KERNELS=avx2 has other kernels in use, says crnn doctor")
        return bench()

    work.crnn = crnn
    return [work]


def evaluate(s: Setting) -> list[Work]:
    """All test images: the median step times the number of steps."""
    crnn = s.bench("eval", 50, TEST_IMAGES // 50, TEST_IMAGES)
    work = Work("eval", "10,000 images", 1.5, crnn, beside=(EAGER.name,))
    s.add(work, (OPENVINO, ONNXRUNTIME, COMPILED, EAGER), "eval", (50, 100, 250),
          lambda images: TEST_IMAGES // images, TEST_IMAGES)
    return [work]


def predict(s: Setting) -> list[Work]:
    """An image inside the process, from its bytes to its probabilities."""
    calls = 10 * s.steps
    work = Work("predict", "an image", 2, s.bench("predict", 1, calls, 1), beside=(OPENVINO.name, EAGER.name))
    s.add(work, (ONNXRUNTIME, OPENVINO, EAGER), "predict", (1,), lambda images: calls, 1)
    return [work]


def scaling(s: Setting) -> list[Work]:
    """crnn beside itself, with one thread and with a large batch."""

    def step(batch_size: int, **more) -> Turn:
        return s.bench("train", batch_size, max(5, s.steps * 50 // batch_size), 50, **more)

    threads = Work("scaling", f"50 images, {s.threads} threads", 0.95 * s.threads, step(50),
                   {"1 thread": step(50, threads=1)})
    batch = Work("scaling", "50 images, batch 50", 0.9, step(50), {"batch 1000": step(1000)})
    return [threads, batch] if s.threads > 1 else [batch]


def start(s: Setting) -> list[Work]:
    """The process from its start to its first training step, against the import of PyTorch."""

    def first_step() -> float:
        """To the step's line in metrics.jsonl, with the data set in the file cache."""
        with tempfile.TemporaryDirectory() as directory:
            metrics = Path(directory, "run", "metrics.jsonl")
            begin = time.perf_counter()
            process = s.train(directory, "--max-steps", "1", "--log-steps")
            try:
                while not (metrics.exists() and '"step"' in metrics.read_text()):
                    if process.poll() is not None:
                        raise Failed(Path(directory, "stderr").read_text().strip())
                    time.sleep(0.0005)
                return 1e3 * (time.perf_counter() - begin)
            finally:
                process.kill()
                process.wait()

    def import_torch() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        return 1e3 * (time.perf_counter() - begin)

    files = "plain" if Path(s.data, "train-images-idx3-ubyte").exists() else ".gz"
    return [Work("start", f"first step, {files} data", 5, first_step, {"import torch": import_torch})]


def memory(s: Setting) -> list[Work]:
    """A whole run of crnn, with its figures and its test, against PyTorch's steps alone."""

    def crnn() -> float:
        with tempfile.TemporaryDirectory() as directory:
            process = s.train(directory, "--max-steps", str(s.steps))
            peak = peak_memory(process)
            if process.returncode:
                raise Failed(Path(directory, "stderr").read_text().strip())
            return peak / 1e6

    def pytorch() -> float:
        worker = s.workers.start(EAGER, "train", (50,))
        try:
            worker.ask(s.steps)
        finally:
            peak = worker.end()
        return peak / 1e6

    return [Work("memory", "the most at once", 5, crnn, {EAGER.name: pytorch}, "MB")]


WORKS = {
    "train": train,
    "train-bf16": train_bf16,
    "train-avx2": train_avx2,
    "eval": evaluate,
    "predict": predict,
    "scaling": scaling,
    "start": start,
    "memory": memory,
}
