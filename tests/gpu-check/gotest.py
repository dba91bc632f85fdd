"""Reads the output of Go test and benchmark programs with -test.v, line by line."""

import re

CURRENT = re.compile(r"^=== (?:RUN|CONT|NAME)\s+(\S+)|^(Benchmark\S+)$")
RESULT = re.compile(r"^\s*--- (PASS|FAIL|SKIP|BENCH): (\S+)(?: \(([\d.]+)s\))?")
LOG = re.compile(r"^\s+\S+\.go:\d+: (.*)")
MEASURED = re.compile(r"^(Benchmark\S+?)(?:-\d+)?\s+1\s+(.*)")
METRIC = re.compile(r"(\S+) (\S+)")


class Results:
    """Tests and benchmarks by name: {"result", "seconds", "log"}, and "metrics" of a benchmark."""

    def __init__(self):
        self.tests = {}
        self._current = None

    def line(self, text: str) -> None:
        if match := CURRENT.match(text):
            self._current = self._test(match[1] or match[2])
        elif match := MEASURED.match(text):
            test = self._test(match[1])
            test["result"] = "pass"
            test["metrics"] = {unit: float(value) for value, unit in METRIC.findall(match[2].replace("\t", " "))}
        elif match := RESULT.match(text):
            test = self._test(match[2])
            if match[1] != "BENCH":  # which only heads a benchmark's log
                test["result"] = match[1].lower()
            test["seconds"] = float(match[3] or 0)
        elif self._current is not None and text.startswith("    "):
            match = LOG.match(text)
            self._current["log"].append(match[1] if match else text.strip())

    def _test(self, name: str) -> dict:
        return self.tests.setdefault(name, {"result": "not ended", "seconds": 0.0, "log": []})

    def leaves(self) -> dict:
        """The tests that contain no others."""
        return {
            name: test
            for name, test in self.tests.items()
            if not any(other.startswith(f"{name}/") for other in self.tests)
        }
