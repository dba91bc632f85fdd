"""Random inputs of fixtures."""

import numpy as np


class Draw:
    """Float32 arrays from one seed. numpy promises never to change RandomState's numbers."""

    def __init__(self, seed: int):
        self._random = np.random.RandomState(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self._random.standard_normal(shape) * scale).astype(np.float32)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self._random.uniform(low, high, shape).astype(np.float32)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Whole numbers of [low, high)."""
        return self._random.randint(low, high, shape)
