"""The PTX compiled on this card: the compiler's time by source, registers and local memory of each kernel,
and how many of the RNN's clusters the card holds at once."""

import benchmarks
from report import table

TITLE = "What the driver compiles"
# A source takes the driver some tenths of a second, so all of them some 5 s.
LIMIT = 60
# The passes, and their settings for the driver's cache of compiled code.
PASSES = (("compiled", {"CUDA_CACHE_DISABLE": "1"}), ("to be kept", {}), ("kept", {}))


def run(check, out: dict) -> None:
    out["sources"], out["kernels"], out["failed"] = {}, {}, {}
    for when, cache in PASSES:
        found, reasons = benchmarks.run(check, "BenchmarkModule", 30, cache)
        out["failed"] |= reasons
        for name, metrics in found.items():
            source, _, kernel = name.removeprefix("BenchmarkModule/").partition("/")
            if kernel == "load":
                out["sources"].setdefault(source, {})[when] = metrics["load-ms"]
            else:
                out["kernels"][kernel] = {"source": source} | metrics
        judge(out)
        check.save()
    found, reasons = benchmarks.run(check, "BenchmarkClusters", 20)
    out["clusters"] = {name.rpartition("/")[2]: metrics for name, metrics in (found | reasons).items()}


def judge(out: dict) -> None:
    times = [times["compiled"] for times in out["sources"].values() if "compiled" in times]
    spilled = [name for name, kernel in out["kernels"].items() if kernel.get("local-bytes")]
    out["verdict"] = "measured" if times else "FAILED"
    out["finding"] = f"{len(times)} sources in {sum(times) / 1000:.1f} s"
    if out["failed"]:
        name, why = next(iter(out["failed"].items()))
        out["finding"] += f"; {name}: {why}"
    if spilled:
        out["finding"] += f"; LOCAL MEMORY in {', '.join(spilled)}"


def lines(out: dict) -> list:
    if not out.get("sources"):
        return []
    rows = [
        [f"{source}.cu", *(f"{times[when]:.1f}" if when in times else "-" for when in ("compiled", "kept"))]
        for source, times in out["sources"].items()
    ]
    text = ["Milliseconds to load a source: when the driver compiles it, and when it has kept what it made.", ""]
    text += table(["source", "compiled", "kept"], rows)
    rows = [
        [f"`{name}`", *(f"{kernel.get(unit, -1):.0f}" for unit in ("registers", "local-bytes", "shared-bytes"))]
        for name, kernel in out["kernels"].items()
    ]
    text += ["", *table(["kernel", "registers a thread", "local bytes", "shared bytes of a block"], rows)]
    rows = []
    for precision, found in out.get("clusters", {}).items():
        counts = [f"{found[way]:.0f}" for way in ("forward", "backward")] if isinstance(found, dict) else [found, ""]
        rows.append([precision, *counts])
    if rows:
        text += ["", "Clusters of five blocks, of which the recipe's batch needs 17, that the card holds at once:", ""]
        text += table(["precision", "forward", "backward"], rows)
    return text
