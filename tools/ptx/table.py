"""docs/kernels.md: the resources of every kernel on every architecture."""

import occupancy

HEAD = """<!-- Written by scripts/ptx from the PTX in kernels/. Do not edit. -->
# The kernels on each architecture

What NVIDIA's assembler (ptxas 12.9) makes of the PTX that a card of each architecture loads, which
is the newest that it can run. No kernel spills registers or has a stack frame: the build fails
where one would. No GPU is needed for these figures, and none was asked.

A cell reads: registers per thread · static shared memory per block, if any · blocks x warps per
block that a multiprocessor holds at once, out of the warps at the head of the column. The last is
missing where a block's shared memory is sized at launch ("+ dynamic"). Barriers are the block's
(bar.sync) that are in use at once, without a cluster's. im2col.cu is the readable version
of the convolutions, for the tests: no step launches it.
"""


def _size(count):
    return f"{count} B" if count < 1024 else f"{count / 1024:.3g} KB"


def _cell(target, kernel, use):
    shared = [_size(use.shared)] if use.shared else []
    if kernel.dynamic:
        return " · ".join([f"{use.registers} regs", " ".join([*shared, "+ dynamic"])])
    held = occupancy.blocks(target, kernel.threads, use.registers, use.shared)
    warps = -(-kernel.threads // 32)
    return " · ".join([f"{use.registers} regs", *shared, f"{held} x {warps}"])


def section(source, architectures, kernels, uses):
    """The table of a source. kernels are read from its PTX; uses is target -> name -> Use."""
    targets = sorted(uses)
    lines = [
        f"## {source}.cu",
        "",
        "PTX: " + ", ".join(f"sm_{architecture}" for architecture in architectures) + ".",
        "",
        "| kernel | threads | barriers | "
        + " | ".join(f"sm_{target}, {occupancy.LIMITS[target].warps} warps" for target in targets)
        + " |",
        "|---" * (3 + len(targets)) + "|",
    ]
    for kernel in kernels:
        cluster = f", cluster of {kernel.cluster}" if kernel.cluster > 1 else ""
        barriers = max(uses[target][kernel.name].barriers for target in targets)
        cells = [f"`{kernel.name}`", f"{kernel.threads}{cluster}", str(barriers)]
        cells += [_cell(target, kernel, uses[target][kernel.name]) for target in targets]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def document(sections):
    """The whole page."""
    return "\n".join([HEAD, *sections])
