"""The linear layer with cross-entropy."""

import numpy as np
import torch
import torch.nn.functional as F

from cases.draw import Draw
from fixturefile import Fixture


def case(seed: int, n: int, inputs: int, classes: int, **replaced) -> Fixture:
    """Random inputs, some of them replaced if given, and PyTorch's results."""
    draw = Draw(seed)
    bound = inputs ** -0.5
    given = {
        "x": draw.uniform(-1, 1, n, inputs),
        "weight": draw.uniform(-bound, bound, classes, inputs),
        "bias": draw.uniform(-bound, bound, classes),
        "labels": draw.integers(0, classes, n),
    }
    given |= {name: value(draw) for name, value in replaced.items()}
    labels = given.pop("labels").astype(np.uint8)
    given = {name: value.astype(np.float32) for name, value in given.items()}

    fixture = Fixture(batch=n, **{"in": inputs}, classes=classes)
    fixture.given(**given, labels=labels)
    double, single = (run(given, labels, dtype) for dtype in (torch.float64, torch.float32))
    if double["hits"] != single["hits"]:
        raise ValueError("which logit is largest hangs on rounding: take another seed")
    fixture.given(hits=double.pop("hits"))
    losses = ["loss_sum", "loss_mean"]
    fixture.expect({k: double.pop(k) for k in losses}, {k: single[k] for k in losses}, np.float64)
    fixture.expect(double, single)
    return fixture


def run(given: dict, labels: np.ndarray, dtype: torch.dtype) -> dict:
    x, weight, bias = (torch.from_numpy(given[k]).to(dtype).requires_grad_() for k in ("x", "weight", "bias"))
    target = torch.from_numpy(labels).long()
    logits = F.linear(x, weight, bias)
    loss = F.cross_entropy(logits, target)
    loss.backward()
    return {
        "logits": logits, "loss_mean": loss, "loss_sum": F.cross_entropy(logits, target, reduction="sum"),
        "hits": (logits.argmax(1) == target).sum(),  # argmax takes the first of equal values
        "dweight": weight.grad, "dbias": bias.grad, "dx": x.grad,
    }


def two_equal_logits(draw: Draw) -> np.ndarray:
    """Weights whose rows 3 and 7, and 0 and 9, are equal. They and the inputs are multiples
    of 1/4, so that their products' sums are exact and so are the ties."""
    weight = draw.integers(-4, 5, 10, 12) / 4
    weight[7], weight[9] = weight[3], weight[0]
    return weight


def of_equal_logits(draw: Draw) -> np.ndarray:
    """Labels that name both of two equal classes, the first and the last in turn."""
    return np.array([3, 7, 0, 9] * 10)


CASES = {
    "head/recipe": lambda: case(1, 50, 128, 10),
    "head/batch1": lambda: case(2, 1, 128, 10),
    "head/odd-sizes": lambda: case(3, 7, 33, 3),
    "head/many-classes": lambda: case(4, 5, 6, 256),
    # Logits of up to some 200: exp of them is infinite in float32, and the softmax of most is 0.
    "head/large-logits": lambda: case(5, 7, 16, 10, weight=lambda draw: draw.normal(10, 16, scale=60)),
    "head/equal-logits": lambda: case(
        6, 40, 12, 10, x=lambda draw: draw.integers(-4, 5, 40, 12) / 4, weight=two_equal_logits,
        bias=lambda draw: np.zeros(10), labels=of_equal_logits),
}
