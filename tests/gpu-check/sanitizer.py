"""NVIDIA's compute-sanitizer over a few tests: accesses out of bounds (memcheck) and missing barriers
(racecheck)."""

import glob
import re
import shutil

import operators
from report import block, table

TITLE = "compute-sanitizer"
LIMIT = 90
TOOLS = ("memcheck", "racecheck")
# A few tests per operator: sizes with remainders, and the recipe's, which may have special kernels.
CHOSEN = ("ConvBlock/odd-sizes", "RNN/odd-sizes", "ConvBlock/layer2", "RNN/recipe", "Head/recipe", "Adam/resumed")

SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)")


def run(check, out: dict) -> None:
    program = shutil.which("compute-sanitizer") or next(
        iter(sorted(glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))), ""
    )
    if not program:
        out["verdict"], out["finding"] = "not there", "compute-sanitizer, of CUDA's toolkit, is not installed"
        return
    names = operators.names(check)
    tests = [name for chosen in CHOSEN for name in names if name.endswith("/" + chosen)]
    out["runs"] = runs = []
    for test in tests:
        for tool in TOOLS:
            runs.append(one(check, program, tool, test))
            judge(out, 2 * len(tests))
            check.save()
    if not runs:
        out["verdict"], out["finding"] = "broke off", "the tests that were to run under it did not show themselves"


def one(check, program: str, tool: str, test: str) -> dict:
    """One test under one tool."""
    done = check.call(
        [
            program,
            "--tool",
            tool,
            "--print-limit",
            "5",
            *check.tests,
            "-test.v",
            "-test.run",
            operators.pattern(test),
        ],
        40,
        folder=check.root / "gpu",
    )
    text = done.stdout + "\n" + done.stderr
    result = {"tool": tool, "test": test, "seconds": round(done.seconds, 1)}
    summary = SUMMARY.search(text)
    if not summary or f"--- PASS: {test} " not in text:
        result["why"] = done.why() if not done else "the test did not run"
    if summary:
        result["findings"] = int(summary[1])
    if "why" in result or result.get("findings"):
        result["lines"] = [line for line in text.splitlines() if line.startswith("=====")][:40]
    return result


def judge(out: dict, planned: int) -> None:
    runs = out["runs"]
    found = sum(run.get("findings", 0) for run in runs)
    failed = sum("why" in run for run in runs)
    out["verdict"] = "FAILED" if found else "broke off" if failed == len(runs) else "passed"
    out["finding"] = f"{found} findings in {len(runs) - failed} of {planned} runs" + (
        f", {failed} did not work" if failed else ""
    )


def lines(out: dict) -> list:
    runs = out.get("runs", [])
    text = table(
        ["test", "tool", "findings", "s"],
        [[r["test"], r["tool"], r.get("why") or r["findings"], r["seconds"]] for r in runs],
    )
    for run in runs:
        if run.get("lines"):
            text += ["", f"**{run['test']}**, {run['tool']}:", "", *block(run["lines"])]
    return text if runs else []
