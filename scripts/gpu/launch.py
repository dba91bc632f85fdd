"""What a step takes besides its kernels: an empty graph of the same shape, with and without the copy before
it, by the host's clock, with a cold cache; and sixty empty waves in each way of hand-over between the RNN's
layers."""

import benchmarks
from report import table

TITLE = "Launches, copies and hand-over"
# A precision takes five measurements of 2,000 steps of some 0.3 ms and the warm-up, some 6 s with its start;
# a way of hand-over 2 s.
LIMIT = 60
STEP_LIMIT, PROBE_LIMIT = 25, 12
WAYS = ("barrier", "mbarrier", "bulk", "async", "async-cta", "flags")

TIMES = {
    "step-us": "a step, by events",
    "step-fastest-us": "the fastest of these",
    "graph-us": "its graph without the copy of the indices, by events",
    "graph-fastest-us": "the fastest of these",
    "wall-us": "a step, by the host's clock over all of them",
    "graph-wall-us": "its graph alone, by the host's clock",
    "flushed-us": "a step after the second cache was overwritten, by events",
    "flushed-fastest-us": "the fastest of these",
    "clock-MHz": "clock of the multiprocessors after that, MHz",
}


def run(check, out: dict) -> None:
    out["steps"], out["probes"], out["skipped"], out["failed"] = {}, {}, {}, {}
    # A process each: a hand-over that never comes hangs its own.
    for precision in check.workload.precisions:
        measure(check, out, out["steps"], f"BenchmarkStep/{precision}", STEP_LIMIT)
    measure(check, out, out["probes"], "BenchmarkLaunchFloor", PROBE_LIMIT)
    for way in WAYS:
        measure(check, out, out["probes"], f"BenchmarkWaves/{way}", PROBE_LIMIT)


def measure(check, out: dict, to: dict, name: str, limit: float) -> None:
    metrics, skipped, done = benchmarks.run(check, name, limit)
    to |= metrics
    out["skipped"] |= skipped
    if not done:
        out["failed"][name] = done.why()
    elif not metrics and not skipped:
        out["failed"][name] = "nothing was measured"
    out["verdict"] = "measured" if out["steps"] else "FAILED"
    walls = ", ".join(f"{n.rpartition('/')[2]} {m['wall-us']:.0f} µs" for n, m in out["steps"].items() if "wall-us" in m)
    out["finding"] = f"a step by the host's clock: {walls}" if walls else "no step was timed"
    if out["failed"]:
        out["finding"] += f"; {len(out['failed'])} measurements failed, the first: {next(iter(out['failed'].values()))}"
    check.save()


def lines(out: dict) -> list:
    steps, text = out.get("steps", {}), []
    if steps:
        rows = [[what, *(f"{m[key]:.1f}" if key in m else "-" for m in steps.values())] for key, what in TIMES.items()]
        text += ["Of a training step of the recipe, in µs; medians unless said otherwise.", ""]
        text += table(["", *(name.rpartition("/")[2] for name in steps)], rows)
    rows = [
        [name.removeprefix("Benchmark"), ", ".join(f"{value:.2f} {unit}" for unit, value in metrics.items())]
        for name, metrics in out.get("probes", {}).items()
    ]
    if rows:
        text += ["", "Empty kernels in a graph of the step's shape, and empty waves of clusters:", ""]
        text += table(["probe", "measured"], rows)
    for title in ("skipped", "failed"):
        if out.get(title):
            text += ["", f"{title.capitalize()}:", "", *(f"- {name}: {why}" for name, why in out[title].items())]
    return text
