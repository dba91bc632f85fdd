"""Every operator, the whole network and thirty steps of training against PyTorch's fixtures: the
tests of package gpu. Each precision has its own process, and so have the other tests. A process makes
one context of the card, and ends when a fault has ruined it. Another process then runs the remaining
tests."""

import re

from gotest import Results
from report import block, table
from workload import OPERATORS

TITLE = "Operators and trajectory against PyTorch's fixtures"
# On an H200 by arithmetic: a process some 3 s for its start and the driver's compiling, and a test some
# 30 ms for its fixture and kernels, so 36 tests of a precision some 4 s; TestTrajectory and the
# comparisons with the CPU some 10 s. A section that needs less leaves its time to the others.
LIMIT = 250
PROCESS_LIMIT = 120  # seconds for all processes of the same tests
PROCESSES = 3  # of the same tests at most, after faults
LEAST = 20  # seconds that a hanging process leaves to each one that has not begun
AGAIN = 4  # failed tests that are run again alone

CRASH = re.compile(r"panic:|fatal error:|SIG[A-Z]+:")


def pattern(name: str) -> str:
    """The -test.run of exactly one test."""
    return "/".join(f"^{re.escape(part)}$" for part in name.split("/"))


def names(check) -> list:
    """The names of the tests of operators with fixtures: those that ran, or all if the section did not run."""
    if not check.operator_tests:
        check.operator_tests = list(run_tests(check, ["-test.run", f"^{OPERATORS}$"], 60)[0])
    return check.operator_tests


def run_tests(check, arguments, limit) -> tuple:
    """Runs tests; returns their results and how the process ended."""
    results = Results()
    done = check.stream([*check.tests, "-test.v", *arguments], limit, results.line, folder=check.root / "gpu")
    return results.leaves(), done


def run(check, out: dict) -> None:
    out["tests"] = {}
    out["broken"] = []  # processes that ended badly
    groups = [Group(name, *patterns) for name, patterns in check.workload.tests.items()]
    # Every group gets a first process before any gets a second.
    for attempt in range(PROCESSES):
        waiting = [group for group in groups if not group.done]
        for number, group in enumerate(waiting):
            if attempt > 0 and group.left < 5:
                continue
            after = LEAST * check.workload.slowness * (len(waiting) - 1 - number)
            group.run(check, out, min(group.left, (check.clock.left() - after) / check.workload.slowness))
    if unfinished := [group for group in groups if not group.done]:
        out["note"] = "not all tests were run: " + "; ".join(
            f"of {group.name} those after {group.culprit}" for group in unfinished
        )
    tests = out["tests"]
    check.operator_tests = [name for name in tests if name.startswith(f"{OPERATORS}/")]
    # Run alone, a test shows whether it fails by itself or only after another.
    out["alone"] = alone = {}
    for name in [name for name, test in tests.items() if test["result"] in ("fail", "not ended")][:AGAIN]:
        found, done = run_tests(check, ["-test.run", pattern(name)], 30)
        alone[name] = found.get(name, {}).get("result", "not run") if done or found else done.why()
        check.save()


class Group:
    """Tests that run in one process; after a fault, the rest run in another."""

    def __init__(self, name: str, chosen: str, skipped: str):
        self.name, self._chosen, self._skipped = name, chosen, skipped
        self._seen = []
        self.left = PROCESS_LIMIT
        self.done = False
        self.culprit = ""

    def run(self, check, out: dict, limit: float) -> None:
        skip = "|".join([self._skipped] * bool(self._skipped) + [pattern(test) for test in self._seen])
        found, done = run_tests(check, ["-test.run", self._chosen, *(["-test.skip", skip] if skip else [])], limit)
        self.left -= done.seconds / check.workload.slowness
        # A process that finds all its tests done has run nothing.
        found = {name: test for name, test in found.items() if not any(s.startswith(f"{name}/") for s in self._seen)}
        if not found and self._seen:
            self.done = True
            return
        out["tests"].update(found)
        culprits = [name for name, test in found.items() if test["result"] in ("fail", "not ended")]
        ended = done.code in (0, 1) and not done.timed_out  # 1: tests failed, and all were run
        if not ended or not found or bool(culprits) == bool(done):
            out["broken"].append(
                {"name": self.name, "in": culprits[-1:], "why": why(done, found), "stderr": excerpt(done.stderr)}
            )
        self.done = ended or not culprits
        self.culprit = culprits[-1] if culprits else ""
        self._seen += found
        judge(out)
        check.save()


def why(done, found: dict) -> str:
    """Why a process counts as broken."""
    return done.why() if not done else "a test did not end" if found else "no test was run"


def excerpt(stderr: str) -> list:
    """The important lines of the output of a Go program that crashed."""
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
    """The numbers of tests that passed, failed, were skipped, did not end."""
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
        text += ["", f"The process of {broken['name']} broke off in {where}: {broken['why']}"]
        text += ["", *block(broken["stderr"])] if broken["stderr"] else []
    return text
