"""Means over parts of a particle's volume, counted from its middle, out of counts shell by shell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats


def layer_means(
    voxels: NDArray[Any], sums: NDArray[Any], layers: Sequence[tuple[float, float]]
) -> tuple[Floats, Floats]:
    """Return the mean grey level of layers of a particle's volume, and what noise makes of it.

    A layer takes shares of the volume, not of the shells, so it does not jump by a whole shell where the deepest
    distance of a particle rounds the other way in another scan. In the shell that its border cuts, grey is taken for
    linear in volume, with the slope between the shells on either side; the mean of each whole shell is kept.

    Parameters
    ----------
    voxels, sums
        Of every shell, the outermost first: (..., shell).
    layers
        Shares of the volume, 0 in the middle and 1 at the surface, at which each layer begins and ends.

    Returns
    -------
    tuple
        Means, and the standard errors of the means per unit of a voxel's noise, (..., layer); NaN without a voxel.

    Examples
    --------
    >>> voxels, sums = np.array([56, 7, 1]), np.array([56 * 80, 7 * 90, 1 * 100])
    >>> layer_means(voxels, sums, [(0, 1 / 8), (1 / 8, 1)])[0].tolist()
    [91.25, 80.0]
    """
    count = voxels[..., ::-1].astype(np.float64)
    some = np.where(count > 0, count, np.nan)
    mean = np.nan_to_num(sums[..., ::-1] / some)
    means, error = [], []
    for begin, end in layers:
        weight = end * _weights(count, end) - (begin * _weights(count, begin) if begin > 0 else 0.0)
        weight /= end - begin
        means.append((weight * mean).sum(axis=-1))
        error.append(np.sqrt(np.nansum(weight**2 / some, axis=-1)))
    there = count.sum(axis=-1, keepdims=True) > 0
    return np.where(there, np.stack(means, axis=-1), np.nan), np.where(there, np.stack(error, axis=-1), np.nan)


def _weights(count: Floats, share: float) -> Floats:
    """Return the weights of the shells' means, the deepest shell first, in the mean of the innermost share."""
    wanted = share * count.sum(axis=-1, keepdims=True)
    after = np.cumsum(count, axis=-1)
    middle = after - count / 2
    shell = np.arange(count.shape[-1])
    cut = np.argmax(after >= wanted, axis=-1)[..., None]
    deeper, outer = np.maximum(cut - 1, 0), np.minimum(cut + 1, shell[-1])
    deeper = np.where(np.take_along_axis(count, deeper, -1) > 0, deeper, cut)
    outer = np.where(np.take_along_axis(count, outer, -1) > 0, outer, cut)
    size = np.take_along_axis(count, cut, -1)
    taken = wanted - (np.take_along_axis(after, cut, -1) - size)
    apart = np.take_along_axis(middle, outer, -1) - np.take_along_axis(middle, deeper, -1)
    tilt = taken * (taken - size) / 2 / np.where(apart > 0, apart, np.inf)
    weight = np.where(shell < cut, count, 0.0) + taken * (shell == cut)
    weight += tilt * ((shell == outer) * 1.0 - (shell == deeper))
    weight /= np.where(wanted > 0, wanted, 1.0)
    return weight
