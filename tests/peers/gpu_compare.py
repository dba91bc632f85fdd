"""Measures steps of crnn and of PyTorch on a GPU in turns, so that a card that slows down or speeds
up meanwhile does so for both. Prints a JSON object per line: the versions, then each comparison when
it is done. A ratio of 2 says that crnn takes half of PyTorch's time."""

import argparse
import json
import shlex
import subprocess
import sys
import time

import torch

import idx
from gpu_steps import WAYS, Steps, error, median_and_spread, set_precision

MOST_STEPS = 1000  # per turn
LEAST_ROUNDS = 3


def main() -> None:
    args = parse()
    end = time.monotonic() + args.seconds
    device = torch.device(args.device)
    say(
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "device": name(device),
            "cudnn": torch.backends.cudnn.version(),
        }
    )
    data = {}
    for mode, split in (("train", "train"), ("eval", "test")):
        images, labels = idx.load(idx.find(args.data), split)
        data[mode] = images.to(device), labels.long().to(device)
    for number, setting in enumerate(args.compare, 1):
        if end - time.monotonic() < args.each / 2:
            break
        say({"begin": str(setting)})
        # Time is reserved only for the other settings of the first batch size: they matter most.
        later = sum(other.batch == args.compare[0].batch for other in args.compare[number:])
        say(compare(setting, data[setting.mode], args, end - args.each * later))


class Setting:
    """A setting to compare: mode:batch size:precision, as in train:50:fp32."""

    def __init__(self, text: str):
        mode, batch, self.precision = text.split(":")
        self.mode, self.batch = mode, int(batch)
        if mode not in ("train", "eval") or self.batch < 1 or self.precision not in ("fp32", "tf32", "bf16"):
            raise ValueError(text)

    def __str__(self) -> str:
        return f"{self.mode}:{self.batch}:{self.precision}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu-compare", description=__doc__)
    parser.add_argument(
        "--crnn",
        required=True,
        type=shlex.split,
        metavar="COMMAND",
        help="the program, after a command to run it under, if any",
    )
    parser.add_argument("--crnn-device", default="cuda")
    parser.add_argument("--device", default="cuda", help="PyTorch's device; cpu only tries this program")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument(
        "--turn", type=float, default=0.3, metavar="S", help="timed seconds per turn (default 0.3)"
    )
    parser.add_argument("--seconds", type=float, default=600, help="begin nothing new after this time (default 600)")
    parser.add_argument(
        "--each",
        type=float,
        default=9,
        metavar="S",
        help="expected time of a comparison, at least (default 9)",
    )
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=40,
        metavar="S",
        help="expected time of torch.compile (default 40)",
    )
    parser.add_argument(
        "compare", nargs="+", type=Setting, metavar="MODE:BATCH:PRECISION", help="such as train:50:fp32"
    )
    return parser.parse_args()


def say(result: dict) -> None:
    print(json.dumps(result), flush=True)


def name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def compare(setting: Setting, data, args, end: float) -> dict:
    """Turns of crnn and of each way to run PyTorch. If the time until end is too short, there are fewer
    rounds and no torch.compile; after end, the other comparisons need the time."""
    set_precision(setting.precision)
    result = {
        "mode": setting.mode,
        "batch_size": setting.batch,
        "precision": setting.precision,
        "ways": {},
        "failed": {},
    }
    result |= error(data[0][: setting.batch], setting.precision)
    runners = {}
    for way, (compiled, graphed) in WAYS.items():
        if args.device == "cpu" and way != "eager":
            result["failed"][way] = "only on a GPU"
            continue
        if compiled and end - time.monotonic() < args.compile_seconds + args.each:
            result["failed"][way] = "no time was left to compile"
            continue
        try:
            runners[way] = PyTorch(
                Steps(setting.mode, *data, setting.batch, setting.precision, compiled, graphed), args.turn
            )
        except Exception as problem:  # a failure of PyTorch is a result too
            result["failed"][way] = f"{type(problem).__name__}: {problem}".splitlines()[0][:300]
            check_device(args.device)
    runners["crnn"] = Crnn(args, setting)

    turns = {way: [] for way in runners}
    order = list(runners)
    for number in range(args.rounds):
        for way in order:
            turns[way].append(runners[way].turn())
        order = order[1:] + order[:1]  # the order changes, so that nobody always follows the same
        if number >= LEAST_ROUNDS - 1 and end < time.monotonic():
            break
    for way, times in turns.items():
        result["ways"][way] = {"ms": median_and_spread(times), "turns": times, "steps": runners[way].steps}
        if way != "crnn":
            result["ways"][way]["ratio"] = median_and_spread([t / c for t, c in zip(times, turns["crnn"])])
            result["ways"][way] |= {"wall_ms": runners[way].wall_ms(), "mean_loss": runners[way].mean_loss()}
    runners.clear()
    torch._dynamo.reset()
    if args.device != "cpu":
        torch.cuda.empty_cache()
    return result


def check_device(device: str) -> None:
    """Ends the program if the GPU no longer answers, so that the caller sees it."""
    try:
        if device != "cpu":
            torch.cuda.synchronize()
    except RuntimeError as problem:
        sys.exit(f"the GPU was lost to this process: {problem}")


class PyTorch:
    """Turns of one way to run PyTorch."""

    def __init__(self, steps: Steps, seconds: float):
        self._steps = steps
        steps.seconds(3)  # the first steps choose algorithms and compile
        step = steps.seconds(5) / 5
        self.steps = max(5, min(MOST_STEPS, int(seconds / step)))
        # The card lowered its clock between the turns: 200 ms of steps raise it, as in crnn bench.
        self._warm_up = max(2, min(MOST_STEPS, int(min(0.2, seconds) / step)))

    def turn(self) -> float:
        """The median time of a step, in ms."""
        self._steps.milliseconds(self._warm_up)
        return median_and_spread(self._steps.milliseconds(self.steps))["median"]

    def mean_loss(self) -> float:
        return self._steps.mean_loss()

    def wall_ms(self) -> float:
        """The mean time of a step by the host's clock."""
        return 1e3 * self._steps.seconds(self.steps) / self.steps


class Crnn:
    """Turns of crnn bench."""

    def __init__(self, args, setting: Setting):
        self._setting, self.steps = setting, 20
        self._command = [*args.crnn, *f"bench --json --device {args.crnn_device} --mode {setting.mode}".split()]
        self._command += ["--batch-size", str(setting.batch), "--precision", setting.precision]
        if args.data:
            self._command += ["--data", args.data]
        if args.turn:
            self.steps = max(20, min(MOST_STEPS, int(1.5e3 * args.turn / self.turn())))
        else:
            self.steps = 2

    def turn(self) -> float:
        done = subprocess.run([*self._command, "--steps", str(self.steps)], text=True, capture_output=True)
        if done.returncode:
            sys.exit(done.stderr.strip() or f"crnn bench failed with exit code {done.returncode}")
        result = json.loads(done.stdout)
        measured = [result[key] for key in ("mode", "batch_size", "precision")]
        if measured != [self._setting.mode, self._setting.batch, self._setting.precision]:
            sys.exit(f"crnn bench measured {measured}, not {self._setting}")
        return result["step_ms"]


if __name__ == "__main__":
    main()
