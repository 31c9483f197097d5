"""Real numbers as 16-bit levels on one fixed window, with what lies beyond it counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Integers, Singles
from crackdask.kernels.compiling import compiled

#: Largest level.
LAST = 65_535
#: Share of voxels at either end of a histogram that a window made of it need not hold.
_RARE = 0.001


def quantised(slices: Singles, low: float, high: float) -> tuple[NDArray[np.uint16], Integers]:
    """Return slices (row, y, x) as levels, 0 at `low` and 65535 at `high`, and how many voxels of each row lie beyond.

    A level is the nearest one, of two as near the higher; voxels beyond the window get its first or last level. Each
    voxel is worked on by itself, in additions and products.

    >>> levels, beyond = quantised(np.array([[[-0.1, 0.0, 1.0, 1.1]]], np.float32), 0.0, 1.0)
    >>> levels.tolist(), beyond.tolist()
    ([[[0, 0, 65535, 65535]]], [2])
    """
    levels = np.empty(slices.shape, np.uint16)
    beyond = np.zeros(len(slices), np.int64)
    for row, image in enumerate(slices):
        beyond[row] = _fill(image.reshape(-1), low, LAST / (high - low), levels[row].reshape(-1))
    return levels, beyond


def common_range(image: Singles) -> tuple[float, float]:
    """Return the least and the largest value but for the rarest: values of the image, which no rounding moves.

    >>> common_range(np.arange(2000, dtype=np.float32))
    (2.0, 1997.0)
    """
    rare = int(_RARE * image.size)
    ends = np.partition(image.reshape(-1), (rare, image.size - 1 - rare))
    return float(ends[rare]), float(ends[image.size - 1 - rare])


def window_over(low: float, high: float) -> tuple[float, float]:
    """Return a window with as much room on both sides of a range as it is wide: 21 845 levels lie within.

    >>> window_over(0.0, 0.5), window_over(0.25, 0.25)
    ((-0.5, 1.0), (-0.75, 1.25))
    """
    room = (high - low) or 1.0
    return low - room, high + room


@compiled(error_model="numpy")
def _fill(values: Singles, low: float, scale: float, levels: NDArray[np.uint16]) -> int:
    beyond = 0
    for i in range(values.size):
        level = (np.float64(values[i]) - low) * scale
        if level < 0.0 or level > 65535.0:
            beyond += 1
        levels[i] = np.uint16(np.int64(min(max(level, 0.0), 65535.0) + 0.5))
    return beyond
