"""Half as many voxels along every axis: the mean of grey levels, and every second label.

Whole numbers alone. A grey level is the mean of the voxels of the scan among 2 x 2 x 2, rounded to the nearest whole
number, halves to the even one, so that many levels drift neither up nor down; voxels outside the scan are left out, so
that they darken nothing, and only where all are outside is the coarser voxel outside.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crackdask.arrays import Array


def halved_grey(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the means of 2 x 2 x 2 grey levels, 0 (outside) left out; at odd ends of as many as there are.

    >>> halved_grey(np.array([[[10, 11], [0, 0]], [[0, 12], [0, 0]]], np.uint8)).tolist()
    [[[11]]]
    """
    z, y, x = (-(-n // 2) for n in fine.shape)
    coarse = np.empty((z, y, x), np.uint8)
    _halve(np.ascontiguousarray(fine), coarse)
    return coarse


def halved_labels(fine: Array) -> Array:
    """Return every second label along each axis, from the first: a mean would mix particles.

    >>> halved_labels(np.arange(8).reshape(2, 2, 2)).tolist()
    [[[0]]]
    """
    return np.ascontiguousarray(fine[::2, ::2, ::2])


@njit(cache=True, nogil=True)
def _halve(fine: NDArray[np.uint8], coarse: NDArray[np.uint8]) -> None:
    nz, ny, nx = fine.shape
    for z in range(coarse.shape[0]):
        for y in range(coarse.shape[1]):
            for x in range(coarse.shape[2]):
                total, count = 0, 0
                for a in range(2 * z, min(2 * z + 2, nz)):
                    for b in range(2 * y, min(2 * y + 2, ny)):
                        for c in range(2 * x, min(2 * x + 2, nx)):
                            total += fine[a, b, c]
                            count += fine[a, b, c] != 0
                coarse[z, y, x] = _rounded(total, count)


@njit(cache=True, nogil=True)
def _rounded(total: int, count: int) -> int:
    if count == 0:
        return 0
    whole, rest = total // count, total % count
    return whole + (2 * rest > count or (2 * rest == count and whole % 2 == 1))
