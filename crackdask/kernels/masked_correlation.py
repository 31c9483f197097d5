"""The shift at which two volumes correlate best, judged on the voxels valid in both (Padfield 2012)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Triple
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:
    fft = Later("scipy.fft")

Volume = NDArray[np.float32]


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
