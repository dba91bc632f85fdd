"""NVIDIA's Nsight Compute (ncu) over the kernels of a training step: the counters of each."""

import csv
import glob
import io
import shutil

from limits import flags
from report import table

TITLE = "Hardware counters"
LIMIT = 75
# The counters: time; utilisation of multiprocessors, memory, L2 cache and tensor cores, as shares of their
# peaks; warps in flight; instructions per cycle.
COUNTERS = {
    "gpu__time_duration.sum": "ns",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "SM %",
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed": "memory %",
    "lts__t_sectors.avg.pct_of_peak_sustained_elapsed": "L2 %",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active": "tensor %",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "warps %",
    "sm__inst_executed.avg.per_cycle_active": "instructions a cycle",
}
# Kernels of a step. The first steps are skipped, since their kernels find cold caches.
LAUNCHES = 22
FIRST_LIMIT, ELSE_LIMIT = 35, 20  # seconds; the first start reads ncu from the disk


def run(check, out: dict) -> None:
    program = shutil.which("ncu") or next(iter(sorted(glob.glob("/opt/nvidia/nsight-compute/*/ncu"))), "")
    if not program:
        out["verdict"], out["finding"] = "not there", "ncu, of Nsight Compute, is not installed"
        return
    out["kernels"], out["failed"] = {}, {}
    limit, counters = FIRST_LIMIT, list(COUNTERS)
    for precision in check.workload.precisions:
        kernels, why = profile(check, program, precision, counters, limit)
        if not kernels and len(counters) > 1:
            # A counter that this card or version lacks may spoil all; then only the time is asked for.
            out["failed"][f"{precision}, all counters"] = why
            counters = counters[:1]
            kernels, why = profile(check, program, precision, counters, ELSE_LIMIT)
        limit = ELSE_LIMIT
        if kernels:
            out["kernels"][precision] = kernels
        else:
            out["failed"][precision] = why
        found = {precision: len(kernels) for precision, kernels in out["kernels"].items()}
        out["verdict"] = "measured" if found else "broke off"
        out["finding"] = ", ".join(f"{p}: {n} launches" for p, n in found.items()) or out["failed"][precision]
        check.save()


def profile(check, program: str, precision: str, counters: list, limit: float) -> tuple:
    """The launches of a step with their counters or, if there are none, the reason."""
    settings = flags(device=check.workload.device, precision=precision, batch_size=check.workload.batches[0], steps=1)
    # The card's clock is left unchanged.
    options = ["--clock-control", "none", "--csv", "--print-units", "base", "--metrics", ",".join(counters)]
    options += ["--launch-skip", str(2 * LAUNCHES), "--launch-count", str(LAUNCHES)]
    lines = []
    done = check.stream([program, *options, *check.crnn, "bench", *settings], limit, lines.append)
    said = [line for line in lines if line.startswith(("==ERROR==", "==WARNING=="))]
    return read(lines), "; ".join(said) or (done.why() if not done else "ncu showed no kernel")


def read(lines: list) -> list:
    """The launches in ncu's table: the lines from its head on, one per counter."""
    head = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if head is None:
        return []
    launches = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[head:]))):
        name, value = row.get("Metric Name"), (row.get("Metric Value") or "").replace(",", "")
        if name in COUNTERS:
            launches.setdefault(row["ID"], {"kernel": row.get("Kernel Name", "").split("(")[0]})[name] = value
    return list(launches.values())


def lines(out: dict) -> list:
    text = []
    for precision, kernels in out.get("kernels", {}).items():
        rows = [[f"`{k['kernel']}`", *(k.get(counter, "-") for counter in COUNTERS)] for k in kernels]
        text += [f"**{precision}**, in the order of the launches:", ""]
        text += [*table(["kernel", *COUNTERS.values()], rows), ""]
    text += [f"- {precision}: {why}" for precision, why in out.get("failed", {}).items()]
    return text
