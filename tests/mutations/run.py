#!/usr/bin/env python3
"""Makes one small mistake at a time in a copy of the tree, and says which test notices it.

    scripts/mutations cpu|kernels [WORD]

Prints a table, which docs/mutations.md holds; a mistake that no test notices is a failure. With
WORD, only the mistakes whose description has it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cpu
import kernels

ROOT = Path(__file__).resolve().parents[2]

# Vet may object to a mistake before a test does; only tests count here.
GPU = ["scripts/emulated-cuda", "scripts/with-cuda", "go", "test", "-short", "-vet=off", "-timeout", "5m", "./gpu"]

# The stand-in for AMX, for processors that have none.
TILES = ["go", "test", "-short", "-vet=off", "-tags", "emulateamx", "-run", "Tile|TestBF16/emulated", "./cpu"]

# By kind: the mistakes, and the tests to run until one fails. Small cases with race checks come first,
# since they show most mistakes in a kernel, in seconds.
KINDS = {
    "cpu": (cpu.MUTATIONS, [["go", "test", "-short", "-vet=off", "./cpu", "./model/..."], TILES]),
    "kernels": (kernels.MUTATIONS, [["scripts/races"], GPU]),
}


def main() -> None:
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in KINDS:
        sys.exit(f"usage: scripts/mutations {'|'.join(KINDS)} [WORD]")
    mutations, tests = KINDS[sys.argv[1]]
    word = sys.argv[2] if len(sys.argv) == 3 else ""
    unnoticed = 0
    print("| mistake | in | noticed by |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".tools", "bin", "runs"))
        (ROOT / ".tools").mkdir(exist_ok=True)
        (tree / ".tools").symlink_to(ROOT / ".tools")
        for file, text, _, _ in mutations:
            if (found := (tree / file).read_text().count(text)) != 1:
                sys.exit(f"{file}: expected once, found {found} times: {text}")
        for file, text, broken, what in mutations:
            if word not in what:
                continue
            path = tree / file
            source = path.read_text()
            path.write_text(source.replace(text, broken))
            noticed = run(tree, tests, sources(tree, path.name) if path.parent.name == "kernels" else [])
            unnoticed += not noticed
            print(f"| {what} | {file} | {'; '.join(noticed[:3]) or '**nothing**'} |", flush=True)
            path.write_text(source)
            restore(tree)
    sys.exit(1 if unnoticed else 0)


def restore(tree: Path) -> None:
    """Restores the PTX of the tree."""
    for path in (ROOT / "kernels" / "ptx").iterdir():
        shutil.copy2(path, tree / "kernels" / "ptx")


def sources(tree: Path, file: str) -> list[str]:
    """The CUDA sources that are, or include, a file of kernels/."""
    files = {path.name: path.read_text() for path in (tree / "kernels").glob("*.cu*")}
    found = {file}
    while more := {name for name, text in files.items() if set(re.findall(r'#include "(.+)"', text)) & found} - found:
        found |= more
    return sorted(name for name in found if name.endswith(".cu"))


def run(tree: Path, tests: list[list[str]], rebuild: list[str]) -> list[str]:
    """The tests that fail in the tree. rebuild names the kernels to compile first."""
    if rebuild:
        result = subprocess.run(["scripts/ptx", "--quick", *rebuild], cwd=tree, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"does not compile\n{result.stderr}")
    for command in tests:
        result = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, env={**os.environ, "CRNN_TEST_CUDA": "1"}
        )
        if "[build failed]" in result.stdout:
            sys.exit(f"does not compile\n{result.stdout}{result.stderr}")
        if found := failures(result.stdout):
            return found
        if "panic: test timed out" in result.stdout:
            return ["a test that hangs"]
        if result.returncode:
            sys.exit(f"{' '.join(command)} failed without a test\n{result.stdout}{result.stderr}")
    return []


def failures(output: str) -> list[str]:
    """The failed tests, without tests that failed only because they contain a failed one. A test that
    ruins the GPU's context ends the program before it can fail."""
    names = re.findall(r"--- FAIL: (\S+)", output) + re.findall(r"^(\S+) ruined the GPU's context", output, re.M)
    return [n for n in names if not any(other.startswith(n + "/") for other in names)]


if __name__ == "__main__":
    main()
