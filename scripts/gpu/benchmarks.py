"""The benchmarks of package gpu: what they measure, as they print it."""

import re

RESULT = re.compile(r"^(Benchmark\S+?)(?:-\d+)?\s+1\s+(.*)")
METRIC = re.compile(r"(\S+) (\S+)")
SKIPPED = re.compile(r"^\s*--- SKIP: (\S+)")
LOG = re.compile(r"^\s+\S+\.go:\d+: (.*)")


def run(check, name: str, limit: float, environment: dict = {}) -> tuple:
    """Runs the benchmarks of a name in a process. Returns their metrics by name, why others were skipped,
    by name, and how the process ended."""
    command = [*check.tests, "-test.run", "^$", "-test.bench", "/".join(f"^{part}$" for part in name.split("/"))]
    if check.workload.emulated:
        environment = environment | {
            "CRNN_MEASURE_BATCH": str(check.workload.batches[0]),
            "CRNN_MEASURE_STEPS": str(check.workload.launch_steps),
        }
    done = check.call([*command, "-test.benchtime", "1x"], limit, folder=check.root / "gpu", environment=environment)
    metrics, skipped, current = {}, {}, None
    for line in done.stdout.splitlines():
        if match := RESULT.match(line):
            metrics[match[1]] = {unit: float(value) for value, unit in METRIC.findall(match[2].replace("\t", " "))}
            current = None
        elif match := SKIPPED.match(line):
            current = match[1]
        elif current and (match := LOG.match(line)):
            skipped[current] = match[1]
    return metrics, skipped, done
