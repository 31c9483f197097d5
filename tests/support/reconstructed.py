"""Packed ellipsoids with their exact projections and slices, and how far a reconstruction is off."""

from __future__ import annotations

from functools import cache

import numpy as np

from crackdask.phantom.ellipsoids import Ellipsoids, packed

COLUMNS, CENTER = 512, 259.87
HALF_TURN = np.linspace(0, 180, 900, endpoint=False)
LIMITED = np.linspace(30, 177, 900)


@cache
def ellipsoids(seed: int = 0) -> Ellipsoids:
    """Return 465 or a few less, most of which the middle row cuts."""
    return packed(seed, 465, 240, 12, (5, 12), 0.1)


@cache
def sinogram(limited: bool = False) -> np.ndarray:
    """Return the middle row's line integrals, (1, projection, column)."""
    return ellipsoids().projections(LIMITED if limited else HALF_TURN, np.zeros(1), COLUMNS, CENTER)


@cache
def truth() -> np.ndarray:
    return ellipsoids().slices(np.zeros(1), COLUMNS)[0]


@cache
def field() -> np.ndarray:
    """Return where the slice is seen by all projections, with a margin."""
    at = np.arange(COLUMNS) - (COLUMNS - 1) / 2
    return np.hypot(at[:, None], at) < 0.475 * COLUMNS


def rms(image: np.ndarray, wanted: np.ndarray | None = None) -> float:
    """Return the error in the field, in units of the solid."""
    wanted = truth() if wanted is None else wanted
    return float(np.sqrt(((image - wanted)[field()].astype(np.float64) ** 2).mean()))


def gain(image: np.ndarray) -> float:
    """Return what a reconstruction must be multiplied by to fit the truth, after its mean is taken away."""
    found, wanted = image[field()].astype(np.float64), truth()[field()].astype(np.float64)
    covariance = np.cov(found, wanted)
    return float(covariance[0, 1] / covariance[0, 0])
