"""What a scanner adds to grey levels over a whole scan: slow trends (cupping, the beam's profile) and rings.

Both are looked for in a small version of the scan, in the levels of its brightest phase: cracks and the packing of
particles hardly move the commonest level, and a scanner does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.histogram_peaks import REACH, Peak, peaks_of

#: Cells along each axis, and the fewest voxels of the phase that tell its level in a cell or a ring.
CELLS, FEWEST = 4, 40
_BINS = 1024
#: Rings are what is left of the radial profile less its running mean over so many radii to either side.
_SLOW = 4


@dataclass(frozen=True)
class Trend:
    """The levels of the brightest phase over a scan.

    Attributes
    ----------
    level, contrast
        Of the whole scan: the phase, and how much brighter than the darkest it is.
    cells
        (z, y, x), its level in each of 4 x 4 x 4 cells; NaN where there is too little of it.
    rings, rings_error
        Root mean square of the rings about the axis z through the scan's middle, and its standard error.
    """

    level: float
    contrast: float
    cells: Array
    rings: float
    rings_error: float


def trend(scan: Array, valid: Array | None = None) -> Trend | None:
    """Return the levels of the brightest phase over a small version of a scan; None where it shows no two phases.

    Parameters
    ----------
    scan
        Voxels (z, y, x).
    valid
        False for voxels that do not count.
    """
    inside = np.ones(scan.shape, bool) if valid is None else valid
    values = scan[inside].astype(np.float64)
    if values.size < _BINS or values.min() == values.max():
        return None
    counts, edges = np.histogram(values, _BINS)
    found = peaks_of((edges[:-1] + edges[1:]) / 2, counts)
    if len(found) < 2:
        return None
    bright = found[-1]
    shares = [np.arange(n) * CELLS // n for n in scan.shape]
    cells = np.full((CELLS,) * 3, np.nan)
    for place in product(range(CELLS), repeat=3):
        part = np.ix_(*(np.flatnonzero(share == k) for share, k in zip(shares, place, strict=True)))
        cells[place] = _level(scan[part][inside[part]].astype(np.float64), bright)
    return Trend(bright.level, bright.level - found[0].level, cells, *_rings(scan, inside, bright))


def spread(cells: Array) -> tuple[float, float]:
    """Return the range of a smooth field through the levels of cells, and the standard error of that.

    The field is a polynomial of second degree, and the error is told by what it leaves.

    >>> z, y, x = np.indices((4, 4, 4))
    >>> [round(number, 6) for number in spread(2.0 * x + 0.5 * (y - 1.5) ** 2)]
    [7.0, 0.0]
    """
    z, y, x = (np.indices(cells.shape) - (CELLS - 1) / 2) / (CELLS / 2)
    terms = np.stack([np.ones(cells.shape), z, y, x, z * z, y * y, x * x, z * y, z * x, y * x], axis=-1)
    known = np.isfinite(cells)
    if np.count_nonzero(known) < 3 * terms.shape[-1]:
        return 0.0, float("inf")
    fit, *_ = np.linalg.lstsq(terms[known], cells[known], rcond=None)
    field = terms[known] @ fit
    left = float(((cells[known] - field) ** 2).sum() / (field.size - fit.size))
    # The range takes two ends of the field, each known about as well as the fit is on average.
    return float(field.max() - field.min()), float(np.sqrt(2 * left * fit.size / field.size))


def ring_strength(rms: float, factor: int) -> float:
    """Return the variance of rings times a voxel (of the scan), from their root mean square in a small version.

    Rings are taken for white along the radius. `factor` voxels along an edge are averaged, then radii into bins one
    small voxel wide; the scan itself has rings that are linear between whole radii; and the running mean takes a ninth
    of what is left. A Gaussian of the same width, sqrt((factor^2 + 1) / 6) voxels, stands for all that.

    >>> round(ring_strength(0.0285, 2) / (0.1**2 / 3), 2)
    0.89
    """
    return float(rms**2 * (2 * _SLOW + 1) / (2 * _SLOW) * 2 * np.sqrt(np.pi) * np.sqrt((factor**2 + 1) / 6))


def along_axes(found: Trend | None) -> Array:
    """Return the level of the brightest phase along z, y and x, (axis, cell), off its mean, as shares of the contrast.

    NaN where it cannot be told.

    >>> cells = 100 + np.indices((4, 4, 4))[1] * 2.0
    >>> along_axes(Trend(100.0, 50.0, cells, 0.0, 0.0)).round(3).tolist()[:2]
    [[0.0, 0.0, 0.0, 0.0], [-0.06, -0.02, 0.02, 0.06]]
    """
    levels = np.full((3, CELLS), np.nan)
    if found is None:
        return levels
    middle = float(np.mean(found.cells[np.isfinite(found.cells)])) if np.isfinite(found.cells).any() else np.nan
    for axis in range(3):
        for k in range(CELLS):
            part = found.cells.take(k, axis)
            if np.isfinite(part).any():
                levels[axis, k] = (float(np.mean(part[np.isfinite(part)])) - middle) / found.contrast
    return levels


def _level(values: Array, about: Peak) -> float:
    """Return the biweight location of the voxels about a peak, started there; NaN of too few."""
    half, level = 1.5 * REACH * about.width, about.level
    for _ in range(30):
        u = (values - level) / half
        weight = np.where(np.abs(u) < 1, (1 - u * u) ** 2, 0.0)
        if np.count_nonzero(weight) < FEWEST:
            return float("nan")
        level = float((weight * values).sum() / weight.sum())
    return level


def _rings(scan: Array, inside: Array, bright: Peak) -> tuple[float, float]:
    """Return the root mean square of rings and its error, from what two halves of the scan along z have in common."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in scan.shape[1:])
    radius = np.rint(np.sqrt(y[:, None] ** 2 + x[None, :] ** 2)).astype(int)
    largest = min(scan.shape[1:]) // 2
    middle = scan.shape[0] // 2
    fast = []
    for part in (slice(0, middle), slice(middle, None)):
        levels = np.full(largest, np.nan)
        for r in range(_SLOW, largest):
            there = radius == r
            own = scan[part][:, there][inside[part][:, there]].astype(np.float64)
            levels[r] = _level(own, bright)
        fast.append(levels - _running_mean(levels))
    both = np.isfinite(fast[0]) & np.isfinite(fast[1])
    if np.count_nonzero(both) < 2 * _SLOW:
        return 0.0, float("inf")
    one, other = (each[both] for each in fast)
    square = float((one * other).mean())
    error = float(np.sqrt((one * one).mean() * (other * other).mean() / one.size))
    rms = float(np.sqrt(max(square, 0.0)))
    return rms, error / (2 * max(rms, np.sqrt(error))) if error else 0.0


def _running_mean(levels: Array) -> Array:
    means = np.full(levels.size, np.nan)
    for r in range(levels.size):
        near = levels[max(0, r - _SLOW) : r + _SLOW + 1]
        if np.isfinite(near).sum() > _SLOW:
            means[r] = np.nanmean(near)
    return means
