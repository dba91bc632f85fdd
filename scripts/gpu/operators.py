"""Every operator, the whole network and thirty steps of training against PyTorch's fixtures: the
tests of package gpu, each test function in a process of its own, for a fault of the card spoils what
comes after it in the same process."""

import re

from report import block, table

TITLE = "Operators and trajectory against PyTorch's fixtures"
LIMIT = 150
AGAIN = 8  # failed tests that are run again alone

RESULT = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)")
CURRENT = re.compile(r"^=== (?:RUN|CONT|NAME)\s+(\S+)")
CRASH = re.compile(r"panic:|fatal error:|SIG[A-Z]+:")
LOG = re.compile(r"^\s+\S+\.go:\d+: (.*)")


class Results:
    """What the tests print with -test.v, read line by line."""

    def __init__(self):
        self.tests = {}  # by name: {"result", "seconds", "log"}
        self._current = None

    def line(self, text: str) -> None:
        if match := CURRENT.match(text):
            self._current = self._test(match[1])
        elif match := RESULT.match(text):
            test = self._test(match[2])
            test["result"], test["seconds"] = match[1].lower(), float(match[3])
        elif self._current is not None and text.startswith("    "):
            match = LOG.match(text)
            self._current["log"].append(match[1] if match else text.strip())

    def _test(self, name: str) -> dict:
        return self.tests.setdefault(name, {"result": "not ended", "seconds": 0.0, "log": []})

    def leaves(self) -> dict:
        """The tests that hold no others."""
        parents = {name.rpartition("/")[0] for name in self.tests}
        return {name: test for name, test in self.tests.items() if name not in parents}


def pattern(name: str) -> str:
    """The -test.run of exactly one test."""
    return "/".join(f"^{re.escape(part)}$" for part in name.split("/"))


def names(check) -> list:
    """The tests of operators with fixtures, by name, as the section found them or as they are when it did not run."""
    if not check.operator_tests:
        check.operator_tests = list(run_tests(check, ["-test.run", "^TestOperators$"], 60)[0])
    return check.operator_tests


def run_tests(check, arguments, limit) -> tuple:
    """Runs tests; returns their results and how the process ended."""
    results = Results()
    done = check.stream([*check.tests, "-test.v", *arguments], limit, results.line, folder=check.root / "gpu")
    return results.leaves(), done


def run(check, out: dict) -> None:
    out["tests"] = tests = {}
    out["broken"] = []  # processes that ended badly
    listed = check.call([*check.tests, "-test.list", "."], 30, folder=check.root / "gpu")
    functions = [name for name in listed.stdout.split() if name.startswith("Test")]
    if not functions:
        out["verdict"], out["finding"] = "FAILED", f"the tests do not start: {listed.why()}"
        return
    chosen = check.workload.tests or {name: f"^{name}$" for name in functions}
    for function in (name for name in functions if name in chosen):
        run_function(check, out, chosen[function])
    check.operator_tests = [name for name in tests if name.startswith("TestOperators/")]
    # Alone, a test shows whether it fails by itself or only after another.
    out["alone"] = alone = {}
    for name in [name for name, test in tests.items() if test["result"] in ("fail", "not ended")][:AGAIN]:
        found, done = run_tests(check, ["-test.run", pattern(name)], 30)
        alone[name] = found.get(name, {}).get("result", "not run") if done or found else done.why()
        check.save()


def run_function(check, out: dict, chosen: str) -> None:
    """Runs a test function. Where a test ends the process, or hangs, the others are run without it."""
    skipped, limit = [], 60
    while True:
        skip = ["-test.skip", "|".join(map(pattern, skipped))] if skipped else []
        found, done = run_tests(check, ["-test.run", chosen, *skip], limit)
        out["tests"].update(found)
        if not found and skipped:
            return
        culprits = [name for name, test in found.items() if test["result"] in ("fail", "not ended")]
        ended = done.code in (0, 1) and not done.timed_out  # 1: tests failed, and all were run
        if not ended or not found or bool(culprits) == bool(done):
            out["broken"].append(
                {"name": chosen, "in": culprits, "why": why(done, found), "stderr": excerpt(done.stderr)}
            )
        judge(out)
        check.save()
        if ended or not culprits or len(skipped) > 2:
            return
        skipped += culprits
        limit = 30


def why(done, found: dict) -> str:
    """Why a process is taken for broken."""
    return done.why() if not done else "a test did not end" if found else "no test was run"


def excerpt(stderr: str) -> list:
    """What matters of the output of a Go program that crashed."""
    lines = stderr.splitlines()
    start = next((number for number, line in enumerate(lines) if CRASH.match(line)), max(0, len(lines) - 15))
    return lines[start : start + 15]


def judge(out: dict) -> None:
    passed, failed, skipped, not_ended = count(out["tests"].values())
    right = passed and not failed and not not_ended and not out["broken"]
    out["verdict"] = "passed" if right else "FAILED"
    out["finding"] = (
        f"{passed} passed, {failed} failed, {skipped} skipped"
        + (f", {not_ended} not ended" if not_ended else "")
        + (f"; {len(out['broken'])} crashes or hangs" if out["broken"] else "")
    )


def count(tests) -> list:
    """How many of the tests passed, failed, were skipped, did not end."""
    return [sum(test["result"] == result for test in tests) for result in ("pass", "fail", "skip", "not ended")]


def lines(out: dict) -> list:
    tests = out.get("tests", {})
    groups = {}
    for name, test in tests.items():
        groups.setdefault(name.rpartition("/")[0] or name, []).append(test)
    rows = []
    for name, group in groups.items():
        rows.append([name, *count(group), f"{sum(test['seconds'] for test in group):.1f}"])
    text = table(["tests", "passed", "failed", "skipped", "not ended", "s"], rows)
    measured = [
        f"- {name}: {entry}" for name, test in tests.items() if test["result"] == "pass" for entry in test["log"]
    ]
    if measured:
        text += ["", "What tests that passed say:", "", *measured]
    skipped = [f"- {name}: {' '.join(test['log'])}" for name, test in tests.items() if test["result"] == "skip"]
    if skipped:
        text += ["", "Skipped:", "", *skipped]
    for name, test in tests.items():
        if test["result"] in ("fail", "not ended"):
            again = out.get("alone", {}).get(name)
            text += ["", f"**{name}**: {test['result']}" + (f"; alone: {again}" if again else "")]
            text += ["", *block(test["log"][:20])] if test["log"] else []
    for broken in out.get("broken", []):
        where = ", ".join(broken["in"]) or "no test that it named"
        text += ["", f"`-test.run {broken['name']}` broke off in {where}: {broken['why']}"]
        text += ["", *block(broken["stderr"])] if broken["stderr"] else []
    return text
