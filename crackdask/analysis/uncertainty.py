"""What a damage factor is made from: grey levels of a particle's parts, and how sure they are (damage.md).

Arithmetic on the tables of a store; no voxel is read, and nothing is lazy that does not stay so.
"""

from __future__ import annotations

import warnings
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.blur_loss import gained
from crackdask.analysis.parameters import AnalyseParams, params_of
from crackdask.analysis.regions import tracked
from crackdask.analysis.rings import ring_errors
from crackdask.analysis.shells import core_of
from crackdask.analysis.tables import named, table_of
from crackdask.arrays import Array
from crackdask.kernels.layer_means import layer_means
from crackdask.kernels.smooth_curve import MAD, robust_band
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

#: Shares of a particle's volume, from its middle: in a ball, the inner half of the radius, and 0.58 to 0.74 of it.
LAYERS = {"inner": (0.0, 1 / 8), "control": (1 / 5, 2 / 5)}
#: Groups of like radius in which a leak is measured, and particles in each.
_SIZES, _FEWEST = 8, 30
#: A scale is never better known than the first, whatever leaks; nor do optics move more than the second.
_LEAST_SCALE, _MOST_LEAK = 0.03, 0.25


def evidence(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return what a damage factor is made from, lazily.

    Besides the regions there are two layers of a particle's volume, counted from its middle: `inner`, the innermost
    eighth, where damage is looked for, and `control`, from a fifth to two fifths, which the same scan sees and which
    cracks less. They cut through shells, so they do not jump where the number of a particle's shells does; the
    region `core` does, by up to half of its voxels.

    The error of a mean is noise * sqrt(c / voxels), where c is the number of voxels that share one independent
    value: 1 for white noise, and (2 sqrt(pi) L)^3, at least 1, for noise as correlated as white noise after a Gaussian
    blur of L = `noise_correlation` voxels (the sum of its autocorrelation). Resampling correlates white noise too, but
    leaves the error of a mean as it was, so the noise of the reference serves all states. A correlation in the scan
    also hides part of the noise from the measurement, which takes neighbours for independent: then give `noise` too.
    Streaks, a state's grey scale and the edges of the mask are no noise; see :func:`scan_spread`.

    Returns
    -------
    xarray.Dataset
        As :func:`crackdask.analyse.tracked`, with `mean_grey_error`, (state, particle, region), `layer_grey` and
        `layer_grey_error`, (state, particle, layer), and `solid_error` and `background_error`, (state,), by how much
        the scan's grey scale may be off there, in grey levels, for all particles alike; and where a run found rings,
        `ring_error` and `ring_own_error`, (state, particle), of the inner layer; where states were blurred to be
        alike, `blur_gain` and `blur_gain_error`, what that took from the inner layer. Attributes, besides: `noise`
        and `void_grey` in grey levels, where they are from, `noise_source` and `void_grey_source`, `void_grey_error`,
        how far off the latter may be, and `scale_error`.
    """
    params = params_of(store, parameters)
    table = tracked(store, **parameters)
    (noise, noise_source), (void, void_source) = noise_and_void(store, table, params)
    given = not isinstance(params.void_grey, str)
    shared = shared_voxels(params)
    error = noise * np.sqrt(shared / table.voxels.where(table.voxels > 0))
    grey, per_noise = _layers(store, table)
    with_errors = table.assign(
        mean_grey_error=named(error, "1", "standard error of the mean grey level, from noise"),
        layer_grey=named(grey, "1", "mean grey level of the layer"),
        layer_grey_error=named(per_noise * noise * sqrt(shared), "1", "its standard error, from noise"),
    ).assign({**_scale_errors(store, table), **ring_errors(store, table), **gained(store, table, noise * sqrt(shared))})
    return with_errors.assign_attrs(
        noise=noise,
        noise_source=noise_source,
        void_grey=void,
        void_grey_source=void_source,
        void_grey_error=0.0 if given else float(store.attrs.get("found", {}).get("background_error", 0.0)),
        scale_error=params.scale_error,
    )


def _scale_errors(store: xr.DataTree, table: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the errors of each state's grey scale as the run left them; 0 in stores of before there were any."""
    known = store.attrs.get("found", {}).get("grey_scale", {})
    names = [str(name) for name in table.state.values]
    words = {"solid_error": "solid", "background_error": "background"}
    return {
        error: named(
            xr.DataArray(
                [float(known.get(name, {}).get(error, 0.0)) for name in names], {"state": table.state}, ["state"]
            ),
            "1",
            f"standard error of the grey scale at the {what}",
        )
        for error, what in words.items()
    }


def shared_voxels(params: AnalyseParams) -> float:
    """Return how many voxels share one independent value of the noise; see :func:`evidence`."""
    return max(1.0, (2 * sqrt(pi) * params.noise_correlation) ** 3)


def scan_spread(table: xr.Dataset) -> xr.DataArray:
    """Return by how much a particle's grey level is off in each state, besides noise, in grey levels: (state,).

    The robust distance of the control layer from that in the state where it is most alike, over all particles, halved
    as two scans share it, less what noise makes of it. Streaks, motion, resampling, the edges of the mask and a drift
    of the scan's grey scale move that layer as they move the inner one. Cracks that come to it in one scan and not in
    any other are counted in, so the spread is then too large. One state alone has none.

    Parameters
    ----------
    table
        What :func:`evidence` returns, loaded.
    """
    control = table.sel(layer="control", drop=True)
    grey = control.layer_grey.transpose("state", "particle").values
    noise = (control.layer_grey_error**2).median("particle")
    nearest = np.array(
        [
            min((_middle(grey[s] - other) for k, other in enumerate(grey) if k != s), default=0.0)
            for s in range(len(grey))
        ]
    )
    return np.sqrt(np.maximum(noise.copy(data=(MAD * nearest) ** 2 / 2) - noise, 0))


def own_spread(table: xr.Dataset) -> xr.DataArray:
    """Return by how much a particle's grey level is its own in all states, in grey levels: (particle,).

    The robust spread of the control layer in the reference state, about what is typical of the particle's size, less
    what noise makes of it: shape, neighbours and streaks make some particles brighter than others, uncracked ones too.

    Parameters
    ----------
    table
        What :func:`evidence` returns, loaded.
    """
    control = table.sel(layer="control", state=table.attrs["reference"], drop=True)
    radius = table.radius_um.values
    _, spread, _ = robust_band(radius, control.layer_grey.values, radius)
    square = spread**2 - control.layer_grey_error**2
    return np.sqrt(np.maximum(square, 0))


def leak(table: xr.Dataset) -> xr.DataArray:
    """Return the share of a change of the inner layer that blur and phase contrast may have moved: (particle,).

    What leaves the inner layer comes to the control layer: the slope of its changes since the reference on those of the
    inner layer, times the ratio of their volumes, in up to eight groups of like radius. Beyond a quarter it is no leak
    but cracks that come so far out. `scale_error`, where it is a number, is the answer itself.

    Parameters
    ----------
    table
        What :func:`evidence` returns, loaded.
    """
    if table.attrs["scale_error"] != "auto":
        return xr.full_like(table.radius_um, float(table.attrs["scale_error"]))
    change = table.layer_grey - table.layer_grey.sel(state=table.attrs["reference"], drop=True)
    inner, control = (change.sel(layer=name).transpose("state", "particle").values for name in ("inner", "control"))
    radius = table.radius_um.values
    parts = np.array_split(np.argsort(radius, kind="stable"), max(1, min(_SIZES, radius.size // _FEWEST)))
    both, square = (np.array([(inner[:, part] * other[:, part]).sum() for part in parts]) for other in (control, inner))
    (a, b), (c, d) = LAYERS["inner"], LAYERS["control"]
    slope = np.abs(both) / np.where(square > 0, square, np.inf) * (d - c) / (b - a)
    share = np.interp(radius, [np.median(radius[part]) for part in parts], np.minimum(slope, _MOST_LEAK))
    return table.radius_um.copy(data=np.hypot(share, _LEAST_SCALE))


def _middle(values: Array) -> float:
    return float(np.median(np.abs(values)))


def _layers(store: xr.DataTree, table: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    shells = table_of(store, "shells").sel(particle=table.particle)
    whole = (
        column if column.chunks is None else column.chunk({"shell": -1}) for column in (shells.voxels, shells.grey_sum)
    )
    grey, error = xr.apply_ufunc(
        layer_means,
        *whole,
        kwargs={"layers": tuple(LAYERS.values())},
        input_core_dims=[["shell"], ["shell"]],
        output_core_dims=[["layer"], ["layer"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"layer": len(LAYERS)}},
        output_dtypes=[np.float64, np.float64],
    )
    layer = np.array(list(LAYERS), dtype=object)
    return grey.assign_coords(layer=layer), error.assign_coords(layer=layer)


def noise_and_void(
    store: xr.DataTree, table: xr.Dataset, params: AnalyseParams
) -> tuple[tuple[float, str], tuple[float, str]]:
    """Return the noise of a voxel and the grey level of a void, each with where it is from.

    `table` names the particles that they are estimated from where the store does not tell, and the `reference`.
    """
    return _noise(store, table, params), _void(store, table, params)


def _noise(store: xr.DataTree, table: xr.Dataset, params: AnalyseParams) -> tuple[float, str]:
    measured = store.attrs.get("found", {}).get("noise")
    if not isinstance(params.noise, str):
        return float(params.noise), "given"
    if measured is not None:
        return float(measured), "measured in the reference"
    shells = table_of(store, "shells").sel(state=table.attrs["reference"], particle=table.particle)
    core = shells.where((shells.voxels > 0) & core_of(shells))
    square = (core.grey_sumsq - core.grey_sum**2 / core.voxels).sum("shell") / core.voxels.sum("shell")
    noise = float(np.sqrt(np.median(np.maximum(square.values, 0))))
    source = "estimated: spread of grey levels within shells of the core, fine cracks included"
    _say(f"the store does not tell the noise of a voxel; {noise:.3g} grey levels is {source}")
    return noise, source


def _void(store: xr.DataTree, table: xr.Dataset, params: AnalyseParams) -> tuple[float, str]:
    measured = store.attrs.get("found", {}).get("background")
    if not isinstance(params.void_grey, str):
        return float(params.void_grey), "given"
    if measured is not None:
        return float(measured), "background peak of the reference"
    counts = table_of(store, "histograms").voxels.sel(state=table.attrs["reference"], particle=table.particle)
    below = np.cumsum(counts.sum("particle").values)
    edge, solid = (float(np.searchsorted(below, q * below[-1])) for q in (0.02, 0.5))
    void = max(0.0, 2 * edge - solid)
    source = "estimated: as far below the darkest 2% of the particles' voxels as these are below their median"
    _say(f"the store does not tell the background's grey level; {void:.3g} is {source}")
    return void, source


def _say(what: str) -> None:
    warnings.warn(f"{what} (give it by name, or run the store again)", UserWarning, stacklevel=4)
