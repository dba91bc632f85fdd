"""Writes the fixtures of testdata/, or checks that PyTorch still gives the same.

Without names all fixtures are made; a name such as rnn/recipe, or a folder such as rnn,
picks some. Those of the whole network need the data set.
"""

import argparse
import sys
from pathlib import Path

import torch

from cases import adam, convblock, head, network, rnn, schedule

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"
CASES = convblock.CASES | rnn.CASES | head.CASES | adam.CASES | schedule.CASES | network.CASES


def main() -> None:
    parser = argparse.ArgumentParser(prog="fixtures", description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; print differences, and exit with 1 if any")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this fixture, or those of this folder")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    args = parser.parse_args()

    network.DATA = args.data
    torch.set_num_threads(1)  # the same order of additions everywhere
    failed = False
    for name in chosen(args.only):
        path = TESTDATA / f"{name}.safetensors"
        fixture = CASES[name]()
        if not args.check:
            fixture.save(path)
            print(f"{name}: {path.stat().st_size:,} bytes")
        elif differences := fixture.differences(path):
            failed = True
            for line in differences:
                print(f"{name}: {line}", file=sys.stderr)
        else:
            print(f"{name}: as in the file")
    sys.exit(failed)


def chosen(only: list[str] | None) -> list[str]:
    """The names of the fixtures asked for, in their order."""
    for name in only or ():
        if not any(name == case or case.startswith(name + "/") for case in CASES):
            sys.exit(f"no fixture {name}; the fixtures are {', '.join(CASES)}")
    return [case for case in CASES if not only or case in only or case.split("/")[0] in only]


if __name__ == "__main__":
    main()
