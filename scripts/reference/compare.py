"""Measures steps of crnn and of PyTorch on the CPU in turns, so that a machine that slows
down or speeds up meanwhile does so for both: same threads, same batch size, same data set,
float32. A ratio of 2 says that crnn takes half of PyTorch's time."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

import idx

WARM_UP = 3  # steps of PyTorch before those that count, each round; the first of all compiles


def main() -> None:
    args = parse()
    environment = dict(os.environ)  # crnn's is the caller's
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is loaded
    import torch

    from pytorch_steps import Steps

    directory = idx.find(args.data)
    images, labels = idx.load(directory, "train" if args.mode == "train" else "test")
    steps = Steps(args.mode, images, labels, args.batch_size, args.threads, args.compiled)
    command = [args.crnn, "bench", "--json", "--device", "cpu", "--precision", "fp32", "--mode", args.mode,
               "--batch-size", str(args.batch_size), "--steps", str(args.steps),
               "--threads", str(args.threads), "--data", str(directory)]

    machine = {
        "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": torch.__version__, "torch_isa": torch.backends.cpu.get_cpu_capability(),
        "torch_mode": "compiled" if args.compiled else "eager",
    }
    setting = {"mode": args.mode, "threads": args.threads, "batch_size": args.batch_size, "steps": args.steps}
    if not args.json:
        print(f"{machine['cpu']}, {machine['cores']} cores; PyTorch {machine['torch']} {machine['torch_mode']}, "
              f"{machine['torch_isa']}")
        print(f"{args.mode}, {args.threads} threads, batch size {args.batch_size}; "
              f"median of {args.steps} steps, in ms\n\nround  PyTorch     crnn  ratio")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1:
        # PyTorch's threads wait for each other thousands of times a step, so it suffers most.
        print(f"crnn: other programs are at work (load average {os.getloadavg()[0]:.1f}), "
              "which slows PyTorch more than crnn; end them and measure again", file=sys.stderr)
    rounds = []
    for number in range(1, args.rounds + 1):
        steps.milliseconds(WARM_UP)
        pytorch = statistics.median(steps.milliseconds(args.steps))
        crnn = bench(command, environment, setting)
        rounds.append({"pytorch_ms": pytorch, "crnn_ms": crnn, "ratio": pytorch / crnn})
        if not args.json:
            print(f"{number:5}  {pytorch:7.2f}  {crnn:7.2f}  {pytorch / crnn:5.2f}", flush=True)
    ratios = [r["ratio"] for r in rounds]
    ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
    if args.json:
        print(json.dumps(machine | setting | {"rounds": rounds, "ratio": ratio, "ratio_min": low, "ratio_max": high}))
    else:
        print(f"\ncrnn is {ratio:.2f} times as fast as PyTorch ({low:.2f} to {high:.2f})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare-pytorch", description=__doc__)
    parser.add_argument("--crnn", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=("train", "eval"), default="train")
    for flag, default in (("--rounds", 5), ("--steps", 30), ("--threads", 2), ("--batch-size", 50)):
        parser.add_argument(flag, type=positive, default=default, help=f"default {default}")
    parser.add_argument("--compiled", action="store_true", help="PyTorch with torch.compile")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return int(text)


def bench(command: list[str], environment: dict[str, str], setting: dict) -> float:
    """The median step of one call of crnn bench, in ms."""
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"{command[0]} bench failed with exit code {done.returncode}")
    try:
        result = json.loads(done.stdout)
        step = result["step_ms"]
        measured = {key: result[key] for key in ("mode", "threads", "batch_size")}
    except (ValueError, KeyError) as error:
        sys.exit(f"{command[0]} bench: its JSON is not what was expected: {error!r}")
    for key, value in measured.items():
        if value != setting[key]:
            sys.exit(f"{command[0]} bench: measured with {key} {value}, not {setting[key]}")
    return step


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no Linux, or a processor without a name there
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
