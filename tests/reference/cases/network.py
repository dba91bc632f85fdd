"""The whole network: weights, gradients, thirty steps of training, initial values.

The images are Fashion-MNIST's, or noise for networks of other sizes. Those of the gradient
fixtures are chosen so that no pool's choice hangs on rounding (see convblock.py). Of thirty
steps that cannot be asked: in some, one pool takes another of two nearly equal values, which
changes the gradient of a weight by a percent and the later losses by up to 1e-3. The initial
weights are chosen such that PyTorch's losses in float32, from weights moved by 2e-7 of
themselves in eight ways, stay within 1.2e-5 of those in float64; with other weights two right
implementations may differ by more than any useful tolerance.
"""

import dataclasses
import functools

import numpy as np
import torch
import torch.nn.functional as F

import idx
from cases.convblock import check_margin, drop_ties, pools
from fixturefile import Fixture, Weights
from model import CRNN, from_state_dict, to_input

# Some ten times the float32 error of a convolution block's values, which are about 1.
MARGIN = 1e-5

# Batch normalisation removes whatever these add: their gradient is 0.
CONV_BIASES = ("layer1.0.bias", "layer2.0.bias")

SMALL = [1301, 2534, 4278]  # the training images of network/small


@dataclasses.dataclass
class Sizes:
    """A network for images of another shape, and a batch of noise for it."""
    image: tuple[int, int, int]  # height, width, channels
    batch: int
    seed: int  # of the noise
    net: dict  # arguments of CRNN

    def images(self, seed: int) -> torch.Tensor:
        height, width, channels = self.image
        noise = np.random.RandomState(seed).randint(0, 256, (self.batch, channels, height, width))
        return torch.from_numpy(noise.astype(np.uint8))

    def labels(self) -> torch.Tensor:
        """Labels from the whole range of classes."""
        return torch.linspace(0, self.net["classes"] - 1, self.batch).to(torch.uint8)


# Names are height, width and channels of an image, and the number of classes. Sides of 30 and 22
# become 15 and 11, which a pool of 2x2 does not divide.
OTHERS = {
    "32x32x3-10": Sizes((32, 32, 3), 2, 1, dict(input_size=64, hidden_size=33, num_layers=2, classes=10)),
    "30x22x1-26": Sizes((30, 22, 1), 3, 1, dict(
        channels=(16, 24), input_size=28, hidden_size=40, num_layers=3, classes=26)),
    "64x48x3-100": Sizes((64, 48, 3), 2, 2, dict(
        channels=(16, 24), kernel=3, input_size=64, hidden_size=24, num_layers=2, classes=100)),
    "27x35x3-256": Sizes((27, 35, 3), 2, 1, dict(
        channels=(9, 12), kernel=5, input_size=32, hidden_size=16, num_layers=1, classes=256)),
}

DATA: str | None = None  # the directory of the data set, if not in its usual place


