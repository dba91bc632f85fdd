"""Checks crnn on an NVIDIA GPU, measures it, and writes one report.

First, where crnn is built, --pack puts what the check needs into .tools/gpu-check. Then, on the
machine with the GPU, a copy of this tree with that folder is enough. The machine needs Python 3.10 or
newer and NVIDIA's driver, and PyTorch for the comparison with it, but no Go, no compiler and no
network.

The exit code is 0 if crnn computed correct results, and the same bits every time (the sections
operators and determinism); 1 if not, or if this was not checked; 2 if the command line is wrong."""

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import compiled
import determinism
import image
import kernels
import launch
import machine
import operators
import pack
import profiler
import pytorch
import sanitizer
import speed
import training
from contexts import Contexts
from limits import Check, Clock, CutShort
from report import Report
from workload import EMULATED, REAL

ROOT = Path(__file__).resolve().parents[2]
EMULATED_FOLDER = ROOT / ".tools" / "gpu-check-emulated"

# The most valuable first, so that a check that is cut off loses the least. The comparison with PyTorch
# takes the time that is left, except for the time that the sections after it need.
SECTIONS = [
    machine, operators, speed, kernels, launch, compiled, determinism, training, pytorch, profiler, image, sanitizer
]
# The sections that decide whether crnn is right.
DECISIVE = [operators, determinism]

# With --fail: a card that is lost after some kernels or, for a section without kernels, a driver whose
# compiler fails.
LOST = {"CRNN_EMULATOR_LOST_AFTER": "3"}
FAULTS = {"compiled": {"CRNN_EMULATOR_FAULT": "cuModuleLoadDataEx:218"}}


def main() -> None:
    args = parse()
    if args.pack:
        pack.pack(ROOT)
        return
    # A run that is ended from outside ends its programs, and keeps its report.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    try:
        sys.exit(0 if run(args, scratch) else 1)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def parse() -> argparse.Namespace:
    names = [section.__name__ for section in SECTIONS]
    parser = argparse.ArgumentParser(
        prog="gpu-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--pack", action="store_true", help="build what the check needs, and stop")
    action.add_argument("--run", action="store_true", help="check (the default)")
    action.add_argument(
        "--emulated",
        action="store_true",
        help="try the check without a GPU: a few steps on the emulated driver, whose times mean nothing, "
        "with PyTorch on the CPU",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="where REPORT-<card>.md and .json go (default docs/gpu; emulated, a folder in .tools)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="end after this time, with the results so far (default 8.8; emulated, 60)",
    )
    parser.add_argument(
        "--only", metavar="SECTION,…", default=",".join(names), help="some of the sections: " + ", ".join(names)
    )
    parser.add_argument(
        "--fail",
        metavar="SECTION",
        choices=names,
        help="emulated: the card is lost to the programs of this section, to see that the others keep theirs",
    )
    args = parser.parse_args()
    if args.fail and not args.emulated:
        parser.error("--fail: only with --emulated")
    args.only = args.only.split(",")
    if unknown := [name for name in args.only if name not in names]:
        parser.error(f"--only: there is no section {unknown[0]}; there are {', '.join(names)}")
    if args.emulated:
        args.out = args.out or EMULATED_FOLDER
        if (ROOT / "docs") in [args.out.resolve(), *args.out.resolve().parents]:
            parser.error("--out: emulated figures do not go into docs/")
    args.out = args.out or ROOT / "docs" / "gpu"
    args.minutes = args.minutes or (60 if args.emulated else 8.8)
    return args


def run(args: argparse.Namespace, scratch: Path) -> bool:
    """Runs the sections; returns whether crnn is right."""
    card = "emulated" if args.emulated else machine.card()
    if not card:
        sys.exit("gpu-check: nvidia-smi shows no GPU here; --emulated tries the check without one")
    clock = Clock(60 * args.minutes)
    check = Check(ROOT, scratch, pack.unpack(ROOT, scratch), clock, EMULATED if args.emulated else REAL)
    report = Report(args.out, card, check)
    check.save = report.save
    made = Contexts(scratch / "contexts")
    if args.emulated:
        check.environment["CRNN_EMULATOR_CONTEXTS"] = str(made.file)
    sections = [section for section in SECTIONS if section.__name__ in args.only]
    report.say(f"{card}: {', '.join(section.__name__ for section in sections)}")
    for section in sections:
        faults = FAULTS.get(section.__name__, LOST) if section.__name__ == args.fail else {}
        with check.within(faults):
            run_section(section, check, report, made)
    print("\n" + report.summary())
    return all(report.results.get(section.__name__, {}).get("verdict") == "passed" for section in DECISIVE)


def run_section(section, check: Check, report: Report, made: Contexts) -> None:
    """Runs one section. Its failure is written into the report, and the next section runs."""
    out = report.begin(section)
    with check.clock.section(section.LIMIT * check.workload.slowness):
        try:
            section.run(check, out)
        except CutShort as cut:
            end_early(out, "cut off", str(cut))
        except Exception as error:  # a result of an unexpected form, a full disk
            end_early(out, "broke off", f"{type(error).__name__}: {error}")
            out["trace"] = traceback.format_exc().splitlines()
        finally:
            out["seconds"] = round(check.clock.section_seconds(), 1)
            if programs := made.too_many():
                out["verdict"] = "FAILED"
                out["note"] = f"{', '.join(programs)} made more than one context in a process"
            report.save()
    report.say(f"{section.__name__}: {out['verdict']}; {out.get('finding') or out.get('note', '')}")


def end_early(out: dict, verdict: str, why: str) -> None:
    """Notes that a section did not end. A failure that it has found stays its verdict."""
    if out["verdict"] != "FAILED":
        out["verdict"] = verdict
    out["note"] = f"{verdict}: {why}" if out["verdict"] == "FAILED" else why


if __name__ == "__main__":
    main()
