"""Steps of the recipe in PyTorch on the CPU, for timing, on data of any shape."""

import time

import torch
import torch.nn.functional as F

from model import for_data, to_input


class Steps:
    """A network and its next batch, ready for the next step of training or evaluation."""

    def __init__(self, mode: str, images: torch.Tensor, labels: torch.Tensor, batch: int, threads: int,
                 compiled: bool):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self._images, self._labels, self._batch = images, labels.long(), batch
        self.net = for_data(images, int(labels.max()) + 1).train(mode == "train")
        self.forward = torch.compile(self.net, dynamic=False) if compiled else self.net
        self._step = self.train if mode == "train" else self._eval
        self._adam = torch.optim.Adam(self.net.parameters(), lr=0.0005)
        self._loss, self._hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def milliseconds(self, steps: int) -> list[float]:
        """Makes a number of steps, each of a random batch; returns the time of each."""
        times = []
        for _ in range(steps):
            batch = torch.randint(len(self._images), (self._batch,))
            start = time.perf_counter()
            self._step(batch)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def train(self, batch: torch.Tensor) -> torch.Tensor:
        """Makes a training step; returns the mean loss of the batch before it."""
        loss = self._totals(batch)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss

    @torch.no_grad()
    def _eval(self, batch: torch.Tensor) -> None:
        self._totals(batch)

    def _totals(self, batch: torch.Tensor) -> torch.Tensor:
        """Adds the loss and hits of a batch to the totals, as an epoch does; returns the mean loss."""
        target = self._labels[batch]
        logits = self.forward(to_input(self._images[batch]))
        loss = F.cross_entropy(logits, target)
        self._loss += loss.detach() * len(batch)
        self._hits += (logits.argmax(1) == target).sum()
        return loss
