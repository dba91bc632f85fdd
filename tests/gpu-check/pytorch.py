"""PyTorch and crnn in turns on the same card: tests/peers/gpu_compare.py, in a separate process."""

import json
import os
import shlex
import sys

from limits import CutShort
from report import milliseconds, table

TITLE = "PyTorch on the same card"
LIMIT = 3600  # all the time that is left
PROGRAM = "tests/peers/gpu_compare.py"
NETWORK = "tests/reference"  # PyTorch's network, and the reader of the data set
# Seconds for what comes after it: 40 of the profiler, 10 of the image, 40 of the sanitizer at least.
RESERVE = 90


def run(check, out: dict) -> None:
    python = os.environ.get("CRNN_PYTHON") or sys.executable
    # Reading PyTorch from a cold disk may take long, which is no reason to skip it.
    lacks = check.call([python, "-c", "import numpy, torch"], 90)
    if not lacks and not lacks.timed_out:
        out["verdict"], out["finding"] = "not there", f"{python} has no PyTorch: {lacks.why()}"
        return
    out["results"], out["lost"] = [], {}
    left = settings(check.workload)
    while left:
        done = compare(check, out, python, left)
        judge(out, left)
        if done or not left or done.timed_out:
            break
        if "begun" not in out:
            out["finding"] = out["note"] = done.why()
            return
        # The current comparison ended the process; the others get a new one.
        out["lost"][out["begun"]] = done.why()
        left.remove(out.pop("begun"))
    judge(out, left)
    if left and "note" not in out:
        out["note"] = "there was no time for " + ", ".join(left)


def settings(work) -> list:
    """The comparisons, the most important first."""
    sizes = [[work.batches[0]], [] if work.emulated else work.batches[1:]]
    return [
        f"{mode}:{batch}:{precision}"
        for batches in sizes
        for mode in ("train", "eval")
        for batch in batches
        for precision in work.precisions
    ]


def compare(check, out: dict, python: str, left: list):
    """Runs the comparison; removes the finished ones from left."""
    work = check.workload
    seconds = check.clock.left() - RESERVE
    if seconds < 20:
        raise CutShort("no time was left for " + ", ".join(left))
    command = [
        python,
        str(check.root / PROGRAM),
        "--crnn",
        shlex.join(check.crnn),
        "--crnn-device",
        work.device,
        "--device",
        work.pytorch,
        "--data",
        str(check.tools.data),
        "--seconds",
        f"{seconds - 10:.0f}",
        "--rounds",
        str(work.rounds),
        "--turn",
        str(0.3 * work.measure),
        *left,
    ]

    def each(line: str) -> None:
        if not line.startswith("{"):
            return  # something of PyTorch's
        result = json.loads(line)
        if "torch" in result:
            out["versions"] = result
        elif "begin" in result:
            out["begun"] = result["begin"]
        else:
            out["results"].append(result)
            left.remove(out.pop("begun"))
            judge(out, left)
        check.save()

    environment = {"PYTHONPATH": str(check.root / NETWORK)}
    if work.emulated:  # PyTorch's threads and the driver's would wait for each other
        environment["OMP_NUM_THREADS"] = "1"
    return check.stream(command, seconds, each, environment=environment)


def judge(out: dict, left: list) -> None:
    results = out["results"]
    out["verdict"] = "FAILED" if not results else "cut off" if left or out["lost"] else "measured"
    said = []
    for r in results[:3]:
        best = fastest(r)
        ratio = r["ways"][best]["ratio"]["median"]
        compiled = "" if any(way.startswith("compiled") for way in r["ways"]) else "; torch.compile was not measured"
        said.append(f"{name(r)}: {ratio:.2f} times as fast as PyTorch's fastest ({best}{compiled})")
    out["finding"] = "; ".join(said) or "; ".join(out["lost"].values())


def name(result: dict) -> str:
    return f"{result['mode']}, batch {result['batch_size']}, {result['precision']}"


def fastest(result: dict) -> str:
    """PyTorch's fastest way."""
    ways = [way for way in result["ways"] if way != "crnn"]
    return min(ways, key=lambda way: result["ways"][way]["ms"]["median"])


WHAT = """
and `crnn bench` in turns, the order changing from round to round: medians of the rounds, of each the
median step by events of the card, in ms. In brackets how many times as fast crnn is: median of the
rounds, least and most.

PyTorch computes the same step (dropout, loss, fused Adam) from the same bytes, which are on the card
already, with `cudnn.benchmark`. fp32 is true fp32 for both; tf32 stands beside PyTorch's default, which
uses TF32 in convolutions and RNN; bf16 beside autocast. Graphed: each step one CUDA graph, the batch's
indices copied in. Compiled: torch.compile of all but the RNN, which it leaves to cuDNN. PyTorch's error
is that of its logits from those in float64, ‖a - b‖ / ‖b‖, which tells fp32 (below 1e-5) from TF32.
"""


def lines(out: dict) -> list:
    if "versions" not in out:
        return []
    v = out["versions"]
    versions = f"PyTorch {v['torch']} (CUDA {v['cuda']}, cuDNN {v['cudnn']}) on {v['device']}"
    text = [versions, *WHAT.strip().split("\n"), ""]
    ways = ["eager", "graphed", "compiled", "compiled, graphed"]
    rows = []
    for r in out["results"]:
        row = [r["mode"], r["batch_size"], r["precision"], milliseconds(r["ways"]["crnn"]["ms"]["median"])]
        row += [cell(r["ways"][way]) if way in r["ways"] else "-" for way in ways]
        rows.append([*row, f"{r['logits_error']:.1e}", r["rnn_type"]])
    text += table(["mode", "batch", "precision", "crnn", *ways, "PyTorch's error", "its RNN's type"], rows)
    missing = {}
    for r in out["results"]:
        for way, why in r["failed"].items():
            missing.setdefault(f"{way}: {why}", []).append(name(r))
    missing |= {why: [setting] for setting, why in out["lost"].items()}
    if missing:
        text += ["", "Not measured:", "", *(f"- {why} ({'; '.join(where)})" for why, where in missing.items())]
    return text


def cell(way: dict) -> str:
    ratio = way["ratio"]
    return (
        f"{milliseconds(way['ms']['median'])} ({ratio['median']:.2f}; {ratio['least']:.2f} to {ratio['most']:.2f})"
    )
