"""Where one small volume lies in another: masked correlation for whole voxels, then Gauss-Newton.

Sums run in one fixed order on one thread, so a match is the same bits wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Triple
from crackdask.kernels.interpolation import cubic_weights
from crackdask.kernels.masked_correlation import Volume, correlate, padded_shape, spectra
from crackdask.kernels.smooth_curve import MAD

MISSING = np.float32(-3e38)  # marks invalid voxels where a kernel wants a fill value
BLUR = 1.0  # voxels: evens out what interpolation does to noise before grey levels are compared
# Blurred noise is correlated: one independent value per this many voxels.
CORRELATED = (2 * np.sqrt(np.pi) * BLUR) ** 3
SETTLED = 0.01  # voxels: a step shorter than this is the last
RUNAWAY = 3.0  # voxels: further than this from where they start no steps are believed
MARGIN = 4  # voxels: how much further than a template its surroundings reach, for `RUNAWAY` and a cubic's taps
RIM = 2  # voxels of a template whose blur lacks too much of what lies beyond its faces


@njit(cache=True, nogil=True)
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
    weight = np.ones(grey.shape, np.float32) if valid is None else valid.astype(np.float32)
    held = grey.astype(np.float32) if valid is None else np.where(valid, grey, np.float32(0))
    total, share = (_bin_sums(part, factor) / float(np.prod(factor)) for part in (held, weight))
    kept = share >= 0.5
    mean = np.divide(total, share, out=np.zeros_like(total), where=kept)
    return mean.astype(np.float32), kept


def _bin_sums(grey: NDArray[Any], factor: Triple) -> NDArray[Any]:
    """Return the sums of whole bins, added axis by axis."""
    for axis, f in enumerate(factor):
        count = grey.shape[axis] // f
        index = [slice(None)] * 3
        parts = []
        for first in range(f):
            index[axis] = slice(first, count * f, f)
            parts.append(grey[tuple(index)])
        grey = sum(parts[1:], start=parts[0])
    return grey


@njit(cache=True, nogil=True)
def _sums(fixed, moving, mask, gain, offset, scale, normal, right) -> float:  # type: ignore[no-untyped-def]
    """Add up the normal equations of (dz, dy, dx, gain, offset); return the sum of weights."""
    nz, ny, nx = fixed.shape
    row = np.zeros(5)
    total = 0.0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                # `moving` and `mask` have one more voxel on every side.
                if not mask[k, j, i]:
                    continue
                here = float(moving[k + 1, j + 1, i + 1])
                rest = fixed[k, j, i] - (gain * here + offset)
                weight = 1.0
                if scale > 0.0:
                    weight = 1.0 / (1.0 + (rest / scale) * (rest / scale))
                row[0] = 0.5 * (float(moving[k + 2, j + 1, i + 1]) - float(moving[k, j + 1, i + 1]))
                row[1] = 0.5 * (float(moving[k + 1, j + 2, i + 1]) - float(moving[k + 1, j, i + 1]))
                row[2] = 0.5 * (float(moving[k + 1, j + 1, i + 2]) - float(moving[k + 1, j + 1, i]))
                row[3] = here
                row[4] = 1.0
                total += weight
                for a in range(5):
                    right[a] += weight * row[a] * fixed[k, j, i]
                    for b in range(a, 5):
                        normal[a, b] += weight * row[a] * row[b]
    for a in range(5):
        for b in range(a):
            normal[a, b] = normal[b, a]
    return total


class Step(NamedTuple):
    """One Gauss-Newton step of a translation, with gain and offset of the grey levels."""

    shift: NDArray[np.float64]
    gain: float
    offset: float
    information: NDArray[np.float64]


def gauss_newton(fixed: Volume, moving: Volume, mask: Mask, gain: float, offset: float, scale: float) -> Step | None:
    """Return the step that brings ``gain * moving(x + shift) + offset`` closest to `fixed`.

    Parameters
    ----------
    fixed, mask
        The template and its usable voxels.
    moving
        The other volume on the template's voxels and one more on every side.
    gain, offset, scale
        Of the last step; residuals much larger than `scale` count little (Cauchy weights). With
        scale 0 every voxel counts alike.

    Returns
    -------
    Step or None
        None where the grey levels do not settle a shift.
    """
    normal, right = np.zeros((5, 5)), np.zeros(5)
    used = float(_sums(fixed, moving, mask, gain, offset, scale, normal, right))
    spread = np.sqrt(np.diag(normal))
    if used < 100 or not (spread > 0).all():
        return None
    scaled = normal / np.outer(spread, spread)
    if np.linalg.cond(scaled) > 1e10:
        return None
    answer = np.linalg.solve(scaled, right / spread) / spread
    if not np.isfinite(answer).all() or answer[3] <= 0:
        return None
    # What the data say about the shift once gain and offset are free (Schur complement).
    cross = normal[:3, 3:]
    inner = normal[:3, :3] - cross @ np.linalg.solve(normal[3:, 3:], cross.T)
    information = inner * float(answer[3]) ** 2
    return Step(answer[:3] / answer[3], float(answer[3]), float(answer[4]), information)


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
    fixed, usable = np.ascontiguousarray(fixed[inner]), fixed_valid[inner]
    shift, gain, offset, scale = np.zeros(3), 1.0, 0.0, 0.0
    information = np.eye(3)
    for _ in range(10):
        moved, held = _shifted(moving, moving_valid, shift + (MARGIN + RIM - 1), fixed.shape)
        mask = usable & _with_neighbours(held)
        if mask.mean() < 0.2:
            return None
        step = gauss_newton(fixed, moved, mask, gain, offset, scale)
        if step is None:
            return None
        gain, offset, information = step.gain, step.offset, step.information
        length = float(np.sqrt((step.shift**2).sum()))
        shift += step.shift / max(1.0, length)
        if np.abs(shift).max() > RUNAWAY:
            return None
        here, there = fixed[mask], moved[1:-1, 1:-1, 1:-1][mask]
        deviation = MAD * float(np.median(np.abs(here - (gain * there + offset))))
        scale = 2 * deviation
        if length < SETTLED:
            break
    spread = np.linalg.inv(information) * CORRELATED * deviation**2
    return Translation(
        shift,
        correlation(here, there),
        float(np.linalg.eigvalsh(spread)[-1]),
        np.array([axis.mean(dtype=np.float64) + RIM for axis in np.nonzero(mask)]),
    )


def _shifted(grey: Volume, valid: Mask, start: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[Volume, Mask]:
    """Return a volume on a template's voxels and one more on every side, the first of them at `start`.

    Keys's cubic, which for a shift falls apart into its axes. A voxel is valid where those next to it are: the taps
    further out weigh so little that the mean around them will do.
    """
    first = np.floor(start).astype(int)
    window = tuple(slice(a - 1, a + n + 4) for a, n in zip(first, shape, strict=True))
    weights = [np.array(cubic_weights(f), np.float32) for f in (start - first).tolist()]
    moved, held = _filtered(grey[window], weights), valid[window]
    if held.all():
        return moved, held[1:-2, 1:-2, 1:-2]
    for axis, n in enumerate(moved.shape):
        held = np.take(held, range(1, 1 + n), axis) & np.take(held, range(2, 2 + n), axis)
    return moved, held


def correlation(first: Volume, second: Volume) -> float:
    """Return Pearson's correlation, 0 where either is constant.

    >>> round(correlation(np.arange(4.0), 3 * np.arange(4.0) + 1), 6)
    1.0
    """
    here, there = first.astype(np.float64), second.astype(np.float64)
    here -= here.mean()
    there -= there.mean()
    power = float((here * here).sum() * (there * there).sum())
    return float((here * there).sum()) / power**0.5 if power > 0 else 0.0


def _with_neighbours(held: Mask) -> Mask:
    """Return where a voxel and its six neighbours are held, without the outer voxels."""
    core = held[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for part in (slice(0, -2), slice(2, None)):
            index = [slice(1, -1)] * 3
            index[axis] = part
            core &= held[tuple(index)]
    return core
