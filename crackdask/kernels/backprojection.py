"""Slices by filtered back-projection (Kak and Slaney 1988, 3.3): the reference that gridding is held to.

Every filtered projection is smeared back over the slice, with linear interpolation between columns. It shares filter,
padding and weights with `gridding`, and nothing else: no grid, no window, no transform in two dimensions. It takes
several times longer. Slices are lanes here too, and each voxel's sum runs over the projections in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from crackdask.arrays import Floats, Singles
from crackdask.kernels.compiling import compiled
from crackdask.kernels.projection_angles import angular_weights, cosines_and_sines
from crackdask.kernels.ramp_filter import Filter, pad, padded_length, response
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:  # which every command would wait for
    fft = Later("scipy.fft")

LANES = 16
_TILE = 32
_PROJECTIONS = 64


def back_projected(sinograms: Singles, degrees: ArrayLike, center: float, filter_name: Filter = "ramp") -> Singles:
    """Return slices (slice, y, x) from sinograms (slice, projection, column), all with one axis of rotation.

    Arguments, units and the place of a voxel are those of `crackdask.kernels.gridding.gridded`.
    """
    sinograms = np.ascontiguousarray(sinograms, np.float32)
    slices, projections, columns = sinograms.shape
    angles = np.asarray(degrees, np.float64)
    weights = angular_weights(angles).astype(np.float32)
    if len(weights) != projections:
        raise ValueError(f"{projections} projections, but {len(weights)} angles")
    cosine, sine = cosines_and_sines(angles)
    length = padded_length(columns)
    passed = response(length, filter_name).astype(np.float32)[:, None]
    out = np.empty((slices, columns, columns), np.float32)
    for first in range(0, slices, LANES):
        some = slice(first, min(first + LANES, slices))
        lanes = some.stop - first
        padded = np.zeros((min(_PROJECTIONS, projections), length, lanes), np.float32)
        sums = np.zeros((columns, columns, lanes), np.float32)
        for begin in range(0, projections, _PROJECTIONS):
            part = slice(begin, min(begin + _PROJECTIONS, projections))
            rows = padded[: part.stop - begin]
            pad(sinograms[some], begin, rows)
            filtered = fft.irfft(fft.rfft(rows, axis=1) * passed, n=length, axis=1)
            _smear(filtered, cosine[part], sine[part], weights[part], center, sums)
        out[some] = np.moveaxis(sums, 2, 0)
    return out


@compiled(error_model="numpy")
def _smear(filtered: Singles, cosine: Floats, sine: Floats, weights: Singles, center: float, sums: Singles) -> None:
    """Add projections to the slices, a tile at a time, so that what is read and written stays in the cache."""
    size, lanes, length = sums.shape[0], sums.shape[2], filtered.shape[1]
    middle = (size - 1) / 2
    for top in range(0, size, _TILE):
        for left in range(0, size, _TILE):
            for p in range(filtered.shape[0]):
                for y in range(top, min(top + _TILE, size)):
                    start = (y - middle) * sine[p] + center + length
                    for x in range(left, min(left + _TILE, size)):
                        column = (x - middle) * cosine[p] + start
                        low = np.int64(column)
                        part = np.float32(column - low)
                        before = filtered[p, low % length]
                        after = filtered[p, (low + 1) % length]
                        voxel = sums[y, x]
                        a, b = weights[p] * (np.float32(1) - part), weights[p] * part
                        for lane in range(lanes):
                            voxel[lane] += a * before[lane] + b * after[lane]
