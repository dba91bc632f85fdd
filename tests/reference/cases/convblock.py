"""Convolution, batch normalisation, ReLU and max pooling as one operator.

A pool's gradient goes to its largest value, and ReLU's stops at 0. Where two values of a
pool, or a value and 0, are closer than float32 rounds, a right implementation may take the
other side and differ by a whole gradient. So every case keeps a margin there, or has exact
ties, of which the first takes the gradient.
"""

import numpy as np
import torch

from cases.draw import Draw
from fixturefile import Fixture
from model import conv_block

# Some thirty times the float32 error of a convolution block's values, which are about 1.
MARGIN = 3e-5


def case(seed: int, n: int, inputs: int, outputs: int, height: int, width: int, kernel: int,
         margin: float = MARGIN, **replaced) -> Fixture:
    """Random inputs, some of them replaced if given, and PyTorch's results."""
    draw = Draw(seed)
    bound = (inputs * kernel * kernel) ** -0.5
    given = {
        "x": draw.normal(n, inputs, height, width),
        "weight": draw.uniform(-bound, bound, outputs, inputs, kernel, kernel),
        "bias": draw.uniform(-bound, bound, outputs),
        "gamma": draw.uniform(0.5, 1.5, outputs),
        "beta": draw.normal(outputs, scale=0.3),
        "running_mean": draw.normal(outputs, scale=0.2),
        "running_var": draw.uniform(0.5, 1.5, outputs),
        "dy": draw.normal(n, outputs, height // 2, width // 2),
    }
    for name, value in replaced.items():
        given[name] = np.asarray(value(draw) if callable(value) else value, np.float32)

    fixture = Fixture(batch=n, **{"in": inputs}, out=outputs, height=height, width=width, kernel=kernel)
    fixture.given(**given)
    double, single = run(given, torch.float64), run(given, torch.float32)
    pooled = pools(double.pop("u"))[:, given["gamma"] != 0]  # with gamma 0 all is tied
    check_margin(drop_ties(pooled, pooled == pooled.amax(-1, keepdim=True)), margin)
    del single["u"]
    # Batch normalisation removes whatever the bias adds, so the bias's gradient is 0. PyTorch's result
    # is rounding.
    double["dbias"] = torch.zeros_like(double["dbias"])
    fixture.expect(double, single, zero=("dbias",))
    return fixture


def run(given: dict, dtype: torch.dtype) -> dict:
    """All results of the operator, and u, the values that are pooled."""
    g = {name: torch.from_numpy(value).to(dtype) for name, value in given.items()}
    outputs, inputs, kernel, _ = g["weight"].shape
    block = conv_block(inputs, outputs, kernel).to(dtype)
    conv, norm, _, _ = block
    with torch.no_grad():
        for to, name in ((conv.weight, "weight"), (conv.bias, "bias"), (norm.weight, "gamma"),
                         (norm.bias, "beta"), (norm.running_mean, "running_mean"),
                         (norm.running_var, "running_var")):
            to.copy_(g[name])
        y_eval = block.eval()(g["x"])
    block.train()
    x = g["x"].requires_grad_()
    u = norm(conv(x))
    y = block[2:](u)
    y.backward(g["dy"])
    return {
        "y_eval": y_eval, "y": y, "u": u,
        "running_mean_after": norm.running_mean, "running_var_after": norm.running_var,
        "dweight": conv.weight.grad, "dbias": conv.bias.grad,
        "dgamma": norm.weight.grad, "dbeta": norm.bias.grad, "dx": x.grad,
    }


def pools(values: torch.Tensor) -> torch.Tensor:
    """[n,C,H,W] to [n,C,pools,4], each pool's values in row-major order. A last odd row or column is
    in no pool."""
    values = values[..., :values.shape[2] // 2 * 2, :values.shape[3] // 2 * 2]
    n, c, h, w = values.shape
    return values.detach().reshape(n, c, h // 2, 2, w // 2, 2).transpose(3, 4).reshape(n, c, -1, 4)


def drop_ties(pooled: torch.Tensor, tied: torch.Tensor) -> torch.Tensor:
    """pooled with -inf in place of all but the first of the tied values of each pool."""
    return pooled.masked_fill(tied & (tied.cumsum(-1) > 1), -torch.inf)


def check_margin(pooled: torch.Tensor, margin: float) -> None:
    """Raises ValueError if the largest value of a pool is within margin of the next, or of 0.
    Pools without a gradient may hold any values."""
    first, second = pooled.topk(2).values.unbind(-1)
    gap = torch.where(first > 0, first - second, torch.inf)
    if (smallest := min(gap.min().item(), first.abs().min().item())) < margin:
        raise ValueError(f"a pool's choice hangs on {smallest:.1e}, less than {margin:.1e}: take other inputs")


def quarters(low: int, high: int, *shape: int):
    """Multiples of 1/4 in [low/4, high/4): few enough that pools hold equal values, and the
    convolution's sums are exact in float32, in whatever order they are added."""
    return lambda draw: draw.integers(low, high, *shape) / 4


def with_blank_images(draw: Draw) -> np.ndarray:
    """Images of which the second is blank, so that all of its pools are ties."""
    x = draw.integers(-4, 5, 3, 2, 8, 8) / 4
    x[1] = 0
    return x


CASES = {
    "convblock/layer1": lambda: case(1, 2, 1, 32, 28, 28, 5),
    "convblock/layer2": lambda: case(2, 2, 32, 64, 14, 14, 5),
    "convblock/odd-sizes": lambda: case(3, 3, 3, 5, 6, 10, 3),
    "convblock/kernel1": lambda: case(4, 1, 2, 17, 4, 4, 1),
    "convblock/kernel7": lambda: case(5, 2, 3, 18, 8, 12, 7),
    "convblock/kernel-above-image": lambda: case(6, 5, 2, 3, 2, 4, 7),
    "convblock/batch7": lambda: case(7, 7, 5, 9, 10, 6, 3),
    # Several groups of images, channels that fill no vector, an odd number of rows of 2x2 tiles and
    # more than a few in each.
    "convblock/kernel5-wide": lambda: case(12, 13, 9, 17, 6, 20, 5),
    # A last odd row, column, or both, in no pool; the last two in tiles of Winograd's.
    "convblock/odd-width": lambda: case(13, 3, 3, 5, 6, 7, 3),
    "convblock/odd-height": lambda: case(14, 3, 2, 18, 5, 8, 5),
    "convblock/odd-sides": lambda: case(15, 5, 9, 17, 7, 11, 5),
    "convblock/three-by-three": lambda: case(16, 9, 10, 12, 3, 3, 5),
    "convblock/colours": lambda: case(17, 2, 3, 32, 15, 11, 5),
    "convblock/one-pool": lambda: case(8, 1, 1, 1, 2, 2, 3),
    # If gamma is negative, the pool's largest value is the convolution's smallest. If it is 0, all
    # are equal to beta, which is above, below and at 0 here.
    "convblock/gamma-signs": lambda: case(
        9, 3, 3, 8, 6, 6, 3,
        gamma=[-1, 0, 0, 0.7, -0.3, 0, 2, -1.5], beta=[0.2, 0.5, -0.5, 0.1, 0.3, 0, -0.2, -0.1]),
    "convblock/ties": lambda: case(
        10, 3, 2, 6, 8, 8, 3, x=with_blank_images,
        weight=quarters(-1, 2, 6, 2, 3, 3), bias=quarters(-2, 3, 6), beta=[0.5, 0.3, -0.1, 0.4, 0.2, 0.6]),
    # A mean a thousand times the deviation: a variance computed as E[z²]-E[z]² is lost here.
    # float32 holds z itself to 6e-5 only, hence the wide margin.
    "convblock/large-mean": lambda: case(
        11, 4, 2, 3, 4, 6, 1, margin=2e-3, x=lambda draw: 1000 + draw.normal(4, 2, 4, 6)),
}
