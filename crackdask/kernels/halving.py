"""Half as many voxels along every axis: the mean of grey levels, and every second label.

Whole numbers alone. A grey level is the mean of the voxels of the scan among 2 x 2 x 2, rounded to the nearest whole
number, halves to the even one, so that many levels drift neither up nor down; voxels outside the scan are left out, so
that they darken nothing, and only where all are outside is the coarser voxel outside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled
from crackdask.schema import OUTSIDE

#: Voxels of a row that are looked at together: whether all of them are of the scan.
_RUN = 64


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


@compiled
def _halve(fine: NDArray[np.uint8], coarse: NDArray[np.uint8]) -> None:
    nz, ny, nx = fine.shape
    for z in range(coarse.shape[0]):
        for y in range(coarse.shape[1]):
            rows = fine[2 * z : 2 * z + 2, 2 * y : 2 * y + 2]
            pairs = nx // 2 if 2 * z + 1 < nz and 2 * y + 1 < ny else 0
            for x in range(0, pairs, _RUN):
                end = min(x + _RUN, pairs)
                run, made = rows[:, :, 2 * x : 2 * end], coarse[z, y, x:end]
                if not _means(run[0, 0], run[0, 1], run[1, 0], run[1, 1], made):
                    _means_of_scan(run, made)
            _means_of_scan(rows[:, :, 2 * pairs :], coarse[z, y, pairs:])


@compiled
def _means(
    a: NDArray[np.uint8], b: NDArray[np.uint8], c: NDArray[np.uint8], d: NDArray[np.uint8], coarse: NDArray[np.uint8]
) -> bool:
    """Fill part of a row if all voxels are of the scan; tell whether they are.

    Loops without branches, from 0, so that many voxels are done at once.
    """
    if min(min(_least(a), _least(b)), min(_least(c), _least(d))) == OUTSIDE:
        return False
    for x in range(coarse.size):
        i, j = 2 * x, 2 * x + 1
        total = np.int32(a[i]) + a[j] + b[i] + b[j] + c[i] + c[j] + d[i] + d[j]
        coarse[x] = (total + 3 + ((total >> 3) & 1)) >> 3
    return True


@compiled
def _least(row: NDArray[np.uint8]) -> np.uint8:
    least = np.uint8(255)
    for i in range(row.size):
        level = row[i]
        least = level if level < least else least  # faster than `min`
    return least


@compiled
def _means_of_scan(rows: NDArray[np.uint8], coarse: NDArray[np.uint8]) -> None:
    """Fill part of a row, whatever its voxels are."""
    for x in range(coarse.size):
        total, count = 0, 0
        for a in range(rows.shape[0]):
            for b in range(rows.shape[1]):
                for c in range(2 * x, min(2 * x + 2, rows.shape[2])):
                    total += rows[a, b, c]
                    count += rows[a, b, c] != OUTSIDE
        coarse[x] = _rounded(total, count)


@compiled
def _rounded(total: int, count: int) -> int:
    if count == 0:
        return OUTSIDE
    whole, rest = total // count, total % count
    return whole + (2 * rest > count or (2 * rest == count and whole % 2 == 1))
