"""Steps of the recipe in PyTorch on a GPU, for timing: with the data set on the GPU, and in every way
that PyTorch offers."""

import copy
import statistics
import time

import torch
import torch.nn.functional as F

from model import CRNN, to_input

# How the steps are run: with torch.compile or not, each captured as a CUDA graph or not.
WAYS = {
    "eager": (False, False),
    "graphed": (False, True),
    "compiled": (True, False),
    "compiled, graphed": (True, True),
}


def set_precision(precision: str) -> None:
    """fp32 is true fp32; tf32 is what PyTorch does unless it is told otherwise, TF32 in cuDNN's
    convolutions and RNN; bf16 adds autocast, in Steps."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True  # the sizes never change: let cuDNN try its algorithms


class Steps:
    """A network with its data, ready for the next step of training or evaluation."""

    def __init__(
        self,
        mode: str,
        images: torch.Tensor,
        labels: torch.Tensor,
        batch: int,
        precision: str,
        compiled: bool,
        graphed: bool,
    ):
        """images as bytes and labels as int64, on the device to compute on."""
        torch.manual_seed(1)
        self._device = images.device
        self._images, self._labels = images, labels
        self._autocast = precision == "bf16"
        self._net = CRNN().to(self._device).train(mode == "train")
        # torch.compile leaves an RNN to cuDNN and stops at it, so the parts before and after it are
        # compiled separately.
        self._sequence, self._outcome = (
            torch.compile(f, dynamic=False) if compiled else f for f in (sequence, outcome)
        )
        self._step = self._train if mode == "train" else self._eval
        self._adam = torch.optim.Adam(self._net.parameters(), lr=0.0005, fused=True, capturable=graphed)
        self._loss = torch.zeros((), device=self._device)
        self._hits = torch.zeros((), dtype=torch.int64, device=self._device)
        self._order, self._next = torch.randperm(len(images), device=self._device), 0
        self._batch = self._order[:batch].clone()  # the indices of the current batch
        self._run = self._capture().replay if graphed else self._step
        self._loss.zero_()
        self._images_seen = 0

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The step as a CUDA graph, which reads the indices of its batch from self._batch."""
        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):  # the choice of algorithms and the compiling cannot be captured
            for _ in range(5):
                self._step()
        torch.cuda.current_stream().wait_stream(warm_up)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph

    def milliseconds(self, steps: int) -> list[float]:
        """Makes a number of steps, each of the next batch; returns the time of each."""
        marks = [self._mark()]
        for _ in range(steps):
            self._next_batch()
            self._run()
            marks.append(self._mark())
        self.wait()
        return [between(first, second) for first, second in zip(marks, marks[1:])]

    def seconds(self, steps: int) -> float:
        """Makes a number of steps; returns the time of all together, by the host's clock."""
        self.wait()
        start = time.perf_counter()
        for _ in range(steps):
            self._next_batch()
            self._run()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def mean_loss(self) -> float:
        """The mean loss of all steps so far: a falling loss shows that they train."""
        return self._loss.item() / self._images_seen

    def _mark(self):
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _next_batch(self) -> None:
        size = len(self._batch)
        if self._next + size > len(self._order):
            self._next = 0
        self._batch.copy_(self._order[self._next : self._next + size])
        self._next += size
        self._images_seen += size

    def _train(self) -> None:
        loss = self._totals()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()

    @torch.no_grad()
    def _eval(self) -> None:
        self._totals()

    def _totals(self) -> torch.Tensor:
        """Adds the loss and hits of a batch to the totals, as an epoch does; returns the mean loss."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            out, _ = self._net.rnn(self._sequence(self._net, self._images, self._batch))
            loss, hits = self._outcome(self._net, out, self._labels, self._batch)
        self._loss += loss.detach() * len(self._batch)
        self._hits += hits
        return loss


def sequence(net: CRNN, images: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """The RNN's input for a batch: the first half of CRNN.forward."""
    x = net.layer2(net.layer1(to_input(images[batch])))
    return x.reshape(len(x), -1, net.input_size)


def outcome(
    net: CRNN, out: torch.Tensor, labels: torch.Tensor, batch: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss and hits of a batch from the RNN's output: the second half."""
    logits, target = net.fc(out[:, -1]), labels[batch]
    return F.cross_entropy(logits, target), (logits.argmax(1) == target).sum()


def between(first, second) -> float:
    """Milliseconds from one mark to another."""
    return 1e3 * (second - first) if isinstance(first, float) else first.elapsed_time(second)


@torch.no_grad()
def error(images: torch.Tensor, precision: str) -> dict:
    """How far the logits of some images are from those in float64, ‖a - b‖ / ‖b‖, which tells true
    fp32 from TF32; and in which type the RNN computes."""
    torch.manual_seed(1)
    net = CRNN().to(images.device).eval()
    types = []
    net.rnn.register_forward_hook(lambda module, given, result: types.append(str(result[0].dtype)))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = net(to_input(images)).double()
    exact = copy.deepcopy(net).double()(to_input(images, torch.float64))
    return {
        "logits_error": ((logits - exact).norm() / exact.norm()).item(),
        "rnn_type": types[0].removeprefix("torch."),
    }


def median_and_spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
