"""The most promising starts of a registration: every shift, for a few turns, on a very small level.

The shift and turn of two scans are unknown to a tenth of the field and several degrees, far beyond
what a gradient descent finds by itself.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Box, Triple
from crackdask.kernels.block_matching import MISSING, shrink
from crackdask.kernels.itk_registration import Matrix, Picture
from crackdask.kernels.masked_correlation import Spectra, Volume, correlate, padded_shape, spectra
from crackdask.kernels.resample import resample_values

SEARCH_VOXELS = 60_000  # size of the level on which whole shifts and turns are tried
LEAST_EDGE = 16  # voxels: an axis this short is not binned further, it would lose its place


def small_level(fixed: Picture, moving: Picture) -> tuple[Picture, Picture]:
    """Bin two pictures alike until an exhaustive search is cheap, longest voxel edges last.

    >>> scan = Picture(np.zeros((64, 64, 64)), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    >>> small_level(scan, scan)[0].spacing
    (2.0, 2.0, 2.0)
    """
    shape = np.maximum(fixed.grey.shape, moving.grey.shape)
    edges = np.array(fixed.spacing)
    factor = np.ones(3, int)
    while np.prod(shape // factor) > SEARCH_VOXELS:
        long_enough = shape // factor >= LEAST_EDGE
        factor[int(np.argmin(np.where(long_enough, edges * factor, np.inf)))] *= 2
    z, y, x = factor.tolist()
    return _binned(fixed, (z, y, x)), _binned(moving, (z, y, x))


def _binned(picture: Picture, factor: Triple) -> Picture:
    grey, valid = shrink(picture.grey, picture.valid, factor)
    placed = zip(picture.spacing, picture.origin, factor, strict=True)
    z, y, x = ((s * f, o + s * (f - 1) / 2) for s, o, f in placed)
    return Picture(grey, (z[0], y[0], x[0]), (z[1], y[1], x[1]), valid)


def promising_starts(
    fixed: Picture,
    moving: Picture,
    *,
    max_shift: float,
    max_rotation_deg: float,
    min_voxels: float,
    keep: int = 3,
) -> list[tuple[float, Matrix]]:
    """Return the best correlations of two pictures and the transforms that give them, best first.

    Parameters
    ----------
    fixed, moving
        Two volumes of a few ten thousand voxels, of equal spacing and origin.
    max_shift
        Largest shift tried, as a part of the field.
    max_rotation_deg
        Half of it is tried either way about each axis, in all 27 combinations.
    min_voxels
        Shifts that leave fewer voxels valid in both are not considered.
    keep
        Number of starts.
    """
    shape, other = np.array(fixed.grey.shape), np.array(moving.grey.shape)
    reach = np.ceil(max_shift * np.maximum(shape, other)).astype(int)
    low = np.minimum(0, other - shape) - reach
    high = np.maximum(0, other - shape) + reach
    padded = padded_shape(np.maximum(shape, other) + np.maximum(-low, high))
    spectra_fixed = spectra(*_masked(fixed), padded)
    edges, origin = np.array(moving.spacing), np.array(moving.origin)
    centre = origin + edges * (other - 1) / 2
    angle = float(np.deg2rad(max_rotation_deg)) / 2
    scored: list[tuple[float, Matrix]] = []
    for turns in product((0.0, -angle, angle) if angle else (0.0,), repeat=3):
        rotation = _rotation(*turns)
        shift, score = correlate(
            spectra_fixed,
            _turned(moving, rotation, padded),
            padded,
            tuple(low.tolist()),
            tuple(high.tolist()),
            min_voxels,
        )
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = centre + rotation @ (edges * np.array(shift) - centre)
        scored.append((score, matrix))
    return sorted(scored, key=lambda item: -item[0])[:keep]


def _masked(picture: Picture) -> tuple[Volume, Mask]:
    grey = np.asarray(picture.grey, np.float32)
    return grey, np.ones(grey.shape, bool) if picture.valid is None else picture.valid


def _turned(moving: Picture, rotation: Matrix, padded: Triple) -> Spectra:
    """Return the spectra of a volume turned about its centre."""
    grey, valid = _masked(moving)
    whole = Box((0, 0, 0), (grey.shape[0], grey.shape[1], grey.shape[2]))
    edges = np.diag(moving.spacing)
    linear = np.linalg.inv(edges) @ rotation @ edges
    centre = (np.array(grey.shape) - 1) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre - linear @ centre
    turned = resample_values(
        np.where(valid, grey, MISSING),
        whole,
        matrix,
        whole,
        whole.shape,
        fill=float(MISSING),
        interpolation="linear",
    )
    return spectra(*turned, padded)


def _rotation(about_z: float, about_y: float, about_x: float) -> NDArray[np.float64]:
    """Return the rotation of (z, y, x) by three angles in radians, z first."""
    matrix = np.eye(3)
    for axis, angle in enumerate((about_z, about_y, about_x)):
        a, b = (i for i in range(3) if i != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix
