"""Common to the comparisons on the CPU: crnn's turn, the description of the machine, and the summary of
ratios measured in turns."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    """A measured program has failed; the message is one line."""


class Crnn:
    """Turns of crnn bench on the CPU, on the data set in a directory. The default environment is this
    process's."""

    def __init__(self, program: str, data: Path, environment: dict[str, str] | None = None):
        self._command = [program, "bench", "--json", "--device", "cpu", "--data", str(data)]
        self._environment = environment

    def step_ms(self, steps: int, precision: str = "fp32", **setting) -> float:
        """The median time of a number of steps, in ms. The setting is mode, batch_size and threads."""
        setting["precision"] = precision
        command = [*self._command, "--steps", str(steps)]
        for name, value in setting.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        done = subprocess.run(command, env=self._environment, text=True, capture_output=True)
        if done.returncode:
            raise Failed(done.stderr.strip() or f"{command[0]} bench failed with exit code {done.returncode}")
        try:
            result = json.loads(done.stdout)
            step = result["step_ms"]
            measured = {name: result[name] for name in setting}
        except (ValueError, KeyError) as error:
            raise Failed(f"{command[0]} bench: its JSON is not what was expected: {error!r}")
        for name, value in measured.items():
            if value != setting[name]:
                raise Failed(f"{command[0]} bench: measured with {name} {value}, not {setting[name]}")
        return step


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def machine() -> dict:
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor without a name there
        return platform.processor() or platform.machine()


def warn_if_busy() -> None:
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1:
        # PyTorch's threads wait for each other thousands of times a step, so it suffers most.
        print(f"crnn: other programs are at work (load average {os.getloadavg()[0]:.1f}), "
              "which slows PyTorch more than crnn; end them and measure again", file=sys.stderr)


def summary(ratios: list[float]) -> dict:
    return {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
