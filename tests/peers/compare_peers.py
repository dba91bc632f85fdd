"""Measures crnn on the CPU in turns with the other programs that can compute its network, so that a
machine that slows down or speeds up meanwhile does so for all: same threads, same data set, fp32 unless
the work says otherwise. Every peer's outputs, and in training its losses, are compared with PyTorch's
before it is timed. A ratio of 2 says that crnn takes half the time of the best peer. Every round has a
ratio; the median and range of the rounds are printed. Compiling and warming up do not count."""

import argparse
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys

import idx
from turns import Failed, machine, positive, summary, warn_if_busy
from workers import Different, Workers
from works import WORKS, Setting, Work

ROW = "{:<11} {:<22} {:>8}  {:<22} {:<9} {}"


def main() -> None:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the workers are stopped, so they must be ended
    data = idx.find(args.data)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    # One core of torch.compile's is enough, and its helpers would outlive it.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    computer = machine()
    hold_to(args.threads)
    crnn = subprocess.run([args.crnn, "version"], text=True, capture_output=True, check=True).stdout.splitlines()
    flags = ["--rounds", args.rounds, "--steps", args.steps, "--threads", args.threads]
    if args.data:
        flags += ["--data", args.data]
    command = shlex.join(["scripts/compare-peers", *args.work, *map(str, flags)])
    if not args.json:
        print(f"{computer['cpu']}, {computer['cores']} cores, {args.threads} threads; {crnn[0]}, {crnn[1]}")
        print(f"{command}\n")
        print(ROW.format("work", "of", "crnn", "ratio", "at least", "peers"))
    warn_if_busy()
    results = []
    try:
        with Workers(data, args.threads) as workers:
            setting = Setting(args.crnn, data, args.threads, args.steps, workers)
            for name in args.work:
                results += measure(name, setting, args)
    except Different as error:
        sys.exit(f"crnn: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if args.json:
        print(json.dumps({"command": command, "crnn": crnn, "machine": computer, "works": results}))
    if not any("ratio" in result for result in results):
        sys.exit("crnn: nothing could be measured")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare-peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="works:\n" + "\n".join(f"  {name:<11} {make.__doc__}" for name, make in WORKS.items()))
    parser.add_argument("--crnn", required=True, help=argparse.SUPPRESS)
    parser.add_argument("work", nargs="*", metavar="WORK", help="what to measure (default all)")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for flag, default in (("--rounds", 5), ("--steps", 30), ("--threads", min(2, processors))):
        parser.add_argument(flag, type=positive, default=default, help=f"default {default}")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    parser.add_argument("--json", action="store_true", help="a JSON object with every round")
    args = parser.parse_args()
    args.work = args.work or list(WORKS)
    for work in args.work:
        if work not in WORKS:
            parser.error(f"no work {work}; there are: {', '.join(WORKS)}")
    return args


def hold_to(threads: int) -> None:
    """Limits this process, and all that it starts, to a number of processors: XLA takes no other setting."""
    if not hasattr(os, "sched_setaffinity"):
        say("this system cannot hold JAX to a number of threads: it takes all, and stands beside")
        return
    processors = sorted(os.sched_getaffinity(0))
    if threads > len(processors):
        sys.exit(f"crnn: --threads {threads}: there are {len(processors)} processors")
    os.sched_setaffinity(0, sorted(processors, key=sibling)[:threads])


def sibling(processor: int) -> int:
    """The number of a processor among the threads of its core."""
    try:
        with open(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list") as file:
            first = file.read().replace("-", ",").split(",")[0]
    except OSError:
        return 0
    return processor - int(first)


def say(text: str) -> None:
    print(f"crnn: {text}", file=sys.stderr, flush=True)


def measure(name: str, setting: Setting, args: argparse.Namespace) -> list[dict]:
    """Measures a work of the command line, and prints a row for each of its parts."""
    results = []
    for work in WORKS[name](setting):
        about = {"work": work.name, "of": work.figure, "unit": work.unit, "at_least": work.bar}
        results.append(about | rounds(work, args.rounds))
        if not args.json:
            print(row(work, results[-1]), flush=True)
    return results


def rounds(work: Work, count: int) -> dict:
    """Takes turns: a first round that starts and warms up the programs, then the rounds that count."""
    turns = {"crnn": work.crnn} | work.peers
    failed, measured = {}, []
    for _ in range(1 + count):
        figures = {}
        for who, turn in list(turns.items()):
            try:
                figures[who] = turn()
            except Failed as error:
                failed[who] = str(error).removeprefix("crnn: ")
                del turns[who]
                if who == "crnn":
                    return {"failed": failed}
                say(f"{work.name}: {who}: {failed[who]}")
        measured.append(figures)
    measured = [{who: figures[who] for who in turns} for figures in measured[1:]]
    result = {"peers": work.about, "failed": failed, "rounds": measured}
    against = [who for who in turns if who != "crnn" and who not in work.beside]
    if against:
        result |= summary([min(figures[who] for who in against) / figures["crnn"] for figures in measured])
    return result


def row(work: Work, result: dict) -> str:
    if "ratio" not in result:
        why = result["failed"].get("crnn", "no peer to compare with")
        return f"{work.name:<11} {work.figure:<22} not measured: {why}"

    def figure(who: str) -> str:
        return text(statistics.median(figures[who] for figures in result["rounds"]), work.unit)

    def named(whose: list[str]) -> str:
        forms = {who: f" ({about['form']})" for who, about in work.about.items() if "form" in about}
        return ", ".join(f"{who} {figure(who)}{forms.get(who, '')}" for who in whose)

    peers = [who for who in result["rounds"][0] if who != "crnn"]
    beside = [who for who in peers if who in work.beside]
    ratio = f"{result['ratio']:.2f} ({result['ratio_min']:.2f} to {result['ratio_max']:.2f})"
    return ROW.format(work.name, work.figure, figure("crnn"), ratio, f"{work.bar:.2g}",
                      named([who for who in peers if who not in beside])
                      + (f"; beside: {named(beside)}" if beside else ""))


def text(value: float, unit: str) -> str:
    """A figure with three digits."""
    if unit == "ms" and value >= 1000:
        value, unit = value / 1000, "s"
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} {unit}"


if __name__ == "__main__":
    main()
