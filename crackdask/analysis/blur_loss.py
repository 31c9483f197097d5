"""What blur took out of the middle of particles in states that were brought to the sharpness of the blurriest.

Blur moves the dark of cracks outward. By how much follows from the blur, which is known, and from how grey runs from
the middle of the particle to its surface, which is measured (damage.md); no other state is used.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from crackdask.analysis.tables import named, table_of
from crackdask.arrays import Array
from crackdask.kernels.layer_means import layer_means
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

#: Borders of the layers that the run of grey is told from, in radii of a ball; between their middles it is linear.
_BORDERS = (0.0, 0.5, 0.75, 1.0)
_LAYERS = [(a**3, b**3) for a, b in pairwise(_BORDERS)]
#: How far out cracks reach for :func:`found_share`, in radii of a ball, falling off evenly from the middle: it tells
#: what is found on phantoms (damage.md).
_REACH = 0.65
#: Points of a layer at which blur is worked out.
_POINTS = 16
#: Blur over radius for which weights are computed; in smaller particles nothing is left to be told from.
_RATIOS = np.linspace(0.005, 0.3, 60)


def gained(store: xr.DataTree, table: xr.Dataset, noise: float) -> dict[str, xr.DataArray]:
    """Return `blur_gain` and `blur_gain_error`, (state, particle), in grey levels; nothing where no state was blurred.

    The gain is what the mean of the inner layer had more before blur, to second order: what the same blur takes out of
    the blurred run of grey, and what it takes out of that. It holds the bright rim too, so only its difference to that
    of a typical particle is used.
    The error is what noise adds to the mean's.
    """
    blur = _blur(store, [str(name) for name in table.state.values])
    if not blur.any():
        return {}
    shells = table_of(store, "shells").sel(particle=table.particle)
    columns = [c if c.chunks is None else c.chunk({"shell": -1}) for c in (shells.voxels, shells.grey_sum)]
    gain, error = xr.apply_ufunc(
        _gained,
        *columns,
        xr.DataArray(blur, {"state": table.state}, ["state"]),
        input_core_dims=[["shell"], ["shell"], []],
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
    )
    return {
        "blur_gain": named(gain, "1", "what blur took from the mean grey level of the inner layer"),
        "blur_gain_error": named(error * noise, "1", "what noise adds through it to the error of that mean"),
    }


def found_share(blur: float, radius: float, *, regained: bool) -> float:
    """Return about which share of a change of damage is found of a ball that was blurred, both in voxels.

    That is modelled: a change that falls off evenly from the middle. `regained` says whether states were brought to be
    alike, so that what blur took is given back (:func:`gained`); else all of it is lost.

    >>> [round(found_share(blur, 6.0, regained=True), 2) for blur in (0.0, 0.7, 1.0)]
    [1.0, 0.98, 0.94]
    """
    if blur == 0:
        return 1.0
    ratio = min(blur / max(radius, 1.0), float(_RATIOS[-1]))
    ends = np.linspace(0, 1, 61)
    change = np.maximum(1 - (ends[1:] + ends[:-1]) / 2 / _REACH, 0)
    layers = [np.cbrt(a + (b - a) * (np.arange(_POINTS) + 0.5) / _POINTS) for a, b in _LAYERS]
    blurred = [
        np.mean([np.diff([0.0, *(_within(rho, end, ratio) for end in ends[1:].tolist())]) @ change for rho in places])
        for places in layers
    ]
    more = _share(np.array(ratio)) @ blurred if regained else 0.0
    return float((blurred[0] + more) / np.maximum(1 - layers[0] / _REACH, 0).mean())


def _gained(voxels: Array, sums: Array, blur: Array) -> tuple[Array, Array]:
    """Return the gain, and what noise adds per unit of a voxel's; blur without shells, the others (..., shell)."""
    means, errors = layer_means(voxels, sums, _LAYERS)
    radius = np.cbrt(3 * voxels.sum(axis=-1) / (4 * pi))
    ratio = blur / np.maximum(radius, 1.0)
    share = np.where((blur > 0)[..., None], _share(ratio), 0.0)
    # The inner layer's own noise is counted with its mean, of which the gain is a part more.
    square = ((errors * (share + np.array([1.0, 0.0, 0.0]))) ** 2).sum(axis=-1) - errors[..., 0] ** 2
    return (share * means).sum(axis=-1), np.sqrt(np.maximum(square, 0))


def _share(ratio: Array) -> Array:
    """Return (1 - B) + (1 - B)^2 with B the blur, (..., layer); blurred twice is blurred by the root of 2 more."""
    return 3 * _interpolated(ratio) - _interpolated(sqrt(2) * ratio)


def _interpolated(ratio: Array) -> Array:
    return np.stack([np.interp(ratio, _RATIOS, column) for column in _weights().T], axis=-1)


def _blur(store: xr.DataTree, names: list[str]) -> Array:
    """Return by which blur each state was measured beyond the sharpest; 0 where states were not brought to be alike."""
    found = store.attrs.get("found", {})
    by, edge = found.get("blurred_by", {}), found.get("edge_width", {})
    known = [width for width in edge.values() if width is not None]
    most = max(by.values(), default=0.0)
    if most == 0 or not known:
        return np.zeros(len(names))

    def alike(name: str) -> bool:
        width = edge.get(name)
        return by.get(name, 0.0) > 0 or (width is not None and width**2 - min(known) ** 2 <= (most + 0.01) ** 2)

    return np.array([most if alike(name) else 0.0 for name in names])


@cache
def _weights() -> Array:
    """Return what a ball's inner eighth gains, per grey level of each layer, (ratio of blur to radius, layer)."""
    middles = [0.75 * (b**4 - a**4) / (b**3 - a**3) for a, b in pairwise(_BORDERS)]
    ends = np.linspace(0, 1, 61)
    nodes = np.eye(len(middles))
    run = np.stack([np.interp((ends[1:] + ends[:-1]) / 2, middles, node) for node in nodes], axis=1)
    places = np.cbrt((np.arange(_POINTS) + 0.5) / _POINTS / 8)
    own = np.stack([np.interp(places, middles, node) for node in nodes], axis=1).mean(axis=0)
    rows = []
    for ratio in _RATIOS.tolist():
        within = [np.mean([_within(rho, end, ratio) for rho in places.tolist()]) for end in ends[1:].tolist()]
        rows.append(own - np.diff([0.0, *within]) @ run)
    return np.array(rows)


def _within(rho: float, radius: float, sigma: float) -> float:
    """Return the weight that a Gaussian about a point `rho` from the centre of a ball has in it."""
    near, far = (radius - rho) / (sigma * sqrt(2)), (radius + rho) / (sigma * sqrt(2))
    return (erf(near) + erf(far)) / 2 - sigma / (rho * sqrt(2 * pi)) * (exp(-(near**2)) - exp(-(far**2)))
