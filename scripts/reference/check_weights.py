"""Loads weights that crnn wrote as a PyTorch user would, with every name and shape strict,
and prints what PyTorch makes of the test images, as JSON."""

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
    parser.add_argument("--count", type=int, help="the first so many test images only")
    parser.add_argument("--logits", action="store_true", help="add the logits of every image")
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


if __name__ == "__main__":
    main()
