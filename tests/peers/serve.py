"""The peer's own process: it answers requests on stdout, a JSON object per line."""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Protocol

CHECKED = 50  # images whose outputs are compared


class Peer(Protocol):
    versions: dict[str, str]
    images: int  # per step
    form: str  # how the images are grouped, such as "batch 50"

    def check(self) -> dict:
        """The peer's results with the given weights: "outputs", the logits (or in predict the
        probabilities) of the first CHECKED test images; in training also "losses", of the first batch
        of the training images in their order, before and after a step on it without dropout."""

    def milliseconds(self, steps: int) -> list[float]:
        """Makes a number of steps; returns the time of each."""


def arguments(**own) -> argparse.Namespace:
    """The arguments of every peer, and a peer's own: flags and their defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("train", "eval", "predict"), required=True)
    parser.add_argument("--batch-sizes", type=lambda text: [int(size) for size in text.split(",")], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    for name, default in own.items():
        if default is False:
            parser.add_argument("--" + name, action="store_true")
        else:
            parser.add_argument("--" + name, default=default)
    return parser.parse_args()


def fastest(peers: list[Peer]) -> Peer:
    """The peer with the least time per image; a single peer is not tried."""

    def per_image(peer: Peer) -> float:
        peer.milliseconds(3)
        return statistics.median(peer.milliseconds(max(5, 1000 // peer.images))) / peer.images

    return min(peers, key=per_image) if len(peers) > 1 else peers[0]


def serve(make) -> None:
    """Answers for the peer that make returns, until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = make()
    for line in sys.stdin:
        request = json.loads(line)
        if request == "check":
            answer = {"versions": peer.versions, "images": peer.images, "form": peer.form} | peer.check()
        else:
            answer = peer.milliseconds(request)
        print(json.dumps(answer), file=answers, flush=True)
