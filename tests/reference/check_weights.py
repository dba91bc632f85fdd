"""Loads weights from crnn as a PyTorch user would, with every name and shape strict, and prints
PyTorch's results for the test images, as JSON."""

import argparse
import json
import sys

import safetensors
import safetensors.torch

import idx
from model import from_state_dict
from train import evaluate, logits_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="check-weights", description=__doc__)
    parser.add_argument("weights", metavar="FILE", help="a safetensors file")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    parser.add_argument("--count", type=int, help="only this many test images, from the first")
    parser.add_argument("--logits", action="store_true", help="add the logits of every image")
    parser.add_argument(
        "--like", type=json.loads, metavar="JSON", help="fail unless these results of crnn eval --json are the same"
    )
    args = parser.parse_args()

    try:
        net = from_state_dict(safetensors.torch.load_file(args.weights))
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError) as error:
        sys.exit(f"{args.weights}: {error!r}")
    images, labels = (values[:args.count] for values in idx.load(idx.find(args.data), "test"))
    loss, accuracy = evaluate(net, images, labels)
    result = {"split": "test", "count": len(images), "loss": loss, "accuracy": accuracy}
    if args.logits:
        result["logits"] = logits_of(net, images).tolist()
    print(json.dumps(result))
    if args.like and not agree(result, args.like):
        sys.exit(f"{args.weights}: crnn has other results for the test images: {args.like}")


def agree(ours: dict, theirs: dict) -> bool:
    """Whether two results are the same except for the order of additions in float32: some 1e-6
    of a logit and so of the loss, which may turn a few images that are a tie between two
    classes."""
    return (ours["count"] == theirs["count"] and abs(ours["loss"] / theirs["loss"] - 1) < 1e-5
            and abs(ours["accuracy"] - theirs["accuracy"]) <= 100 * 3 / ours["count"])


if __name__ == "__main__":
    main()
