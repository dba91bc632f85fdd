"""Tests of the check itself, on the emulated driver and with the files of `scripts/gpu-check --pack`: each
section fails in turn, and the others keep their results.

    python3 tests/gpu-check/dry_run_test.py"""

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import check
import profiler
from contexts import Contexts
from limits import Check, Clock
from gotest import Results
from pack import Tools
from workload import EMULATED

COMMAND = Path(check.__file__).with_name("check.py")
NEIGHBOUR = "compiled"  # a section that takes seconds

# Stand-ins for NVIDIA's tools: each runs the program to examine. Without a card the program ends as it
# would under the real tool, and so does the stand-in.
NCU = """#!/bin/sh
while :; do case $1 in --csv) shift ;; --*) shift 2 ;; *) break ;; esac; done
"$@" >/dev/null || exit
echo '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
# As many lines as ncu prints: 22 kernels with 7 counters each.
for id in $(seq 0 21); do
	for counter in gpu__time_duration.sum 2 3 4 5 6 7; do
		printf '"%s","%s","%s","ns","1,984"\\n' $id "conv_backward_weight_64_bf16(const float *, const float *, int)" $counter
	done
done
"""
SANITIZER = """#!/bin/sh
while :; do case $1 in --*) shift 2 ;; *) break ;; esac; done
"$@"
status=$?
echo '========= ERROR SUMMARY: 0 errors'
exit $status
"""


