"""The noise of a state's grey levels, which the steps `denoise` and `sharpness` share.

The result does not depend on the blocks: it is read off an exact histogram over the whole state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, total
from crackdask.grid import Grid
from crackdask.kernels.level_counts import bend_counts
from crackdask.schema import OUTSIDE

# |2b - a - c| of white noise of standard deviation s has standard deviation sqrt(6) s; 0.6745 is the median
# of the absolute value of a standard normal variable.
_MEDIAN_OF_DIFFERENCE = 0.6744897501960817 * 6**0.5


def noise_passes() -> tuple[Pass, ...]:
    """Return the pass that measures the noise of a state: `grey` to the table `noise` (grey levels).

    The estimate is the median absolute second difference along x over all voxels inside the scan, from an
    exact histogram (Immerkaer's idea with a robust scale): edges and cracks are few, noise is everywhere.
    """
    return (
        Pass(
            name="noise",
            kernel=_differences,
            reads={"grey": 1},
            makes=("noise",),
            reduce=noise_of,
            scratch=1,
        ),
    )


def differences(grey: Array) -> Tally:
    """Return what a block tells of the noise, from its grey levels and one voxel more to both sides along x."""
    return {"counts": bend_counts(grey, OUTSIDE)}


def _differences(block: Block) -> Result:
    return Result(tally=differences(block.read("grey", (0, 0, 1))))


def noise_of(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Return the noise from what all blocks tell."""
    counts = total(tallies, "counts")
    below = np.cumsum(counts)
    half = below[-1] / 2
    level = int(np.searchsorted(below, half))
    inside = counts[level]
    # The counts of one level are spread evenly over [level - 1/2, level + 1/2].
    share = (half - (below[level] - inside)) / inside if inside else 0.5
    median = max(level - 0.5 + share, 0.0)
    return {"noise": np.array(median / _MEDIAN_OF_DIFFERENCE)}
