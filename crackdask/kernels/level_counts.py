"""Exact histograms of 8-bit grey levels, and of how they bend along x."""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled

LEVELS = 256
#: Neighbouring voxels are counted in tables of their own: the next need not wait until one of the same level is stored.
_TABLES = 4


def level_counts(grey: Array) -> Array:
    """Return how many voxels have each of the 256 levels, int64.

    >>> level_counts(np.array([[3, 3, 0]], np.uint8))[:4].tolist()
    [1, 0, 0, 2]
    """
    counts = np.zeros((_TABLES, LEVELS), np.int64)
    _count(np.ascontiguousarray(grey).reshape(-1), counts)
    return np.asarray(counts.sum(axis=0))


def bend_counts(grey: Array, outside: int) -> Array:
    """Return how often each absolute second difference along x occurs, 0 to 1023, int64.

    Parameters
    ----------
    grey
        uint8, (z, y, x).
    outside
        The level of voxels outside the scan: a difference with one of them does not count.

    >>> bend_counts(np.array([[[5, 9, 5, 0]]], np.uint8), 0)[:9].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1]
    """
    counts = np.zeros((_TABLES, 4 * LEVELS), np.int64)
    _count_bends(np.ascontiguousarray(grey).reshape(-1, grey.shape[-1]), outside, counts)
    return np.asarray(counts.sum(axis=0))


@compiled(error_model="numpy")
def _count(grey: Array, counts: Array) -> None:
    for i in range(grey.size):
        counts[i & (_TABLES - 1), grey[i]] += 1


@compiled(error_model="numpy")
def _count_bends(lines: Array, outside: int, counts: Array) -> None:
    for k in range(lines.shape[0]):
        line = lines[k]
        for i in range(1, line.size - 1):
            left, middle, right = line[i - 1], line[i], line[i + 1]
            if left != outside and middle != outside and right != outside:
                bend = abs(2 * np.int64(middle) - np.int64(left) - np.int64(right))
                counts[i & (_TABLES - 1), bend] += 1
