"""The slow trend of a scan's grey scale, and a scan without it: levels of void and solid that vary smoothly in space.

Cupping and a beam's profile move the levels of the darkest and of the brightest phase across a scan. Each is a
polynomial of second degree in z, y and x, fitted to a small version of the scan; a voxel is then brought from where
these two surfaces pass to the levels of the whole scan. No block shows: the surfaces are a few numbers, made once, and
a voxel's correction comes from its position in the scan by one fixed expression of IEEE operations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crackdask.arrays import Array, Floats
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.histogram_peaks import REACH, Peak, peaks_of

#: The terms of a surface, in places from -1 to 1 across the scan.
TERMS = ("1", "z", "y", "x", "z z", "y y", "x x", "z y", "z x", "y x")
#: The fewest voxels of a phase that tell its surface, and how small the contrast may become anywhere, as a share of the
#: scan's: beyond that the surfaces are no slow trend.
FEWEST, LEAST_CONTRAST = 1000, 0.5
#: Rounds of the robust fit, and how wide it looks about a surface, in reaches of the phase's peak.
_ROUNDS, _WIDE = 15, 1.5
#: Digits of a coefficient that are kept: what is left out is far below any error, and so is what differs between
#: processors.
_DIGITS = 10
_BINS = 1024


class FlatField(NamedTuple):
    """Levels of the darkest and of the brightest phase across a scan, raw values.

    Attributes
    ----------
    middle, half
        Voxel (z, y, x) of the scan that is place 0 of the surfaces, and voxels from there to place 1.
    dark, bright
        Coefficients of the surfaces, by `TERMS`; of no term where nothing is flattened.
    levels
        Of the two phases in the flattened scan.
    """

    middle: Floats
    half: Floats
    dark: Floats
    bright: Floats
    levels: Floats


#: What flattens nothing.
EVEN = FlatField(np.zeros(3), np.ones(3), np.zeros(0), np.zeros(0), np.array([0.0, 1.0]))


@compiled(inline="always")
def surface(c, z: float, y: float, x: float) -> float:  # type: ignore[no-untyped-def]
    """Return the level of a surface at a place."""
    linear = ((c[0] + c[1] * z) + c[2] * y) + c[3] * x
    square = (c[4] * z * z + c[5] * y * y) + c[6] * x * x
    mixed = (c[7] * z * y + c[8] * z * x) + c[9] * y * x
    return (linear + square) + mixed


@compiled
def flattened(value: float, z: float, y: float, x: float, field) -> float:  # type: ignore[no-untyped-def]
    """Return a voxel's raw value without the trend; z, y and x are its place in the scan, in voxels."""
    u = (z - field.middle[0]) / field.half[0]
    v = (y - field.middle[1]) / field.half[1]
    w = (x - field.middle[2]) / field.half[2]
    dark, bright = surface(field.dark, u, v, w), surface(field.bright, u, v, w)
    dark_level, bright_level = field.levels[0], field.levels[1]
    return dark_level + (value - dark) * ((bright_level - dark_level) / (bright - dark))


@compiled
def _flatten(scan, start, factor: int, field, out) -> None:  # type: ignore[no-untyped-def]
    nz, ny, nx = scan.shape
    first = (factor - 1) / 2
    for k in range(nz):
        z = factor * k + first + start[0]
        for j in range(ny):
            y = factor * j + first + start[1]
            for i in range(nx):
                x = factor * i + first + start[2]
                out[k, j, i] = flattened(float(scan[k, j, i]), z, y, x, field)


def flatten(scan: Array, factor: int, field: FlatField, start: Triple = (0, 0, 0)) -> Floats:
    """Return a small version of a scan without the trend, or a box of it.

    Parameters
    ----------
    scan
        Voxels (z, y, x).
    factor
        Voxels of the scan along an edge of one of these.
    field
        What is taken off.
    start
        Voxel of the scan at which they begin.
    """
    out = np.array(scan, np.float64)
    if field.bright.size:
        _flatten(scan, start, factor, field, out)
    return out


