"""The median of 8-bit voxels in a cube around each voxel: exact, by a histogram that slides along x (Huang 1979).

Voxels outside the scan are no grey levels: they stay what they are, and the window passes over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Bytes
from crackdask.kernels.compiling import compiled


@compiled(apart=True)
def _line(window: Bytes, outside: int, size: int, counts: NDArray[np.int32], medians: Bytes) -> None:
    """Fill one line of medians; `window` holds the voxels around it, (size, size, line + size - 1).

    `level` is the last median and `below` counts the voxels under it: from one voxel to the next it moves a little.
    """
    counts[:] = 0
    inside, below, level, centre = 0, 0, 0, size // 2
    for x in range(window.shape[2]):
        for z in range(size):
            for y in range(size):
                entering = window[z, y, x]
                if entering != outside:
                    counts[entering] += 1
                    inside += 1
                    below += entering < level
                if x >= size:
                    leaving = window[z, y, x - size]
                    if leaving != outside:
                        counts[leaving] -= 1
                        inside -= 1
                        below -= leaving < level
        if x < size - 1:
            continue
        own = window[centre, centre, x - centre]
        medians[x - size + 1] = own
        if own != outside:
            rank = (inside - 1) // 2
            while below > rank:
                level -= 1
                below -= counts[np.uint8(level)]
            while below + counts[np.uint8(level)] <= rank:
                below += counts[np.uint8(level)]
                level += 1
            medians[x - size + 1] = level


@compiled
def _medians(padded: Bytes, outside: int, size: int, medians: Bytes) -> None:
    counts = np.zeros(256, np.int32)
    for z in range(medians.shape[0]):
        for y in range(medians.shape[1]):
            _line(padded[z : z + size, y : y + size], outside, size, counts, medians[z, y])


def median(padded: NDArray[Any], size: int, outside: int) -> Bytes:
    """Return the core of a padded block, each voxel the median of the cube around it.

    Of an even number of voxels it is the lower of the two in the middle, so it is always a grey level that is there.

    Parameters
    ----------
    padded
        Grey levels (z, y, x), uint8, with ``size // 2`` voxels on every side of the core.
    size
        Edge of the cube in voxels, odd.
    outside
        The level of voxels that lie outside the scan: they keep it, and are left out of every window.

    Returns
    -------
    numpy.ndarray
        The medians, uint8, smaller than `padded` by ``size // 2`` voxels on every side.

    Examples
    --------
    >>> noisy = np.full((3, 3, 4), 50, np.uint8)
    >>> noisy[1, 1] = [50, 90, 0, 50]
    >>> median(noisy, 3, outside=0).tolist()
    [[[50, 0]]]
    """
    if padded.dtype != np.uint8 or size % 2 == 0 or min(padded.shape) < size:
        raise ValueError(f"wanted uint8 with at least an odd {size} voxels along each axis, found {padded.shape}")
    medians = np.empty([n - size + 1 for n in padded.shape], np.uint8)
    _medians(np.ascontiguousarray(padded), outside, size, medians)
    return medians
