"""How many blocks of a kernel a multiprocessor holds at once.

The limits are those of the CUDA C++ Programming Guide, "Technical Specifications per Compute
Capability"; the rounding is that of NVIDIA's cuda_occupancy.h.
"""

from dataclasses import dataclass

REGISTERS = 64 * 1024  # per multiprocessor
PARTS = 4  # of a multiprocessor, each with its share of the registers


@dataclass(frozen=True)
class Limits:
    blocks: int  # per multiprocessor
    warps: int
    shared: int  # bytes
    reserved: int = 1024  # bytes of shared memory that the system takes per block
    unit: int = 128  # bytes to which shared memory is rounded up


LIMITS = {
    75: Limits(16, 32, 64 * 1024, reserved=0, unit=256),
    80: Limits(32, 64, 164 * 1024),
    86: Limits(16, 48, 100 * 1024),
    89: Limits(24, 48, 100 * 1024),
    90: Limits(32, 64, 228 * 1024),
    100: Limits(32, 64, 228 * 1024),
    120: Limits(24, 48, 100 * 1024),
}


def _up(value, unit):
    return -(-value // unit) * unit


def blocks(architecture, threads, registers, shared):
    """The number of blocks that a multiprocessor of sm_<architecture> holds at once: threads per block,
    registers per thread, bytes of shared memory per block."""
    limits = LIMITS[architecture]
    warps = -(-threads // 32)
    held = min(limits.blocks, limits.warps // warps)
    room = REGISTERS // PARTS // _up(registers * 32, 256) * PARTS  # for warps
    held = min(held, room // warps if room >= _up(warps, PARTS) else 0)
    taken = _up(shared + limits.reserved, limits.unit)
    return min(held, limits.shared // taken) if taken else held
