"""PyTorch as a peer, eager or compiled: the steps of pytorch_steps.py, and in predict one image at a
time."""

import time

import safetensors.torch
import torch

import idx
from model import from_state_dict, to_input
from pytorch_steps import Steps
from serve import CHECKED, arguments, fastest, serve

VERSIONS = {"PyTorch": torch.__version__, "PyTorch's instructions": torch.backends.cpu.get_cpu_capability()}


class Training:
    """A step of training or evaluation of a random batch."""

    versions = VERSIONS

    def __init__(self, args, batch_size: int):
        self._args, self.images, self.form = args, batch_size, f"batch {batch_size}"
        self._train = args.mode == "train"
        images, labels = idx.load(args.data, "train" if self._train else "test")
        self._steps = Steps(args.mode, images, labels, batch_size, args.threads, args.compiled)
        self.milliseconds = self._steps.milliseconds

    def check(self) -> dict:
        images, _ = idx.load(self._args.data, "test")
        net = self._steps.net
        net.load_state_dict(safetensors.torch.load_file(self._args.weights))
        net.eval()
        with torch.no_grad():
            outputs = self._steps.forward(to_input(images[: self.images]))[:CHECKED]
        if not self._train:
            return {"outputs": outputs.tolist()}
        net.train()
        dropout, net.rnn.dropout = net.rnn.dropout, 0.0
        losses = [self._steps.train(torch.arange(self.images)).item() for _ in range(2)]
        net.rnn.dropout = dropout
        return {"outputs": outputs.tolist(), "losses": losses}


class Prediction:
    """From the bytes of an image to its probabilities."""

    versions, images, form = VERSIONS, 1, "batch 1"

    def __init__(self, args):
        torch.set_num_threads(args.threads)
        self._net = from_state_dict(safetensors.torch.load_file(args.weights))
        self._images, _ = idx.load(args.data, "test")

    def check(self) -> dict:
        return {"outputs": [self._probabilities(image).tolist() for image in self._images[:CHECKED]]}

    def milliseconds(self, steps: int) -> list[float]:
        times = []
        for image in self._images[:steps]:
            start = time.perf_counter()
            self._probabilities(image)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    @torch.inference_mode()
    def _probabilities(self, image: torch.Tensor) -> torch.Tensor:
        return self._net(to_input(image[None]))[0].softmax(0)


def make():
    args = arguments(compiled=False)
    if args.mode == "predict":
        return Prediction(args)
    return fastest([Training(args, size) for size in args.batch_sizes])


serve(make)
