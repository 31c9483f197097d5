"""Phase retrieval of one material from one distance (Paganin et al. 2002, J. Microsc. 206, 33, equation 10).

Behind a sample that is thin, of one material, and followed by a short way to the detector, what a ray lost is the
logarithm of its intensity after a low pass 1 / (1 + strength |frequency|**2). It is applied to the share of the beam
that came through, so that all goes on as after absorption alone. Each projection is worked on by itself and whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Singles
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:  # which every command would wait for
    fft = Later("scipy.fft")

#: Metres times keV: Planck's constant times the speed of light.
_WAVELENGTH = 1.23984198e-9
#: After so many lengths of the low pass next to nothing is left of it (e**-12).
_LENGTHS = 12
#: No padding is wider, voxels.
_WIDEST = 4096


def strength(delta_beta: float, energy_kev: float, distance_mm: float, pixel_um: float) -> float:
    """Return what the square of the frequency, cycles a pixel, is weighed with.

    It is pi times wavelength, distance and delta / beta, over the square of a pixel.

    >>> round(strength(100.0, 20.0, 130.0, 0.325), 1)
    23969.7
    """
    wavelength = _WAVELENGTH / energy_kev
    return math.pi * wavelength * distance_mm * 1e-3 * delta_beta / (pixel_um * 1e-6) ** 2


def reach(weight: float) -> int:
    """Return how many pixels away a pixel is still seen: beyond, a projection goes on as at its edge.

    >>> reach(0.0), reach(23969.7)
    (0, 296)
    """
    return min(math.ceil(_LENGTHS * math.sqrt(weight) / (2 * math.pi)), _WIDEST)


def low_pass(shape: tuple[int, int], weight: float) -> Singles:
    """Return the factors of the frequencies that `scipy.fft.rfft2` gives of an image."""
    rows, columns = (
        np.asarray(each, np.float64) ** 2 for each in (np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]))
    )
    return (1 / (1 + weight * (rows[:, None] + columns))).astype(np.float32)


def padded_shape(shape: tuple[int, int], weight: float) -> tuple[int, int]:
    """Return the size at which an image of so many rows and columns is transformed."""
    rows, columns = (fft.next_fast_len(n + 2 * reach(weight), real=True) for n in shape)
    return rows, columns


def retrieved(transmission: Singles, weight: float, factors: Singles) -> Singles:
    """Return a projection (row, column) of transmissions after the low pass.

    Parameters
    ----------
    transmission
        Finite, the share of the beam that came through.
    weight
        Of `strength`.
    factors
        Of `low_pass`, at `padded_shape`.
    """
    edge = reach(weight)
    wide = padded_shape((transmission.shape[0], transmission.shape[1]), weight)
    behind = [w - n - edge for w, n in zip(wide, transmission.shape, strict=True)]
    padded = np.pad(transmission, ((edge, behind[0]), (edge, behind[1])), mode="edge")
    lines = fft.rfft2(padded)
    lines *= factors
    passed = fft.irfft2(lines, s=wide, overwrite_x=True)
    rows, columns = transmission.shape
    return np.ascontiguousarray(passed[edge : edge + rows, edge : edge + columns], np.float32)
