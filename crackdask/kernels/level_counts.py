"""Exact histograms of 8-bit grey levels, and of how they bend along x; where one level is near."""

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


def near_level(grey: Array, part: tuple[slice, slice, slice], level: int) -> Array | None:
    """Return where a voxel of a part or one of its 26 neighbours has a level, as bool; None for nowhere.

    >>> grey = np.array([[[9, 9, 9, 0, 9]]], np.uint8)
    >>> near_level(grey, (slice(0, 1), slice(0, 1), slice(1, 4)), 0).tolist()
    [[[False, True, True]]]
    """
    (z, y, x) = ((s.start, s.stop) for s in part)
    near = np.zeros([s.stop - s.start for s in part], bool)
    return near if _near(np.ascontiguousarray(grey), z, y, x, np.uint8(level), near) else None


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


@compiled(error_model="numpy")
def _near(
    grey: Array, z: tuple[int, int], y: tuple[int, int], x: tuple[int, int], level: np.uint8, near: Array
) -> bool:
    """Mark row by row: those without the level, as most are, are passed over."""
    found = False
    for k in range(max(z[0] - 1, 0), min(z[1] + 1, grey.shape[0])):
        for j in range(max(y[0] - 1, 0), min(y[1] + 1, grey.shape[1])):
            row = grey[k, j]
            here = False
            for i in range(row.size):
                here |= row[i] == level
            if not here:
                continue
            i = max(x[0] - 1, 0)
            end = min(x[1] + 1, row.size)
            while i < end:
                first = i
                while i < end and row[i] == level:
                    i += 1
                if i == first:
                    i += 1
                    continue
                found = True
                left, right = max(first - 1, x[0]) - x[0], min(i + 1, x[1]) - x[0]
                for c in range(max(k - 1, z[0]), min(k + 2, z[1])):
                    for b in range(max(j - 1, y[0]), min(j + 2, y[1])):
                        for a in range(left, right):
                            near[c - z[0], b - y[0], a] = True
    return found
