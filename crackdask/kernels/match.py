"""Where one small volume lies in another: masked correlation, then Gauss-Newton.

Sums run in one fixed order on one thread, so a match is the same bits wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crackdask.kernels.resample import resample_values
from crackdask.later import Later
from crackdask.plan import Box, Triple

if TYPE_CHECKING:
    from scipy import fft, ndimage
else:
    fft, ndimage = Later("scipy.fft"), Later("scipy.ndimage")

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

MISSING = np.float32(-3e38)  # marks invalid voxels where a kernel wants a fill value
BLUR = 1.0  # voxels: evens out what interpolation does to noise before grey levels are compared
# Blurred noise is correlated: one independent value per this many voxels.
CORRELATED = (2 * np.sqrt(np.pi) * BLUR) ** 3
SETTLED = 0.01  # voxels: a step shorter than this is the last
RUNAWAY = 3.0  # voxels: further than this from the correlation's peak no step is believed


def smooth(grey: Volume, valid: Mask, sigma: float) -> tuple[Volume, Mask]:
    """Blur the valid voxels of a volume, and drop voxels that invalid ones would colour.

    >>> grey, valid = smooth(np.full((5, 5, 5), 7, np.float32), np.ones((5, 5, 5), bool), 1.0)
    >>> bool(valid.all()), bool(np.allclose(grey, 7))
    (True, True)
    """
    if valid.all():
        blurred = ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=3.0)
        return blurred, valid
    held = np.where(valid, grey, np.float32(0))
    blurred = ndimage.gaussian_filter(held, sigma, mode="nearest", truncate=3.0)
    weight = ndimage.gaussian_filter(valid.astype(np.float32), sigma, mode="nearest", truncate=3.0)
    kept = valid & (weight > 0.95)
    return np.divide(blurred, weight, out=np.zeros_like(blurred), where=kept), kept


def shrink(grey: NDArray[Any], valid: Mask | None, factor: Triple) -> tuple[Volume, Mask]:
    """Bin a volume by whole factors; a bin is valid where at least half of its voxels are.

    >>> shrink(np.arange(8.0).reshape(2, 2, 2), None, (2, 2, 2))[0].tolist()
    [[[3.5]]]
    """
    weight = np.ones(grey.shape, np.float32) if valid is None else valid.astype(np.float32)
    total, share = (_bin_sums(part, factor) / float(np.prod(factor)) for part in (grey * weight, weight))
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


def padded_shape(least: Iterable[int]) -> Triple:
    """Return the next larger shape that transforms fast.

    >>> padded_shape((5, 7, 11))
    (5, 8, 12)
    """
    z, y, x = (int(fft.next_fast_len(int(n), real=True)) for n in least)
    return (z, y, x)


class Spectra(NamedTuple):
    """What a volume brings to a masked correlation."""

    mask: NDArray[np.complex128]
    grey: NDArray[np.complex128]
    square: NDArray[np.complex128]


def spectra(grey: Volume, valid: Mask, padded: Triple) -> Spectra:
    """Return the transforms of a volume's mask, grey and squared grey, padded to a shape."""
    mean = float(grey[valid].mean(dtype=np.float64)) if valid.any() else 0.0
    centred = np.where(valid, grey.astype(np.float64) - mean, 0.0)
    mask, first, second = (
        fft.rfftn(part, padded, workers=1) for part in (valid.astype(np.float64), centred, centred * centred)
    )
    return Spectra(mask, first, second)


