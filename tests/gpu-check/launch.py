"""The time of a step besides its kernels: an empty graph of the same shape, with and without the copy before
it, by the host's clock, with a cold cache. Also sixty empty waves, in each way of hand-over between the
RNN's layers."""

import benchmarks
from limits import CutShort
from report import table

TITLE = "Launches, copies and hand-over"
# A precision has five measurements of 2,000 steps of some 0.3 ms, and the warm-up: some 6 s with its start.
# A way of hand-over takes 2 s.
LIMIT = 60
STEP_LIMIT, PROBE_LIMIT = 25, 12
WAYS = ("barrier", "mbarrier", "bulk", "async", "async-cta", "flags")

MEASUREMENTS = {
    "step": "a step, by events",
    "graph": "its graph without the copy of the indices, by events",
    "wall": "a step, by the host's clock over all of them",
    "graph-wall": "its graph alone, by the host's clock",
    "flushed": "a step after the second cache was overwritten, by events",
}


def run(check, out: dict) -> None:
    out["steps"], out["probes"], out["lacking"] = {}, {}, {}
    # A process per way: a hand-over that never comes hangs only its own.
    planned = [(out["steps"], f"BenchmarkStep/{precision}", STEP_LIMIT) for precision in check.workload.precisions]
    planned += [(out["probes"], "BenchmarkLaunchFloor", PROBE_LIMIT)]
    planned += [(out["probes"], f"BenchmarkWaves/{way}", PROBE_LIMIT) for way in WAYS]
    for number, (to, name, limit) in enumerate(planned):
        try:
            metrics, reasons = benchmarks.run(check, name, limit)
        except CutShort:
            out["lacking"] |= {name: "no time was left" for _, name, _ in planned[number:]}
            raise
        to |= metrics
        out["lacking"] |= reasons
        judge(out)
        check.save()


def judge(out: dict) -> None:
    out["verdict"] = "measured" if out["steps"] else "FAILED"
    walls = [f"{n.rpartition('/')[2]} {m['wall-us']:.0f} µs" for n, m in out["steps"].items() if "wall-us" in m]
    out["finding"] = f"a step by the host's clock: {', '.join(walls)}" if walls else "no step was timed"
    if out["lacking"]:
        name, why = next(iter(out["lacking"].items()))
        out["finding"] += f"; {len(out['lacking'])} measurements are lacking, the first {name}: {why}"


def lines(out: dict) -> list:
    steps, text = out.get("steps", {}), []
    if steps:
        rows = []
        for key, what in MEASUREMENTS.items():
            rows.append([what])
            for m in steps.values():
                time, fastest, clock = (m.get(f"{key}-{unit}") for unit in ("us", "fastest-us", "MHz"))
                cell = "-" if time is None else f"{time:.1f}" + (f" ({fastest:.1f})" if fastest else "")
                rows[-1].append(f"{cell} at {clock:.0f} MHz" if clock else cell)
        text += ["Of a training step of the recipe, in µs: the median, or the mean by the host's clock; in brackets"]
        text += ["the fastest; and the clock of the multiprocessors after it.", ""]
        text += table(["", *(name.rpartition("/")[2] for name in steps)], rows)
    rows = [
        [name.removeprefix("Benchmark"), ", ".join(f"{value:.2f} {unit}" for unit, value in metrics.items())]
        for name, metrics in out.get("probes", {}).items()
    ]
    if rows:
        text += ["", "Empty kernels in a graph of the step's shape, and empty waves of clusters:", ""]
        text += table(["probe", "measured"], rows)
    if out.get("lacking"):
        text += ["", "Lacking:", "", *(f"- {name}: {why}" for name, why in out["lacking"].items())]
    return text