def dry_run(out: Path, *arguments: str, tools: dict = {}) -> tuple:
    """The check on the emulated driver: its exit code and the sections of its report."""
    folder = out / "tools"
    folder.mkdir(parents=True)
    for name, text in tools.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(COMMAND), "--emulated", "--out", str(out), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        figures = json.loads((out / "REPORT-emulated.json").read_text())
    except OSError:
        raise AssertionError(f"no report; exit code {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.returncode, figures["sections"], (out / "REPORT-emulated.md").read_text()


class EachSectionFails(unittest.TestCase):
    """The card is lost to one section's programs. The report says so, and has the others' results."""

    def fails(self, name: str):
        tools = {"ncu": NCU, "compute-sanitizer": SANITIZER}
        neighbour = NEIGHBOUR if name != NEIGHBOUR else "profiler"
        with tempfile.TemporaryDirectory() as folder:
            code, sections, page = dry_run(
                Path(folder), "--fail", name, "--only", f"{name},{neighbour}", "--minutes", "10", tools=tools
            )
        self.assertEqual(code, 1)
        if name in ("image", "pytorch") and sections[name]["verdict"] == "not there":
            self.skipTest(sections[name]["finding"])
        self.assertIn(sections[name]["verdict"], ("FAILED", "broke off", "cut off"), sections[name])
        self.assertEqual(sections[neighbour]["verdict"], "measured", sections[neighbour])
        titles = {section.__name__: section.TITLE for section in check.SECTIONS}
        for section in (name, neighbour):
            self.assertIn(f"## {titles[section]}", page)
            self.assertNotIn("could not be written", page)
            self.assertNotIn("trace", sections[section])


for section in check.SECTIONS:
    setattr(EachSectionFails, f"test_{section.__name__}", lambda self, name=section.__name__: self.fails(name))


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        scratch = Path(self.folder.name)
        tools = Tools(scratch / "crnn", scratch / "tests", scratch, None, {}, False)
        self.check = Check(check.ROOT, scratch, tools, Clock(60), EMULATED)

    def test_one_that_hangs_is_ended(self):
        """The programs that it started end too, and the report has their output."""
        start = time.monotonic()
        done = self.check.call(["sh", "-c", "echo begun; trap '' TERM; sleep 600 & wait"], 1 / EMULATED.slowness * 2)
        self.assertTrue(done.timed_out)
        self.assertFalse(done)
        self.assertEqual(done.stdout, "begun")
        self.assertLess(time.monotonic() - start, 30)

    def test_a_section_that_breaks_off_leaves_the_others(self):
        class Broken:
            __name__, TITLE, LIMIT = "broken", "Broken", 10

            @staticmethod
            def run(_, out):
                out["finding"] = "half"
                raise ZeroDivisionError("a result of an unexpected form")

            @staticmethod
            def lines(out):
                return [out["finding"]]

        class Whole(Broken):
            __name__, TITLE = "whole", "Whole"

            @staticmethod
            def run(_, out):
                out["verdict"], out["finding"] = "measured", "all"

        out = self.check.scratch / "out"
        self.check.tools.manifest["packed"] = "now"
        report = check.Report(out, "no card", self.check)
        self.check.save = report.save
        for section in (Broken(), Whole()):
            check.run_section(section, self.check, report, Contexts(out / "none"))
        sections = json.loads(report.figures.read_text())["sections"]
        self.assertEqual(sections["broken"]["verdict"], "broke off")
        self.assertEqual(sections["broken"]["finding"], "half")
        self.assertEqual(sections["whole"], sections["whole"] | {"verdict": "measured", "finding": "all"})
        self.assertIn("ZeroDivisionError", report.page.read_text())

    def test_contexts_are_counted_by_process(self):
        file = self.check.scratch / "contexts"
        made = Contexts(file)
        self.assertEqual(made.too_many(), [])
        file.write_text("1\tcrnn\t1\n2\tcrnn\t1\n")
        self.assertEqual(made.too_many(), [])
        with file.open("a") as more:
            more.write("3\tgpu.test\t1\n3\tgpu.test\t2\n")
        self.assertEqual(made.too_many(), ["gpu.test"])
        self.assertEqual(made.too_many(), [])


class Reading(unittest.TestCase):
    def test_tests_that_end_the_process(self):
        results = Results()
        for line in ("=== RUN   TestA", "=== RUN   TestA/b", "    --- PASS: TestA/b (0.10s)", "=== RUN   TestA/c"):
            results.line(line)
        found = {name: test["result"] for name, test in results.leaves().items()}
        self.assertEqual(found, {"TestA/b": "pass", "TestA/c": "not ended"})

    def test_benchmarks(self):
        results = Results()
        for line in (
            "BenchmarkModule",
            "BenchmarkWaves",
            "BenchmarkModule/conv/load",
            "BenchmarkModule/conv/load-16         \t       1\t        12.50 load-ms",
            "BenchmarkWaves/bulk/chains=17",
            "    probe_test.go:263: the card has no clusters",
            "--- SKIP: BenchmarkWaves/bulk/chains=17",
            "BenchmarkWaves/async/chains=1",
            "    probe_test.go:140: word 3 is 0x1, want 0x2",
            "--- FAIL: BenchmarkWaves/async/chains=1",
            "BenchmarkClusters/fp32",
            "BenchmarkClusters/fp32-16 \t       1\t        24.00 backward\t        26.00 forward",
        ):
            results.line(line)
        found = results.leaves()
        self.assertNotIn("BenchmarkWaves", found)
        self.assertEqual(found["BenchmarkModule/conv/load"]["metrics"], {"load-ms": 12.5})
        self.assertEqual(found["BenchmarkClusters/fp32"]["metrics"], {"backward": 24, "forward": 26})
        for name, result, log in (
            ("BenchmarkWaves/bulk/chains=17", "skip", "the card has no clusters"),
            ("BenchmarkWaves/async/chains=1", "fail", "word 3 is 0x1, want 0x2"),
        ):
            self.assertEqual((found[name]["result"], found[name]["log"]), (result, [log]))

    def test_counters_of_each_launch(self):
        text = (
            "==PROF== Connected\n"
            '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
            '"0","adam(float *)","gpu__time_duration.sum","ns","1,984"\n'
            '"0","adam(float *)","lts__t_sectors.avg.pct_of_peak_sustained_elapsed","%","12.5"\n'
            '"1","adam(float *)","gpu__time_duration.sum","ns","7"\n'
        )
        counter = "lts__t_sectors.avg.pct_of_peak_sustained_elapsed"
        self.assertEqual(
            profiler.read(text.splitlines()),
            [
                {"kernel": "adam", "gpu__time_duration.sum": "1984", counter: "12.5"},
                {"kernel": "adam", "gpu__time_duration.sum": "7"},
            ],
        )
        self.assertEqual(profiler.read(["==ERROR== no permission"]), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
