"""What the driver makes of the PTX on this card: the time of its compiler by source, registers and local
memory of each kernel, and how many of the RNN's clusters the card holds at once."""

import benchmarks
from report import table

TITLE = "What the driver compiles"
# A source takes the driver some tenths of a second, so all of them some 5 s.
LIMIT = 40


def run(check, out: dict) -> None:
    kept = check.scratch / "compiled-again"
    out["sources"], out["kernels"] = {}, {}
    for when in ("first", "again"):
        found, _, done = benchmarks.run(check, "BenchmarkModule", 30, {"CUDA_CACHE_PATH": str(kept)})
        for name, metrics in found.items():
            source, _, kernel = name.removeprefix("BenchmarkModule/").partition("/")
            if kernel:
                out["kernels"][kernel] = {"source": source} | metrics
            elif "load-ms" in metrics:
                out["sources"].setdefault(source, {})[when] = metrics["load-ms"]
        judge(out, done)
        check.save()
    found, skipped, done = benchmarks.run(check, "BenchmarkClusters", 20)
    out["clusters"] = {name.rpartition("/")[2]: metrics for name, metrics in found.items()}
    out["clusters"] |= {name.rpartition("/")[2]: why for name, why in skipped.items()}
    if not done:
        out["note"] = f"the clusters are not known: {done.why()}"


def judge(out: dict, done) -> None:
    times = [times["first"] for times in out["sources"].values() if "first" in times]
    spilled = [name for name, kernel in out["kernels"].items() if kernel.get("local-bytes")]
    out["verdict"] = "measured" if done and times else "FAILED"
    out["finding"] = f"{len(times)} sources in {sum(times) / 1000:.1f} s" if done else done.why()
    if spilled:
        out["finding"] += f"; LOCAL MEMORY in {', '.join(spilled)}"


def lines(out: dict) -> list:
    if not out.get("sources"):
        return []
    rows = [
        [f"{source}.cu", *(f"{times[when]:.1f}" if when in times else "-" for when in ("first", "again"))]
        for source, times in out["sources"].items()
    ]
    text = ["Milliseconds to load a source, the first time and when the driver has kept what it made.", ""]
    text += table(["source", "first", "again"], rows)
    rows = [
        [f"`{name}`", *(f"{kernel.get(unit, -1):.0f}" for unit in ("registers", "local-bytes", "shared-bytes"))]
        for name, kernel in out["kernels"].items()
    ]
    text += ["", *table(["kernel", "registers a thread", "local bytes", "shared bytes of a block"], rows)]
    rows = [
        [precision, *(f"{found[way]:.0f}" for way in ("forward", "backward"))] if isinstance(found, dict) else [precision, found, ""]
        for precision, found in out.get("clusters", {}).items()
    ]
    if rows:
        text += ["", "Clusters of five blocks, of which the recipe's batch needs 17, that the card holds at once:", ""]
        text += table(["precision", "forward", "backward"], rows)
    return text
