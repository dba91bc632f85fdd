"""Steps of Adam."""

import numpy as np
import torch

from cases.draw import Draw
from fixturefile import Fixture

STEPS = 5


def case(gradients, p_scale: float = 0.001, first_step: int = 1, lr: float = 0.0005, betas=(0.9, 0.999),
         eps: float = 1e-8) -> Fixture:
    """Parameters p after each of five steps, and the moments m and v after the last, of 37
    parameters. A first_step above 1 begins with moments, as a resumed run does. Values are
    compared with the largest of their array, so gradients of other magnitudes are cases of
    their own, and parameters begin no larger than some steps."""
    draw = Draw(1)
    p = draw.normal(37, scale=p_scale)
    g = gradients(draw).astype(np.float32)
    m, v = np.zeros_like(p), np.zeros_like(p)
    if first_step > 1:
        m, v = draw.normal(37, scale=0.01), draw.uniform(0, 1e-4, 37)
    fixture = Fixture(first_step=first_step, steps=STEPS, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps)
    fixture.given(p=p, g=g, m=m, v=v)
    fixture.expect(*(run(p, g, m, v, first_step, lr, betas, eps, dtype) for dtype in (torch.float64, torch.float32)))
    return fixture


def usual(draw: Draw) -> np.ndarray:
    """Gradients like the network's, some of them 0 throughout or after the first step."""
    g = draw.normal(STEPS, 37, scale=0.01)
    g[:, 0] = 0
    g[1:, 1] = 0
    return g


def huge(draw: Draw) -> np.ndarray:
    """Gradients whose squares are near the end of float32, some of them in one step only."""
    g = draw.normal(STEPS, 37, scale=1e18)
    g[:, 0] = draw.normal(STEPS)
    g[2, 0] = 1e18
    return g


def tiny(draw: Draw) -> np.ndarray:
    """Gradients far below eps, whose squares are near the start of float32."""
    return draw.normal(STEPS, 37, scale=1e-12)


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
    "adam/recipe": lambda: case(usual),
    "adam/resumed": lambda: case(usual, first_step=1000),
    "adam/other-settings": lambda: case(usual, lr=0.01, betas=(0.8, 0.99), eps=1e-6),
    "adam/huge-gradients": lambda: case(huge),
    "adam/tiny-gradients": lambda: case(tiny, p_scale=0),
}
