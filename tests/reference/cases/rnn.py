"""An Elman RNN of several layers, read at its last step."""

import numpy as np
import torch
from torch import nn

import philox
from cases.draw import Draw
from fixturefile import Fixture


def case(seed: int, n: int, steps: int, inputs: int, hidden: int, layers: int,
         weight_scale: float = 1.0, input_scale: float = 1.0,
         dropout: float = 0.0, dropout_seed: int = 0, dropout_step: int = 0) -> Fixture:
    """Random weights and inputs, scaled, and PyTorch's results. The masks of
    dropout are those of crnn's generator, which philox.py computes a second time."""
    draw = Draw(seed)
    given = {"x": draw.normal(n, steps, inputs, scale=input_scale), "dy": draw.normal(n, hidden)}
    bound = weight_scale * hidden ** -0.5
    for layer in range(layers):
        given |= {
            f"weight_ih_l{layer}": draw.uniform(-bound, bound, hidden, hidden if layer else inputs),
            f"weight_hh_l{layer}": draw.uniform(-bound, bound, hidden, hidden),
            f"bias_ih_l{layer}": draw.uniform(-bound, bound, hidden),
            f"bias_hh_l{layer}": draw.uniform(-bound, bound, hidden),
        }
    fixture = Fixture(batch=n, steps=steps, **{"in": inputs}, hidden=hidden, layers=layers, dropout=dropout)
    fixture.given(**given)
    masks = None
    if dropout:
        philox.check_published_vectors()
        masks = np.stack([
            philox.dropout_mask(layer, n, steps, hidden, dropout, dropout_seed, dropout_step)
            for layer in range(layers - 1)])
        fixture.meta |= {"seed": str(dropout_seed), "step": str(dropout_step)}
        fixture.given(masks=masks)
    double, single = (run(given, layers, masks, dropout, dtype) for dtype in (torch.float64, torch.float32))
    # With one step, the only hidden state before it is 0.
    unused = [f"dweight_hh_l{layer}" for layer in range(layers)] if steps == 1 else []
    fixture.expect(double, single, zero=unused)
    return fixture


def run(given: dict, layers: int, masks: np.ndarray | None, dropout: float, dtype: torch.dtype) -> dict:
    """Output and gradients. PyTorch draws masks of its own, so with masks given the layers
    are run one by one and each output but the last is multiplied by its mask."""
    g = {name: torch.from_numpy(value).to(dtype) for name, value in given.items()}
    x = g["x"].requires_grad_()
    inputs, hidden = x.shape[2], g["dy"].shape[1]
    if masks is None:
        stack = [nn.RNN(inputs, hidden, layers, batch_first=True, dtype=dtype)]
    else:
        stack = [nn.RNN(hidden if layer else inputs, hidden, batch_first=True, dtype=dtype)
                 for layer in range(layers)]
    parameters = [parameter for rnn in stack for _, parameter in rnn.named_parameters()]
    names = [name for name in given if name not in ("x", "dy")]  # in the same order
    with torch.no_grad():
        for name, parameter in zip(names, parameters, strict=True):
            parameter.copy_(g[name])
    out = x
    for layer, rnn in enumerate(stack):
        if layer:
            out = out * torch.from_numpy(masks[layer - 1]).to(dtype) / (1 - philox.rounded_rate(dropout))
        out, _ = rnn(out)
    y = out[:, -1]
    y.backward(g["dy"])
    return {"y": y, "dx": x.grad} | {f"d{name}": p.grad for name, p in zip(names, parameters)}


CASES = {
    "rnn/recipe": lambda: case(1, 2, 56, 56, 128, 5),
    "rnn/odd-sizes": lambda: case(2, 4, 5, 3, 7, 3),
    "rnn/one-step": lambda: case(3, 3, 1, 5, 9, 3),
    "rnn/one-layer": lambda: case(4, 3, 8, 10, 12, 1),
    "rnn/one-value": lambda: case(5, 1, 3, 1, 1, 2),
    "rnn/hidden130": lambda: case(6, 1, 6, 49, 130, 2),
    "rnn/batch17": lambda: case(7, 17, 4, 6, 20, 2),
    # Sums of up to some hundred: tanh is 1 to the last bit, and must be neither infinite
    # nor NaN on the way there.
    "rnn/saturated": lambda: case(8, 3, 6, 8, 16, 2, weight_scale=8, input_scale=20),
    # The recipe's hidden size and rate; a seed and a step that need more than 32 bits.
    "rnn/dropout-hidden128": lambda: case(
        9, 3, 9, 56, 128, 3, dropout=0.4, dropout_seed=0x123456789ABCDEF0, dropout_step=2**32 + 5),
    # A hidden size that does not fill its last block of eight words.
    "rnn/dropout-hidden13": lambda: case(10, 4, 6, 5, 13, 4, dropout=0.25, dropout_seed=7),
    # As many layers as the recipe's, for which a GPU has special kernels.
    "rnn/dropout-layers5": lambda: case(11, 7, 8, 24, 44, 5, dropout=0.4, dropout_seed=21, dropout_step=3),
}
