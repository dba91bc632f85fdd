"""Steps of Adam."""

import numpy as np
import torch

from cases.draw import Draw
from fixturefile import Fixture

STEPS = 5


def case(seed: int, first_step: int = 1, lr: float = 0.0005, betas=(0.9, 0.999), eps: float = 1e-8) -> Fixture:
    """Parameters p after each of five steps, and the moments m and v after the last. A
    first_step above 1 begins with moments, as a resumed run does."""
    draw = Draw(seed)
    p, g = draw.normal(37, scale=0.1), draw.normal(STEPS, 37, scale=0.01)
    g[:, 0] = 0  # never a gradient
    g[1:, 1] = 0  # one gradient, then none
    g[:, 2:4] = [1e10, -1e10]
    g[:, 4:6] = [1e-12, -1e-12]
    g[2, 6] = 1e10  # one among small ones
    m, v = np.zeros_like(p), np.zeros_like(p)
    if first_step > 1:
        m, v = draw.normal(37, scale=0.01), draw.uniform(0, 1e-4, 37)
    fixture = Fixture(first_step=first_step, steps=STEPS, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps)
    fixture.given(p=p, g=g, m=m, v=v)
    fixture.expect(*(run(p, g, m, v, first_step, lr, betas, eps, dtype) for dtype in (torch.float64, torch.float32)))
    return fixture


def run(p, g, m, v, first_step: int, lr: float, betas, eps: float, dtype: torch.dtype) -> dict:
    parameter = torch.from_numpy(p).to(dtype, copy=True).requires_grad_()  # Adam writes to it
    adam = torch.optim.Adam([parameter], lr=lr, betas=betas, eps=eps)
    adam.state[parameter] = {
        "step": torch.tensor(float(first_step - 1)),
        "exp_avg": torch.from_numpy(m).to(dtype, copy=True),
        "exp_avg_sq": torch.from_numpy(v).to(dtype, copy=True),
    }
    after = []
    for gradient in g:
        parameter.grad = torch.from_numpy(gradient).to(dtype)
        adam.step()
        after.append(parameter.detach().clone())
    state = adam.state[parameter]
    return {"p_after": torch.stack(after), "m_after": state["exp_avg"], "v_after": state["exp_avg_sq"]}


CASES = {
    "adam/recipe": lambda: case(1),
    "adam/resumed": lambda: case(2, first_step=1000),
    "adam/other-settings": lambda: case(3, lr=0.01, betas=(0.8, 0.99), eps=1e-6),
}
