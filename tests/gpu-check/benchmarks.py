"""The benchmarks of package gpu, for measurements that `crnn bench` does not make."""

from gotest import Results


def run(check, name: str, limit: float, environment: dict = {}) -> tuple:
    """Runs the benchmarks of a name in a separate process. Returns, by name, the metrics of those that ran and
    why others did not. A reason under the given name is about the process."""
    pattern = "/".join(f"^{part}$" for part in name.split("/"))
    command = [*check.tests, "-test.v", "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", "1x"]
    if check.workload.measure_steps:
        environment = environment | {
            "CRNN_MEASURE_BATCH": str(check.workload.batches[0]),
            "CRNN_MEASURE_STEPS": str(check.workload.measure_steps),
        }
    results = Results()
    done = check.stream(command, limit, results.line, folder=check.root / "gpu", environment=environment)
    metrics, reasons = {}, {}
    for benchmark, found in results.leaves().items():
        if "metrics" in found:
            metrics[benchmark] = found["metrics"]
        elif found["result"] != "pass":
            reasons[benchmark] = " ".join(found["log"]) or (done.why() if not done else found["result"])
    if not done and not reasons:
        reasons[name] = done.why()
    return metrics, reasons
