"""NVIDIA's assembler: the resources that PTX takes on a real architecture, with no GPU."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

from nvrtc import WHEELS
from occupancy import LIMITS

TARGETS = sorted(LIMITS)


class AssembleError(Exception):
    """PTX that ptxas refuses."""


@dataclass
class Use:
    """What a kernel takes of a multiprocessor."""

    registers: int  # per thread
    shared: int  # static, bytes per block
    barriers: int


def assemble(file, ptx, target):
    """Assembles the PTX text of file for sm_<target>. Returns name of kernel -> Use, and complaints
    about functions that use local memory, for a stack frame or for spilled registers."""
    command = [os.path.join(WHEELS, "cuda_nvcc", "bin", "ptxas"), f"-arch=sm_{target}", "-v", "-o", os.devnull, "-"]
    result = subprocess.run(command, input=ptx, capture_output=True, text=True)
    where = f"{file} for sm_{target}"
    if result.returncode:
        raise AssembleError(f"{where}: {(result.stderr or result.stdout).strip()}")
    uses, complaints, kernel, function = {}, [], "", ""
    for line in result.stderr.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = match[1]
        elif match := re.search(r"Function properties for (\w+)", line):
            function = match[1]
        elif re.search(r"bytes stack frame", line):
            if re.search(r"\b[1-9]\d* bytes", line):
                complaints.append(f"{where}: {function} uses local memory: {line.strip()}")
        elif match := re.search(r"Used (\d+) registers", line):
            shared, barriers = _count(r"(\d+) bytes smem", line), _count(r"used (\d+) barriers", line)
            uses[kernel] = Use(int(match[1]), shared, barriers)
        elif "warning" in line:
            print(f"{where}: {line.strip()}", file=sys.stderr)
    return uses, complaints


def _count(pattern, line):
    match = re.search(pattern, line)
    return int(match[1]) if match else 0