@functools.cache
def images(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return idx.load(idx.find(DATA), split)


def initial(name: str) -> CRNN:
    """A network with PyTorch's initial weights, whose running statistics have seen three
    batches, so that they are neither 0 nor 1."""
    torch.manual_seed(3)
    if name in OTHERS:
        sizes = OTHERS[name]
        net = CRNN(image_channels=sizes.image[2], dropout=0, **sizes.net)
        batches = [sizes.images(1000 + i) for i in range(3)]
    else:
        net = CRNN(dropout=0) if name == "recipe" else CRNN(
            channels=(8, 12), kernel=3, input_size=49, hidden_size=33, num_layers=2, classes=10, dropout=0)
        batches = images("train")[0][:60].split(20)
    net.train()
    with torch.no_grad():
        for batch in batches:
            net(to_input(batch))
    return net


def weights(name: str) -> Fixture:
    image = OTHERS[name].image if name in OTHERS else None
    return Weights(initial(name).state_dict(), image)


def gradients(name: str, indices: list[int] | None = None) -> Fixture:
    """Logits, loss and gradients of a batch in train mode, then the logits in eval mode,
    whose running statistics have seen this batch too."""
    state = initial(name).state_dict()
    if indices is None:
        pixels, labels = OTHERS[name].images(OTHERS[name].seed), OTHERS[name].labels()
        indices = range(len(labels))
    else:
        pixels, labels = (values[indices] for values in images("train"))
    double, single = (gradient_run(state, pixels, labels, dtype) for dtype in (torch.float64, torch.float32))
    if double["hits"] != single["hits"]:
        raise ValueError("which logit is largest hangs on rounding: take other images")

    first, second = (pools(double.pop(layer)) for layer in ("u1", "u2"))
    # Where a kernel covers only blank pixels, its value is the bias to the last bit.
    kernel = state["layer1.0.weight"].shape[2]
    blank = F.max_pool2d(to_input(pixels).amax(1, keepdim=True), kernel, stride=1, padding=(kernel - 1) // 2) == 0
    check_margin(drop_ties(first, pools(blank).expand_as(first)), MARGIN)
    check_margin(second, MARGIN)

    fixture = Fixture(batch=len(indices), weights=f"weights/{name}")
    fixture.given(indices=np.array(indices), images=pixels, labels=labels, hits=double.pop("hits"),
                  **{f"after.{layer}.1.num_batches_tracked": state[f"{layer}.1.num_batches_tracked"] + 1
                     for layer in ("layer1", "layer2")})
    for bias in CONV_BIASES:
        double[f"grad.{bias}"].zero_()
    losses = ["loss_sum", "loss_mean"]
    fixture.expect({k: double.pop(k) for k in losses}, {k: single[k] for k in losses}, np.float64)
    fixture.expect(double, single, zero=[f"grad.{bias}" for bias in CONV_BIASES])
    return fixture


def gradient_run(state: dict, pixels: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype) -> dict:
    net = without_dropout(state, dtype).train()
    pooled = {}
    # A hook that returned something would replace the module's output.
    hooks = [layer[1].register_forward_hook(lambda _, __, out, name=name: pooled.update({name: out}))
             for name, layer in (("u1", net.layer1), ("u2", net.layer2))]
    x, target = to_input(pixels, dtype), labels.long()
    logits = net(x)
    for hook in hooks:
        hook.remove()
    loss = F.cross_entropy(logits, target)
    loss.backward()
    result = {
        "logits": logits, "loss_mean": loss, "loss_sum": F.cross_entropy(logits, target, reduction="sum"),
        "hits": (logits.argmax(1) == target).sum(),
    }
    result |= {f"grad.{name}": p.grad for name, p in net.named_parameters()}
    result |= {f"after.{name}": b.clone() for name, b in net.named_buffers() if b.is_floating_point()}
    with torch.no_grad():
        result["logits_eval"] = net.eval()(x)
    return result | pooled


def without_dropout(state: dict, dtype: torch.dtype) -> CRNN:
    """PyTorch's dropout masks differ from crnn's, so fixtures of the whole network have none."""
    net = from_state_dict(state).to(dtype)
    net.rnn.dropout = 0.0
    return net


TRAJECTORY_STEPS, BATCH, LR, TESTED = 30, 50, 0.0005, 20


def trajectory() -> Fixture:
    """The loss of each of thirty steps of Adam over the first images of the training file in
    their order, the logits of the first test images after them, and of each parameter the
    length of the vector and of the way that it went. (Of the bias of a convolution, whose
    gradient is 0, the way is rounding, which Adam blows up; it is left out.)"""
    state = initial("recipe").state_dict()
    double, single = (trajectory_run(state, dtype) for dtype in (torch.float64, torch.float32))
    fixture = Fixture(weights="weights/recipe", steps=TRAJECTORY_STEPS, batch=BATCH, lr=LR, tested=TESTED)
    fixture.given(losses_float32=single["losses"].double())
    fixture.expect({"logits_eval": double.pop("logits_eval")}, single)
    fixture.expect(double, single, np.float64)
    return fixture


def trajectory_run(state: dict, dtype: torch.dtype) -> dict:
    net = without_dropout(state, dtype).train()
    adam = torch.optim.Adam(net.parameters(), lr=LR)
    pixels, labels = (values[:TRAJECTORY_STEPS * BATCH].split(BATCH) for values in images("train"))
    losses = []
    for x, target in zip(pixels, labels):
        loss = F.cross_entropy(net(to_input(x, dtype)), target.long())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.detach())
    with torch.no_grad():
        result = {"losses": torch.stack(losses), "logits_eval": net.eval()(to_input(images("test")[0][:TESTED], dtype))}
    for name, p in net.named_parameters():
        if name not in CONV_BIASES:
            result |= {f"length.{name}": p.norm(), f"way.{name}": (p - state[name].to(dtype)).norm()}
    return result


def initial_values() -> Fixture:
    """Of each parameter of the recipe the bounds [low, high] between which PyTorch's default
    initialisation draws it. They are derived here from the sizes of the layers, and checked
    against the parameters of many networks."""
    net = CRNN()
    bounds = {}
    for layer in (net.layer1, net.layer2):
        bounds |= {p: (layer[0].weight[0].numel()) ** -0.5 for p in layer[0].parameters()}
    bounds |= {p: net.rnn.hidden_size ** -0.5 for p in net.rnn.parameters()}
    bounds |= {p: net.fc.in_features ** -0.5 for p in net.fc.parameters()}
    ranges = {name: (-bounds[p], bounds[p]) if p in bounds else (p.min().item(), p.max().item())
              for name, p in net.named_parameters()}

    drawn = {name: [] for name in ranges}
    for seed in range(200):
        torch.manual_seed(seed)
        for name, p in CRNN().named_parameters():
            drawn[name] += [p.min().item(), p.max().item()]
    fixture = Fixture()
    for name, (low, high) in ranges.items():
        # Of 200 times 10 values and more, the largest is this close to the bound.
        slack = 0.01 * (high - low)
        least, most = min(drawn[name]), max(drawn[name])
        if not low - 1e-8 <= least <= low + slack or not high - slack <= most <= high + 1e-8:
            raise ValueError(f"{name}: PyTorch draws from [{least}, {most}], not [{low}, {high}]")
        fixture.given(**{name: np.array([low, high])})
    return fixture


CASES = {
    "weights/recipe": lambda: weights("recipe"),
    "weights/small": lambda: weights("small"),
    "network/recipe": lambda: gradients("recipe", [1063, 1414, 1927, 3828]),
    "network/small": lambda: gradients("small", SMALL),
    **{f"weights/{name}": functools.partial(weights, name) for name in OTHERS},
    **{f"network/{name}": functools.partial(gradients, name) for name in OTHERS},
    "trajectory": trajectory,
    "initial-values": initial_values,
}