@compiled
def _sums(scan, valid, factor, field_middle, field_half, c, half):  # type: ignore[no-untyped-def]
    """Return the normal equations of a surface, and how many voxels lie about it; one sum after the other."""
    nz, ny, nx = scan.shape
    first = (factor - 1) / 2
    matrix, right, terms, voxels = np.zeros((10, 10)), np.zeros(10), np.ones(10), 0
    for k in range(nz):
        z = (factor * k + first - field_middle[0]) / field_half[0]
        for j in range(ny):
            y = (factor * j + first - field_middle[1]) / field_half[1]
            for i in range(nx):
                if not valid[k, j, i]:
                    continue
                x = (factor * i + first - field_middle[2]) / field_half[2]
                value = float(scan[k, j, i])
                u = (value - surface(c, z, y, x)) / half
                if not u * u < 1.0:
                    continue
                weight = (1.0 - u * u) * (1.0 - u * u)
                terms[1], terms[2], terms[3] = z, y, x
                terms[4], terms[5], terms[6] = z * z, y * y, x * x
                terms[7], terms[8], terms[9] = z * y, z * x, y * x
                voxels += 1
                for a in range(10):
                    right[a] += weight * terms[a] * value
                    for b in range(a + 1):
                        matrix[a, b] += weight * terms[a] * terms[b]
    return matrix, right, voxels


def flat_field(scan: Array, valid: Array | None, factor: int, shape: Triple) -> FlatField | None:
    """Return the slow trend of a scan from a small version; None where it cannot be told.

    The surface of a phase is fitted by Tukey's biweight to the voxels about its peak, so voxels that mix phases, cracks
    and other phases hardly count. A flattened scan keeps the mean levels of its phases.

    Parameters
    ----------
    scan
        Small version, (z, y, x).
    valid
        False for voxels that do not count.
    factor, shape
        Voxels of the scan along an edge of one of these, and the scan's shape.
    """
    inside = np.ones(scan.shape, bool) if valid is None else valid
    middle, half = (np.array(shape) - 1) / 2, np.array(shape) / 2
    field = EVEN
    for _ in range(2):  # a trend widens the peaks, and in wider peaks more mixed voxels draw the surfaces
        found = _phases(flatten(scan, factor, field)[inside])
        if found is None:
            return None
        surfaces, levels = [], []
        for peak in found:
            fitted = _fit(scan, inside, factor, (middle, half), (peak.level, _WIDE * REACH * peak.width))
            if fitted is None:
                return None
            surfaces.append(fitted[0])
            levels.append(fitted[1])
        field = FlatField(middle, half, surfaces[0], surfaces[1], np.array(levels))
        if not _least_contrast(field, scan.shape, factor) > LEAST_CONTRAST * (levels[1] - levels[0]) > 0:
            return None
    return field


def _phases(values: Array) -> tuple[Peak, Peak] | None:
    """Return the darkest and the brightest peak of some voxels; None where they show no two."""
    if values.size < _BINS or values.min() == values.max():
        return None
    found = peaks_of(*histogram(values))
    return (found[0], found[-1]) if len(found) > 1 else None


def histogram(values: Array) -> tuple[Floats, Array]:
    """Return the middles of bins over some voxels, and how many there are in each."""
    counts, edges = np.histogram(values, _BINS)
    return (edges[:-1] + edges[1:]) / 2, counts


def _fit(
    scan: Array, inside: Array, factor: int, places: tuple[Floats, Floats], about: tuple[float, float]
) -> tuple[Floats, float] | None:
    """Return the coefficients of one phase's surface and its mean level over the voxels of the phase."""
    level, half = about
    fitted = np.zeros(len(TERMS))
    fitted[0] = level
    for _ in range(_ROUNDS):
        lower, right, voxels = _sums(scan, inside, factor, *places, fitted, half)
        whole = lower + np.tril(lower, -1).T
        if voxels < FEWEST or np.linalg.cond(whole) > 1e8:
            return None
        fitted = np.linalg.solve(whole, right)
    mean = float(whole[0] @ fitted) / float(whole[0, 0])
    return np.array([_rounded(each, mean) for each in fitted.tolist()]), _rounded(mean, mean)


def _rounded(value: float, scale: float) -> float:
    """Return a number to so many digits of a scale."""
    step = 10.0 ** (np.floor(np.log10(abs(scale) or 1.0)) - _DIGITS)
    return float(np.round(value / step) * step)


def _least_contrast(field: FlatField, shape: tuple[int, ...], factor: int) -> float:
    at = [(factor * np.arange(n) + (factor - 1) / 2 - m) / h for n, m, h in zip(shape, *field[:2], strict=True)]
    z, y, x = np.ix_(*at)
    return float((surface.py_func(field.bright, z, y, x) - surface.py_func(field.dark, z, y, x)).min())
