"""Where one small volume lies in another: masked correlation for whole voxels, then Gauss-Newton.

Sums run in one fixed order on one thread, so a match is the same bits wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.masked_correlation import Volume, correlate, padded_shape, spectra
from crackdask.kernels.translation_fit import fit_shift

MISSING = np.float32(-3e38)  # marks invalid voxels where a kernel wants a fill value
BLUR = 1.0  # voxels: evens out what interpolation does to noise before grey levels are compared
# Blurred noise is correlated: one independent value per this many voxels.
CORRELATED = (2 * np.sqrt(np.pi) * BLUR) ** 3
_ROUNDS = 10  # steps at most
SETTLED = 0.01  # voxels: a step shorter than this is the last
RUNAWAY = 3.0  # voxels: further than this from where they start no steps are believed
MARGIN = 4  # voxels: how much further than a template its surroundings reach, for `RUNAWAY` and a cubic's taps
RIM = 2  # voxels of a template whose blur lacks too much of what lies beyond its faces


@compiled
def _pass(grey, weights, axis, out) -> None:  # type: ignore[no-untyped-def]
    """Weigh each voxel and those after it along an axis: row upon row, which the compiler turns into vectors."""
    nz, ny, nx = out.shape
    for k in range(nz):
        for j in range(ny):
            target = out[k, j]
            target[:] = np.float32(0)
            for t in range(len(weights)):
                w = weights[t]
                a, b, c = k + t * (axis == 0), j + t * (axis == 1), t * (axis == 2)
                source = grey[a, b, c : c + nx]
                for i in range(nx):
                    target[i] += w * source[i]


def _filtered(grey: Volume, weights: Iterable[NDArray[np.float32]]) -> Volume:
    """Weigh voxels along each axis in turn; the volume loses as many as have no full support."""
    for axis, row in enumerate(weights):
        shape = list(grey.shape)
        shape[axis] -= len(row) - 1
        out = np.empty(shape, np.float32)
        _pass(grey, row, axis, out)
        grey = out
    return grey


def blur(grey: Volume) -> Volume:
    """Blur a volume, its faces repeated outside."""
    reach = int(3 * BLUR)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / BLUR) ** 2)
    row = (bell / bell.sum()).astype(np.float32)
    return _filtered(np.pad(grey, reach, mode="edge"), (row, row, row))


def smooth(grey: Volume, valid: Mask) -> tuple[Volume, Mask]:
    """Blur the valid voxels of a volume, and drop voxels that invalid ones would colour.

    What is dropped holds the mean of the valid voxels around, where there are some.

    >>> grey, valid = smooth(np.full((5, 5, 5), 7, np.float32), np.ones((5, 5, 5), bool))
    >>> bool(valid.all()), bool(np.allclose(grey, 7))
    (True, True)
    """
    if valid.all():
        return blur(grey), valid
    blurred = blur(np.where(valid, grey, np.float32(0)))
    weight = blur(valid.astype(np.float32))
    kept = valid & (weight > 0.95)
    return np.divide(blurred, weight, out=np.zeros_like(blurred), where=weight > 0), kept


def shrink(grey: NDArray[Any], valid: Mask | None, factor: Triple) -> tuple[Volume, Mask]:
    """Bin a volume by whole factors; a bin is valid where at least half of its voxels are.

    >>> shrink(np.arange(8.0).reshape(2, 2, 2), None, (2, 2, 2))[0].tolist()
    [[[3.5]]]
    """
    size = np.float32(np.prod(factor))
    counts = [n // f for n, f in zip(grey.shape, factor, strict=True)]
    total = np.empty(counts, np.float32)
    if valid is None:
        _bin_sums(np.ascontiguousarray(grey, np.float32), *factor, total)
        return total / size, np.ones(total.shape, bool)
    share = np.empty(counts, np.float32)
    _bin_sums(np.where(valid, grey, 0).astype(np.float32), *factor, total)
    _bin_sums(valid.astype(np.float32), *factor, share)
    share /= size
    kept = share >= 0.5
    mean = np.divide(total / size, share, out=np.zeros_like(total), where=kept)
    return mean, kept


@compiled
def _bin_sums(grey, fz, fy, fx, out) -> None:  # type: ignore[no-untyped-def]
    """Add up whole bins: along z, then y, then x."""
    nz, ny, nx = out.shape
    column, plane = np.empty(nx * fx, np.float32), np.empty(nx * fx, np.float32)
    for k in range(nz):
        for j in range(ny):
            plane[:] = np.float32(0)
            for b in range(fy):
                column[:] = np.float32(0)
                for a in range(fz):
                    row = grey[k * fz + a, j * fy + b]
                    for i in range(nx * fx):
                        column[i] += row[i]
                for i in range(nx * fx):
                    plane[i] += column[i]
            for i in range(nx):
                total = np.float32(0)
                for c in range(fx):
                    total += plane[i * fx + c]
                out[k, j, i] = total


class Translation(NamedTuple):
    """A shift, the correlation there, its largest variance, and the middle of the voxels used."""

    shift: NDArray[np.float64]
    correlation: float
    variance: float
    middle: NDArray[np.float64]


def whole_shift(
    fixed: Volume, fixed_valid: Mask, moving: Volume, moving_valid: Mask, margin: int
) -> NDArray[np.float64] | None:
    """Return the shift, in whole voxels, at which a template correlates best with a wider volume.

    Parameters
    ----------
    fixed, fixed_valid
        The template.
    moving, moving_valid
        The same place and `margin` more voxels on every side: the largest shift.
    margin
        See `moving`.

    Returns
    -------
    ndarray or None
        None where no shift correlates.
    """
    padded, most = padded_shape(moving.shape), 2 * margin
    shift, score = correlate(
        spectra(fixed, fixed_valid, padded),
        spectra(moving, moving_valid, padded),
        padded,
        (0, 0, 0),
        (most, most, most),
        0.25 * fixed.size,
    )
    return None if score <= 0 else np.array(shift, np.float64) - margin


def settle(fixed: Volume, fixed_valid: Mask, moving: Volume, moving_valid: Mask) -> Translation | None:
    """Return the shift of a template, to a small part of a voxel, from less than `RUNAWAY` off.

    Gauss-Newton with gain and offset of the grey levels free and large residuals (cracks) counting
    little. Both volumes are blurred first.

    Parameters
    ----------
    fixed, fixed_valid
        The template.
    moving, moving_valid
        The same place and `MARGIN` more voxels on every side.

    Returns
    -------
    Translation or None
        None where the grey levels do not settle a shift, or where it runs away.
    """
    if not np.array_equal(np.array(fixed.shape) + 2 * MARGIN, moving.shape):
        raise ValueError(f"moving needs a margin of {MARGIN} voxels around {fixed.shape}, got {moving.shape}")
    if min(fixed.shape) <= 2 * RIM:
        return None
    fixed, fixed_valid = smooth(fixed, fixed_valid)
    moving, moving_valid = smooth(moving, moving_valid)
    inner = (slice(RIM, -RIM),) * 3
    found = fit_shift(
        np.ascontiguousarray(fixed[inner]), np.ascontiguousarray(fixed_valid[inner]), moving, moving_valid,
        margin=MARGIN + RIM - 1, rounds=_ROUNDS, settled=SETTLED, runaway=RUNAWAY,
    )  # fmt: skip
    if found is None:
        return None
    spread = np.linalg.inv(found.information) * CORRELATED * found.deviation**2
    return Translation(found.shift, found.correlation, float(np.linalg.eigvalsh(spread)[-1]), found.middle + RIM)
