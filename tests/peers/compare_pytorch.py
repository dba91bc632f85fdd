"""Measures steps of crnn and of PyTorch on the CPU in turns, so that a machine that slows
down or speeds up meanwhile does so for both: same threads, same batch size, same data set,
float32. A ratio of 2 says that crnn takes half of PyTorch's time."""

import argparse
import json
import os
import statistics
import sys

import idx
from turns import Crnn, Failed, machine, positive, summary, warn_if_busy

WARM_UP = 3  # uncounted steps of PyTorch in each round; the very first compiles


def main() -> None:
    args = parse()
    environment = dict(os.environ)  # crnn gets the caller's environment
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when PyTorch is loaded
    import torch

    from pytorch_steps import Steps

    directory = idx.find(args.data)
    images, labels = idx.load(directory, "train" if args.mode == "train" else "test")
    steps = Steps(args.mode, images, labels, args.batch_size, args.threads, args.compiled)
    crnn = Crnn(args.crnn, directory, environment)

    computer = machine() | {
        "torch": torch.__version__, "torch_isa": torch.backends.cpu.get_cpu_capability(),
        "torch_mode": "compiled" if args.compiled else "eager",
    }
    setting = {"mode": args.mode, "threads": args.threads, "batch_size": args.batch_size, "steps": args.steps}
    if not args.json:
        print(f"{computer['cpu']}, {computer['cores']} cores; PyTorch {computer['torch']} {computer['torch_mode']}, "
              f"{computer['torch_isa']}")
        print(f"{args.mode}, {args.threads} threads, batch size {args.batch_size}; "
              f"median of {args.steps} steps, in ms\n\nround  PyTorch     crnn  ratio")
    warn_if_busy()
    rounds = []
    for number in range(1, args.rounds + 1):
        steps.milliseconds(WARM_UP)
        pytorch = statistics.median(steps.milliseconds(args.steps))
        try:
            step = crnn.step_ms(**setting)
        except Failed as error:
            sys.exit(str(error))
        rounds.append({"pytorch_ms": pytorch, "crnn_ms": step, "ratio": pytorch / step})
        if not args.json:
            print(f"{number:5}  {pytorch:7.2f}  {step:7.2f}  {pytorch / step:5.2f}", flush=True)
    ratios = summary([r["ratio"] for r in rounds])
    if args.json:
        print(json.dumps(computer | setting | {"rounds": rounds} | ratios))
    else:
        print(f"\ncrnn is {ratios['ratio']:.2f} times as fast as PyTorch "
              f"({ratios['ratio_min']:.2f} to {ratios['ratio_max']:.2f})")


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


if __name__ == "__main__":
    main()
