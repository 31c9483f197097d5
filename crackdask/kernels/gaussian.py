"""A Gaussian mean of 8-bit voxels in whole numbers: the same bits for any block, on any machine.

The weights are whole numbers, their products are added in 64 bits without any rounding, and the one division at the end
is rounded once. Voxels outside the scan weigh nothing: the weights of the others are divided by their own sum.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Bytes
from crackdask.kernels.compiling import compiled

Longs = NDArray[np.int64]

TOP = 2**13  # weight of the middle
#: Twice the sum of all weights times 255 stays below 2**63 up to here.
LARGEST_SIGMA = 8.0
_TRUNCATE = 4  # standard deviations, as in scipy


def radius(sigma: float) -> int:
    """Return how far the weights reach, in voxels: four standard deviations, as in scipy.

    >>> radius(0.1), radius(1.0)
    (1, 4)
    """
    return max(1, int(_TRUNCATE * sigma + 0.5))


@cache
def weights(sigma: float) -> tuple[int, ...]:
    """Return the whole-numbered weights along one axis; decimal arithmetic rounds the same everywhere.

    >>> weights(0.5)
    (3, 1109, 8192, 1109, 3)
    """
    reach = radius(sigma)
    spread = 2 * Decimal(sigma) ** 2
    half = [int((TOP * (-Decimal(k * k) / spread).exp()).to_integral_value()) for k in range(reach + 1)]
    return (*half[:0:-1], *half)


@compiled(error_model="numpy", apart=True)
def _planes(padded: Bytes, outside: int, law: Longs, z: int, greys: Longs, norms: Longs) -> None:
    """Add the planes around one of the core, weighed along z."""
    greys[:] = 0
    norms[:] = 0
    for k in range(law.size):
        for y in range(greys.shape[0]):
            for x in range(greys.shape[1]):
                level = np.int64(padded[z + k, y, x])
                if level != outside:
                    greys[y, x] += law[k] * level
                    norms[y, x] += law[k]


@compiled(error_model="numpy", apart=True)
def _lines(plane: Longs, law: Longs, y: int, line: Longs) -> None:
    """Add the lines around one of the core, weighed along y."""
    line[:] = 0
    for k in range(law.size):
        for x in range(line.size):
            line[x] += law[k] * plane[y + k, x]


@compiled(error_model="numpy")
def _means(padded: Bytes, outside: int, law: Longs, means: Bytes) -> None:
    """Fill the core with means, plane by plane."""
    reach = law.size // 2
    greys = np.empty(padded.shape[1:], np.int64)
    norms = np.empty(padded.shape[1:], np.int64)
    grey_line = np.empty(padded.shape[2], np.int64)
    norm_line = np.empty(padded.shape[2], np.int64)
    for z in range(means.shape[0]):
        _planes(padded, outside, law, z, greys, norms)
        for y in range(means.shape[1]):
            _lines(greys, law, y, grey_line)
            _lines(norms, law, y, norm_line)
            for x in range(means.shape[2]):
                own = padded[z + reach, y + reach, x + reach]
                if own == outside:
                    means[z, y, x] = own
                    continue
                grey = np.int64(0)
                norm = np.int64(0)
                for k in range(law.size):
                    grey += law[k] * grey_line[x + k]
                    norm += law[k] * norm_line[x + k]
                means[z, y, x] = (2 * grey + norm) // (2 * norm)


def gaussian(padded: NDArray[Any], sigma: float, outside: int) -> Bytes:
    """Return the core of a padded block, each voxel the Gaussian mean of those around it, rounded half up.

    Parameters
    ----------
    padded
        Grey levels (z, y, x), uint8, with ``radius(sigma)`` voxels on every side of the core.
    sigma
        Standard deviation of the weights in voxels.
    outside
        The level of voxels that lie outside the scan: they keep it, and weigh nothing.

    Returns
    -------
    numpy.ndarray
        The means, uint8, smaller than `padded` by ``radius(sigma)`` voxels on every side.

    Examples
    --------
    >>> grey = np.full((3, 3, 4), 50, np.uint8)
    >>> grey[1, 1] = [50, 90, 0, 50]
    >>> gaussian(grey, 0.3, outside=0).tolist()
    [[[89, 0]]]
    """
    reach = radius(sigma)
    if not 0 < sigma <= LARGEST_SIGMA:
        raise ValueError(f"sigma must be above 0 and at most {LARGEST_SIGMA} voxels, not {sigma}")
    if padded.dtype != np.uint8 or min(padded.shape) < 2 * reach + 1:
        raise ValueError(f"wanted uint8 with at least {2 * reach + 1} voxels along each axis, found {padded.shape}")
    means = np.empty([n - 2 * reach for n in padded.shape], np.uint8)
    _means(np.ascontiguousarray(padded), outside, np.array(weights(sigma), np.int64), means)
    return means
