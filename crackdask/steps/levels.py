"""Coarser levels of grey levels and labels, as viewers want them: each half as fine as the one before.

The result does not depend on the blocks: a voxel of a level is a function, in whole numbers, of the 2 x 2 x 2 voxels
below it (`crackdask.kernels.halving`), and blocks begin at whole voxels of the level that they write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from crackdask.blocks.passes import Block, Pass, Result
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels.halving import halved_grey, halved_labels
from crackdask.schema import LABEL_IMAGE, LEVELS, level_array
from crackdask.steps.declaration import LABELLING, Of, Stage, Step, Volume

#: Voxels along an edge of what is halved at once: a block of the level reads twice as far along each axis.
PART = 128


@dataclass(frozen=True)
class Below:
    """The window in the finer level, of some shape, over which a block of the coarser one lies.

    >>> Below((5, 5, 5))(Box((0, 1, 2), (1, 2, 3)))
    Box(start=(0, 2, 4), stop=(2, 4, 5))
    """

    shape: Triple

    def __call__(self, own: Box) -> Box:
        """Return the window."""
        start = (2 * own.start[0], 2 * own.start[1], 2 * own.start[2])
        z, y, x = (min(2 * b, n) for b, n in zip(own.stop, self.shape, strict=True))
        return Box(start, (z, y, x))


def passes(grids: Sequence[Grid], whole: Grid, *, copied: bool) -> tuple[Pass, ...]:
    """Return a pass for each level: `grey` and `label` to the arrays of level 1, those to the arrays of level 2, ...

    Parameters
    ----------
    grids
        Blocks of each level, the finest first.
    whole
        Blocks of the volume itself.
    copied
        Whether the labels are also written under the name that readers of OME-Zarr know, where no link can be.
    """
    copy = Pass("label_image", _copy, {"label": 0}, {LABEL_IMAGE: "uint32"}, grid=whole)
    finer = [whole, *grids]
    return (
        *([copy] if copied else []),
        *(_level(number, finer[number - 1], grids[number - 1]) for number in range(1, len(finer))),
    )


def _level(number: int, finer: Grid, grid: Grid) -> Pass:
    grey, label = (name if number == 1 else level_array(name, number - 1) for name in ("grey", "label"))
    return Pass(
        name=f"level_{number}",
        kernel=partial(_halve, number, grey, label, Below(finer.shape)),
        reads={grey: Below(finer.shape), label: Below(finer.shape)},
        writes={level_array("grey", number): "uint8", level_array("label", number): "uint32"},
        grid=grid,
    )


def _halve(number: int, grey: str, label: str, below: Below, block: Block) -> Result:
    own = block.grid.box(block.number)
    coarse, labels = np.empty(own.shape, np.uint8), np.empty(own.shape, np.uint32)
    for part in Grid(own.shape, (PART, PART, PART)):
        window = below(part.shifted(own.start))
        coarse[part.slices] = halved_grey(block.read_box(grey, window))
        labels[part.slices] = halved_labels(block.read_box(label, window))
    return Result({level_array("grey", number): coarse, level_array("label", number): labels})


def _copy(block: Block) -> Result:
    return Result({LABEL_IMAGE: block.read("label")})


def block_bytes(grid: Grid) -> int:
    """Return what a block of a level takes: both volumes below a part of it, and its own."""
    whole = [min(b, n) for b, n in zip(grid.block, grid.shape, strict=True)]
    return (8 * prod(min(n, PART) for n in whole) + prod(whole)) * (1 + 4)


STEP = Step(
    name=LEVELS,
    stage=Stage.STATES,
    opened=("shape",),
    needs=((LABELLING, Of.ITSELF), ("grey", Of.ITSELF)),
    reads=(("grey", Of.ITSELF), ("label", Of.ITSELF)),
    writes={LEVELS: Volume(dtype=None, disk_bytes=0.18, kept="always")},
    seconds_per_megavoxel=0.015,
)
