"""Peaks of a grey-level histogram: how many phases it holds, where each lies, and how sure that is.

The counts are whole numbers, and all that is made of them is sums, products and comparisons in one fixed order, without
libm: the same histogram has the same peaks on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crackdask.arrays import Array

#: Bins between the percentiles `FEW` and 1 - `FEW` of the voxels, and the half width of the window that smooths them.
BINS, SMOOTH = 256, 14
FEW = 0.001
#: Two tops are two phases where the valley between them is lower than the lower one by this share, and by this many
#: standard errors of its counts, and where each phase holds this share of the voxels.
VALLEY, SURE, LEAST_SHARE = 0.15, 6.0, 0.01
#: Voxels that noise as correlated as that of scans makes of one: the errors of a peak allow for it.
SHARED = 8.0
#: Half width of the biweight in widths of the peak, and how much wider that is which tells what the choice matters.
REACH, WIDER = 2.0, 1.5


@dataclass(frozen=True)
class Peak:
    """One phase of a histogram.

    Attributes
    ----------
    level, error
        Where its peak lies, and the standard error, from counts.
    wider
        Where it lies if more of its flanks is looked at: tails of mixed voxels draw that one aside.
    width
        Standard deviation of its steeper flank.
    low, high
        Where it ends: the valleys beside it, or the ends of the histogram.
    share
        Of the voxels, those between these ends.
    """

    level: float
    error: float
    wider: float
    width: float
    low: float
    high: float
    share: float


def peaks_of(values: Array, counts: Array) -> list[Peak]:
    """Return the phases of a histogram, the darkest first; none where it has a single value.

    Parameters
    ----------
    values, counts
        The value at the middle of each bin (ascending, equally spaced), and voxels in it.

    Examples
    --------
    >>> values = np.arange(256.0)
    >>> counts = sum(9000 * np.maximum(0, 1 - ((values - middle) / 20) ** 2) ** 3 for middle in (60, 150))
    >>> [round(peak.level, 3) for peak in peaks_of(values, counts.astype(int))]
    [60.0, 150.0]
    """
    counts = without_clipped(counts)
    if not counts.any():
        return []
    edges, coarse = _rebinned(values, counts)
    if not coarse.any():
        return []
    cuts = _valleys(coarse)
    width = float(values[1] - values[0])
    whole, found = float(counts.sum()), []
    for start, stop in zip((0, *cuts), (*cuts, BINS), strict=True):
        low = float(edges[start]) if start else float(values[0]) - width / 2
        high = float(edges[stop]) if stop < BINS else float(values[-1]) + width / 2
        top = start + int(np.argmax(_smooth(coarse)[start:stop]))
        near = (float(edges[top]) + float(edges[top + 1])) / 2
        share = float(counts[(values >= low) & (values < high)].sum()) / whole
        found.append(_peak(values, counts, near, (low, high), share))
    return found


def shoulder(values: Array, counts: Array) -> tuple[float, float]:
    """Return how many voxels the darkest phase has on its bright side for one on its dark side, and how far out.

    A peak of one phase has about as many on both sides, once the voxels that mix it with the brightest phase are taken
    off: as many at each level as halfway between the two, and as many near the peak as the brightest phase has too
    many on its dark side, since blur makes those in pairs. One that hides another has more. The second number is by how
    much the mean of the brighter side is farther from the peak than that of the darker side: by so much the peak may
    lie beside the phase. Both are 0 unless there are two phases.
    """
    found = peaks_of(values, counts)
    if len(found) != 2:
        return 0.0, 0.0
    level, contrast = found[0].level, found[1].level - found[0].level
    away, beyond = values - level, found[1].level - values
    mixed = float(np.median(counts[(away > 0.35 * contrast) & (away < 0.65 * contrast)]))
    outer, solid = np.where(away < 0, counts, 0.0), np.where(beyond < 0, counts, 0.0)
    inner, cracked = (np.where((side >= 0) & (side < 0.35 * contrast), counts - mixed, 0.0) for side in (away, beyond))
    if not (outer.sum() > 0 and inner.sum() > 0):
        return 0.0, 0.0
    farther = float((inner * away).sum() / inner.sum() + (outer * away).sum() / outer.sum())
    blurred = max(float(cracked.sum() - solid.sum()), 0.0)
    return float(inner.sum() - blurred) / float(outer.sum()), max(farther, 0.0)


def without_clipped(counts: Array) -> Array:
    """Return a histogram without a spike at either of its ends, where values beyond a detector's range pile up.

    >>> without_clipped(np.array([0, 900, 5, 9, 7, 3, 2])).tolist()
    [0, 0, 5, 9, 7, 3, 2]
    """
    there = np.flatnonzero(counts)
    if there.size < 5:
        return counts
    kept = np.array(counts)
    for end, beside in ((there[0], there[1:4]), (there[-1], there[-4:-1])):
        if counts[end] > 3 * counts[beside].max():
            kept[end] = 0
    return kept


def _rebinned(values: Array, counts: Array) -> tuple[Array, Array]:
    """Return `BINS` bins between two percentiles: edges and voxels, a value spread over the width it stands for."""
    below = np.cumsum(counts)
    few = below[-1] * FEW
    width = float(values[1] - values[0])
    low = float(values[np.searchsorted(below, few, side="right")]) - width / 2
    high = float(values[min(int(np.searchsorted(below, below[-1] - few)), len(values) - 1)]) + width / 2
    edges = low + np.arange(BINS + 1) * ((high - low) / BINS)
    if not high - low > 1.5 * width:
        return edges, np.zeros(BINS)
    ends = np.append(values - width / 2, values[-1] + width / 2)
    return edges, np.diff(np.interp(edges, ends, np.append(0, below)))


def _kernel() -> Array:
    u = np.arange(-SMOOTH + 1, SMOOTH) / SMOOTH
    return (1 - u * u) ** 2


def _smooth(coarse: Array) -> Array:
    """Return voxels a bin, smoothed by a biweight; at the ends by what there is of it."""
    kernel = _kernel()
    padded = np.pad(coarse, SMOOTH - 1)
    weight = np.pad(np.ones(BINS), SMOOTH - 1)
    total, norm = np.zeros(BINS), np.zeros(BINS)
    for k, part in enumerate(kernel.tolist()):
        total += part * padded[k : k + BINS]
        norm += part * weight[k : k + BINS]
    return np.asarray(total / norm)


def _valleys(coarse: Array) -> tuple[int, ...]:
    """Return the bins where one phase ends and the next begins."""
    smooth, kernel = _smooth(coarse), _kernel()
    # The variance of a smoothed count is this times the count: the squares of the kernel's weights.
    spread = SHARED * float((kernel * kernel).sum() / kernel.sum() ** 2)
    rising = np.diff(smooth) > 0
    tops = [k for k in range(BINS) if (k == 0 or rising[k - 1]) and (k == BINS - 1 or not rising[k])]
    while len(tops) > 1:
        cuts = [a + int(np.argmin(smooth[a : b + 1])) for a, b in pairwise(tops)]
        ends = [0, *cuts, BINS]
        weak: list[tuple[float, int]] = []
        for k, cut in enumerate(cuts):
            lower = k if smooth[tops[k]] <= smooth[tops[k + 1]] else k + 1
            height, valley = float(smooth[tops[lower]]), float(smooth[cut])
            share = float(coarse[ends[lower] : ends[lower + 1]].sum() / coarse.sum())
            sure = height - valley > SURE * (spread * (height + valley)) ** 0.5
            if not sure or valley > (1 - VALLEY) * height or share < LEAST_SHARE:
                weak.append((height - valley, lower))
        if not weak:
            return tuple(cuts)
        del tops[min(weak)[1]]
    return ()


def _peak(values: Array, counts: Array, near: float, ends: tuple[float, float], share: float) -> Peak:
    level, width = near, 0.0
    for _ in range(4):  # the width is told from the level, and the level with the width
        width = _flank(values, counts, level, ends)
        level = biweight(values, counts, level, REACH * width, ends)[0]
    level, error = biweight(values, counts, level, REACH * width, ends)
    wider = biweight(values, counts, level, WIDER * REACH * width, ends)[0]
    return Peak(level, error, wider, width, *ends, share)


def _flank(values: Array, counts: Array, level: float, ends: tuple[float, float]) -> float:
    """Return the distance from a peak within which 68% of the voxels of its steeper side lie."""
    step = float(values[1] - values[0])
    edges = np.append(values - step / 2, values[-1] + step / 2)
    below = np.append(0, np.cumsum(counts)).astype(float)

    def rank(value: float) -> float:
        return float(np.interp(value, edges, below))

    def at(part: float) -> float:
        return float(np.interp(part, below, edges))

    middle = rank(level)
    left = level - at(middle - 0.68 * (middle - rank(ends[0])))
    right = at(middle + 0.68 * (rank(ends[1]) - middle)) - level
    return max(min((side for side in (left, right) if side > 0), default=step), step)


def biweight(values: Array, counts: Array, level: float, half: float, ends: tuple[float, float]) -> tuple[float, float]:
    """Return Tukey's biweight location of the voxels about a level, and its standard error."""
    inside = (values >= ends[0] - half) & (values <= ends[1] + half)
    x, n = values[inside], counts[inside].astype(float)
    for _ in range(200):
        u = (x - level) / half
        weight = np.where(np.abs(u) < 1, (1 - u * u) ** 2, 0.0) * n
        if not weight.any():
            return level, half
        following = float((weight * x).sum() / weight.sum())
        step, level = abs(following - level), following
        if step < 1e-9 * half:
            break
    u = (x - level) / half
    near = np.where(np.abs(u) < 1, n, 0.0)
    slope = float((near * (1 - u * u) * (1 - 5 * u * u)).sum())
    square = float((near * ((x - level) * (1 - u * u) ** 2) ** 2).sum())
    return level, ((SHARED * square) ** 0.5 / slope if slope > 0 else half)
