"""The learning rate of each epoch."""

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from fixturefile import Fixture


def case(scheduler, epochs: int = 15, lr: float = 0.0005, **sizes) -> Fixture:
    """scheduler makes a scheduler for an optimizer; it is stepped once per epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    schedule = scheduler(optimizer)
    rates = []
    for _ in range(epochs):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    fixture = Fixture(epochs=epochs, lr=lr, **sizes)
    fixture.given(rates=torch.tensor(rates, dtype=torch.float64))
    return fixture


def step(lr_step: int, lr_gamma: float, **more) -> Fixture:
    return case(lambda optimizer: StepLR(optimizer, lr_step, lr_gamma),
                kind="step", lr_step=lr_step, lr_gamma=lr_gamma, **more)


def cosine(epochs: int, **more) -> Fixture:
    return case(lambda optimizer: CosineAnnealingLR(optimizer, T_max=epochs, eta_min=0),
                epochs=epochs, kind="cosine", **more)


CASES = {
    "schedule/recipe": lambda: step(3, 0.5),
    "schedule/step-tenth": lambda: step(1, 0.1, epochs=8, lr=0.1),
    "schedule/step-seventh": lambda: step(7, 0.3, epochs=20),
    "schedule/cosine15": lambda: cosine(15),
    "schedule/cosine1": lambda: cosine(1),
    "schedule/cosine40": lambda: cosine(40, lr=0.001),
}
