"""Phase retrieval of whole projections, in the place of sorting: what is sorted are transmissions after a low pass.

A projection is filtered whole, in one task, and depends on no other but for its zingers, for which the one before and
the one after are read: so no bit depends on how many lie in a block. What only all projections together tell, columns
that are stuck or mostly full, is not known here; a column that is stuck in flats and darks too counts as dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from crackdask.arrays import Floats, Mask, Singles
from crackdask.blocks.passes import Block, Pass, Result, Tables, Tally
from crackdask.grid import Grid, Triple
from crackdask.kernels.attenuation import References, dead_pixels, mended, transmitted
from crackdask.kernels.phase_retrieval import low_pass, padded_shape, retrieved
from crackdask.steps.projection_slabs import frame_grid

#: Type of what is sorted.
FILTERED = np.dtype(np.float32)


def phase_pass(frames: Triple, moments: Floats, kept: Mask, saturation: float, zinger: float, weight: float) -> Pass:
    """Return the pass: `frames` to `sinograms` of transmissions, with the table `mended` (row, five counts).

    Parameters
    ----------
    frames
        Projections, rows, columns.
    moments, saturation, zinger
        As of `crackdask.kernels.attenuation.attenuations`.
    kept
        Projections whose flaws count.
    weight
        Of `crackdask.kernels.phase_retrieval.strength`.
    """
    return Pass(
        name="phase",
        kernel=partial(_filtered, moments, kept, saturation, zinger, weight),
        reads={"frames": 1},
        writes={"sinograms": FILTERED.str},
        tables=("flats", "darks"),
        makes=("mended",),
        reduce=_added,
        grid=frame_grid(frames, FILTERED.itemsize),
    )


def phase_bytes(frames: Triple, itemsize: int, weight: float) -> int:
    """Return what a block takes: its frames raw and filtered, a few of them as transmissions, and transforms."""
    block = frame_grid(frames, FILTERED.itemsize).block
    pixels = frames[1] * frames[2]
    wide = prod(padded_shape(frames[1:], weight))
    return pixels * ((block[0] + 2) * itemsize + block[0] * 4 + 6 * 4 + 16) + 18 * wide


def _filtered(moments: Floats, kept: Mask, saturation: float, zinger: float, weight: float, block: Block) -> Result:
    own = block.grid.box(block.number)
    counts = block.read("frames", 1)
    references = References(np.asarray(block.table("flats")), np.asarray(block.table("darks")))
    dead = dead_pixels(references)
    before = min(own.start[0], 1)  # of the frames that were read, those of the block before
    factors = low_pass(padded_shape(counts.shape[1:], weight), weight)
    tally = np.zeros((counts.shape[1], 5), np.int64)
    out = np.empty(own.shape, FILTERED)
    seen: dict[int, Singles] = {}

    def through(k: int) -> Singles:
        """Return a frame that was read as transmissions, and forget those that are done with."""
        for done in [n for n in seen if n < k - 2]:
            del seen[done]
        if k not in seen:
            number = own.start[0] - before + k
            seen[k], flawed = transmitted(counts[k], references, dead, float(moments[number]), saturation)
            if before <= k < before + len(out) and kept[number]:
                tally[:, [0, 1, 3]] += flawed.T
        return seen[k]

    for k in range(len(out)):
        here = through(before + k).copy()
        if zinger > 0 and 0 < own.start[0] + k < len(moments) - 1:
            found = _without_zingers(through(before + k - 1), here, through(before + k + 1), zinger)
            tally[:, 2] += found * kept[own.start[0] + k]
        out[k] = retrieved(mended(here), weight, factors)
    if block.number == 0:
        tally[:, 4] = dead.sum(axis=1)
    return Result({"sinograms": out}, {"mended": tally})


def _without_zingers(before: Singles, here: Singles, after: Singles, excess: float) -> np.ndarray[Any, Any]:
    """Replace pixels that flash in one projection, in place; return how many in each row."""
    limit = np.float32(1 + excess)
    hit = (here > limit * before) & (here > limit * after)
    here[hit] = (before[hit] + after[hit]) * np.float32(0.5)
    return hit.sum(axis=1)


def _added(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    total = tallies[0]["mended"].copy()
    for number in range(1, len(tallies)):
        total += tallies[number]["mended"]
    return {"mended": total}
