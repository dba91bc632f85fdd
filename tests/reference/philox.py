"""crnn's counter-based random numbers, implemented a second time in numpy.

Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
SC11), and the dropout masks that are made of it. Fixtures with dropout rest on this file,
so it shares nothing with the Go code that they test.
"""

import numpy as np

DROPOUT = 4  # purpose of a number: dropout masks, with the layer in bits 8 and up


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """The four words [..., 4] of each counter [..., 4] (uint32) under key."""
    multipliers = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    weyl = 0x9E3779B9, 0xBB67AE85
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    for round in range(10):
        k0, k1 = (np.uint64((k + round * w) & 0xFFFFFFFF) for k, w in zip(key, weyl))
        p0, p1 = c0 * multipliers[0], c2 * multipliers[1]
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & low, (p0 >> shift) ^ c3 ^ k1, p0 & low
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def check_published_vectors() -> None:
    """Raises AssertionError if philox is not the published function (kat_vectors of Random123)."""
    for counter, key, want in (
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], (0xA4093822, 0x299F31D0),
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ):
        got = " ".join(f"{word:08x}" for word in philox(np.array(counter, np.uint32), key))
        assert got == want, f"philox{counter}: {got}, want {want}"


def rounded_rate(dropout: float) -> float:
    """The actual dropout rate: the nearest multiple of 2^-16."""
    return round(dropout * 2**16) / 2**16


def dropout_mask(layer: int, n: int, steps: int, hidden: int, dropout: float, seed: int,
                 step: int) -> np.ndarray:
    """The mask [n,steps,hidden] of 0 and 1 after an RNN layer, as crnn's RNNSpec defines it."""
    blocks = (hidden + 7) // 8  # of eight 16-bit words
    counter = np.zeros((n * steps * blocks, 4), np.uint32)
    counter[:, 0] = np.arange(n * steps * blocks)
    counter[:, 1] = DROPOUT | layer << 8
    counter[:, 2] = step & 0xFFFFFFFF
    counter[:, 3] = step >> 32
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    halves = np.stack([words & 0xFFFF, words >> 16], axis=-1)  # low half first
    return (halves.reshape(n, steps, blocks * 8)[:, :, :hidden] >= round(dropout * 2**16)).astype(np.uint8)