def correlate(
    fixed: Spectra, moving: Spectra, padded: Triple, low: Triple, high: Triple, min_voxels: float
) -> tuple[Triple, float]:
    """Return the shift at which two masked volumes correlate best, and the correlation.

    Every shift is judged on the voxels valid in both volumes alone (Padfield 2012).

    Parameters
    ----------
    fixed, moving
        Transforms of the two, padded by at least the largest shift.
    padded
        Their padded shape.
    low, high
        Shifts tried along (z, y, x), `high` included; voxel i of `fixed` meets voxel i + shift of
        `moving`.
    min_voxels
        Shifts with fewer common voxels are not considered.
    """
    index = np.ix_(*(np.arange(a, b + 1) % n for a, b, n in zip(low, high, padded, strict=True)))

    def at(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> NDArray[np.float64]:
        whole = fft.irfftn(np.conj(first) * second, padded, workers=1)
        return np.asarray(whole[index], np.float64)

    common = np.maximum(at(fixed.mask, moving.mask), 1.0)
    mean_f, mean_m = at(fixed.grey, moving.mask) / common, at(fixed.mask, moving.grey) / common
    spread_f = at(fixed.square, moving.mask) / common - mean_f**2
    spread_m = at(fixed.mask, moving.square) / common - mean_m**2
    product = at(fixed.grey, moving.grey) / common - mean_f * mean_m
    floor = max(1e-6 * float(spread_f.max()) * float(spread_m.max()), 1e-300)
    usable = (common >= min_voxels) & (spread_f * spread_m > floor)
    score = np.where(usable, product / np.sqrt(np.maximum(spread_f * spread_m, floor)), -1.0)
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    shift = tuple(int(b) + a for b, a in zip(best, low, strict=True))
    return (shift[0], shift[1], shift[2]), float(score[best])


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


def translation(
    fixed: Volume, fixed_valid: Mask, moving: Volume, moving_valid: Mask, margin: int, search: int
) -> Translation | None:
    """Return the shift at which a template lies in a wider volume.

    Whole voxels by masked correlation, the rest by Gauss-Newton with gain and offset of the grey
    levels free and large residuals (cracks) counting little. Both volumes are blurred first.

    Parameters
    ----------
    fixed, fixed_valid
        The template.
    moving, moving_valid
        The same place and `margin` (even) more voxels on every side.
    margin, search
        Shifts up to `search` voxels are tried.

    Returns
    -------
    Translation or None
        None where the grey levels do not settle a shift.
    """
    fixed, fixed_valid = smooth(fixed, fixed_valid, BLUR)
    moving, moving_valid = smooth(moving, moving_valid, BLUR)
    start = _whole_shift(fixed, fixed_valid, moving, moving_valid, margin, search)
    if start is None:
        return None
    # The blur of the template lacks what lies beyond its faces.
    inner = np.zeros_like(fixed_valid)
    inner[2:-2, 2:-2, 2:-2] = True
    moving = np.where(moving_valid, moving, MISSING)
    return _settle(fixed, fixed_valid & inner, moving, margin, start)


def _whole_shift(
    fixed: Volume, fixed_valid: Mask, moving: Volume, moving_valid: Mask, margin: int, search: int
) -> NDArray[np.float64] | None:
    """Return the shift by masked correlation, to the two voxels of a bin."""
    small, small_valid = shrink(fixed, fixed_valid, (2, 2, 2))
    wide, wide_valid = shrink(moving, moving_valid, (2, 2, 2))
    padded = padded_shape(wide.shape)
    low, high = (margin - search) // 2, (margin + search) // 2
    shift, score = correlate(
        spectra(small, small_valid, padded),
        spectra(wide, wide_valid, padded),
        padded,
        (low, low, low),
        (high, high, high),
        0.25 * small.size,
    )
    return None if score <= 0 else 2.0 * np.array(shift) - margin


def _settle(fixed: Volume, usable: Mask, moving: Volume, margin: int, start: NDArray[np.float64]) -> Translation | None:
    """Return the shift at the end of Gauss-Newton, or None where it runs away."""
    shift, gain, offset, scale = start.copy(), 1.0, 0.0, 0.0
    information = np.eye(3)
    frame = Box((-1, -1, -1), tuple(n + 1 for n in fixed.shape))
    whole = Box((0, 0, 0), tuple(moving.shape))
    for _ in range(10):
        move = np.eye(4)
        move[:3, 3] = shift + margin
        moved, held = resample_values(moving, whole, move, frame, whole.shape, fill=float(MISSING))
        mask = usable & _with_neighbours(held)
        if mask.mean() < 0.2:
            return None
        step = gauss_newton(fixed, moved, mask, gain, offset, scale)
        if step is None:
            return None
        gain, offset, information = step.gain, step.offset, step.information
        length = float(np.sqrt((step.shift**2).sum()))
        shift += step.shift / max(1.0, length)
        if np.abs(shift - start).max() > RUNAWAY:
            return None
        here, there = fixed[mask], moved[1:-1, 1:-1, 1:-1][mask]
        deviation = 1.4826 * float(np.median(np.abs(here - (gain * there + offset))))
        scale = 2 * deviation
        if length < SETTLED:
            break
    spread = np.linalg.inv(information) * CORRELATED * deviation**2
    return Translation(
        shift,
        correlation(here, there),
        float(np.linalg.eigvalsh(spread)[-1]),
        np.array([axis.mean(dtype=np.float64) for axis in np.nonzero(mask)]),
    )


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
