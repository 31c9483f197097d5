"""Otsu's level of a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def otsu_bin(counts: Sequence[float]) -> int:
    """Return the last bin of the lower of the two classes that part a histogram best (Otsu 1979).

    Of equal bins the first counts; a histogram that cannot be parted has bin 0. With whole counts all sums are exact,
    whatever their size; with fractions they run in the order of the bins.

    >>> otsu_bin([0, 5, 5, 0, 0, 5, 5])
    2
    """
    below = list(accumulate(counts))
    below_mass = list(accumulate(level * count for level, count in enumerate(counts)))
    best, best_bin = -1.0, 0
    for level, (voxels, mass) in enumerate(zip(below, below_mass, strict=True)):
        weight = voxels * (below[-1] - voxels)
        if weight > 0:
            gap = mass * below[-1] - below_mass[-1] * voxels
            spread = gap * gap / weight
            if spread > best:
                best, best_bin = spread, level
    return best_bin
