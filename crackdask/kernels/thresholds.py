"""Thresholds from the exact histogram of 8-bit grey levels; voxels of level 0 lie outside the scan and do not count.

Each returns a whole grey level: voxels strictly above it are bright. Otsu's, Li's and the triangle's are those of
scikit-image, which takes the last two from voxels only; a run has counts, and sums them without rounding. The levels of
several classes come from scikit-image itself.
"""

from __future__ import annotations

from math import floor, log
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crackdask.kernels.histogram_peaks import peaks_of
from crackdask.kernels.otsu import otsu_bin
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from skimage import filters
else:
    filters = Later("skimage.filters")

Counts = NDArray[Any]


class ThresholdError(ValueError):
    """The histogram cannot be parted as asked."""


def otsu(counts: Counts) -> float:
    """Return the grey level that best parts a histogram (Otsu 1979).

    The sums are integers, so the answer is the same on every machine.

    Examples
    --------
    >>> counts = np.zeros(256, int)
    >>> counts[[60, 150]] = 100
    >>> otsu(counts)
    60.0
    """
    return float(otsu_bin(_inside(counts)))


def next_phase(counts: Counts, bright: bool = True) -> float:
    """Return the level that parts the brightest phase (or the darkest) from the next: Otsu's, of these two alone.

    Where a histogram shows one or two phases that is Otsu's level of it all. Of three, Otsu's lies on one of them or
    between whichever two differ most; the others are then left out, from the valley between the next phase and the one
    after it.

    Examples
    --------
    >>> levels = np.arange(256)
    >>> three = sum(n * np.maximum(0, 400 - (levels - m) ** 2) for m, n in ((60, 2), (105, 3), (160, 4)))
    >>> otsu(three), next_phase(three), next_phase(three, bright=False)
    (123.0, 124.0, 79.0)
    """
    found = peaks_of(np.arange(1.0, len(counts)), np.asarray(counts)[1:])
    if len(found) < 3:
        return otsu(counts)
    levels, kept = np.arange(len(counts)), np.array(counts)
    kept[levels < found[-2].low if bright else levels >= found[1].high] = 0
    level = otsu(kept)
    dark, light = found[-2:] if bright else found[:2]
    # Two phases that lie close beside one another are a small part of what mixed voxels make of the histogram.
    return level if dark.level < level < light.level else float(floor(dark.high))


def li(counts: Counts) -> float:
    """Return the grey level of least cross entropy between a volume and its two phases (Li and Tam 1998).

    Found as in scikit-image, from the mean on, and rounded down to a whole level, which parts the same voxels.

    Examples
    --------
    >>> counts = np.zeros(256, int)
    >>> counts[[60, 70, 150]] = [100, 50, 100]
    >>> li(counts)
    86.0
    """
    inside = _inside(counts)
    occupied = [level for level, count in enumerate(inside) if count]
    if len(occupied) < 2:
        return float(sum(occupied))
    least = occupied[0]
    shifted = inside[least:]
    total, mass = _sums(shifted)
    current, following = -1.0, mass / total
    while abs(following - current) > 0.5:
        current = following
        below, below_mass = _sums(shifted[: floor(current) + 1])
        if below_mass == 0 or below == total:
            break  # the logarithm of 0 is not defined
        dark, bright = below_mass / below, (mass - below_mass) / (total - below)
        following = (dark - bright) / (log(dark) - log(bright))
    return float(floor(following) + least)


def triangle(counts: Counts) -> float:
    """Return the level where a histogram lies deepest below the line from its peak to its farther end (Zack 1977).

    The distances are compared as whole numbers.

    Examples
    --------
    >>> counts = np.zeros(256, int)
    >>> counts[60:66] = [100, 90, 10, 5, 3, 1]
    >>> triangle(counts)
    62.0
    """
    inside = _inside(counts)
    occupied = [level for level, count in enumerate(inside) if count]
    if len(occupied) < 2:
        return float(sum(occupied))
    low, high, peak = occupied[0], occupied[-1], max(range(len(inside)), key=inside.__getitem__)
    toward = -1 if peak - low < high - peak else 1  # from the end of the longer tail to the peak
    end = high if toward < 0 else low
    width, height = abs(peak - end), inside[peak]
    depth = [height * x - width * inside[end + toward * x] for x in range(width)]
    return float(end + toward * max(range(width), key=depth.__getitem__))


def multiotsu(counts: Counts, classes: int) -> tuple[float, ...]:
    """Return the levels that best part a histogram into several classes, the darkest first (Liao 2001).

    Of levels that part the same voxels the one that holds some is returned. The sums are scikit-image's, in 32-bit
    floats: where two partitions are all but equally good, its builds may differ.

    Raises
    ------
    ThresholdError
        If there are fewer grey levels than classes.

    Examples
    --------
    >>> counts = np.zeros(256, int)
    >>> counts[[60, 100, 150, 152]] = 100
    >>> multiotsu(counts, 3)
    (60.0, 100.0)
    """
    inside = np.array(_inside(counts), np.int64)
    occupied = np.flatnonzero(inside)
    if occupied.size < classes:
        there = ", ".join(map(str, occupied.tolist())) or "none"
        raise ThresholdError(f"{classes} classes need as many grey levels, and there are {occupied.size}: {there}")
    boundaries = filters.threshold_multiotsu(hist=(inside, np.arange(inside.size)), classes=classes)
    return tuple(float(occupied[occupied <= level][-1]) for level in boundaries)


def _inside(counts: Counts) -> list[int]:
    """Return the counts without those of the voxels outside the scan."""
    return [0, *(int(count) for count in counts[1:])]


def _sums(counts: list[int]) -> tuple[int, int]:
    """Return how many voxels there are, and the sum of their levels."""
    return sum(counts), sum(level * count for level, count in enumerate(counts))
