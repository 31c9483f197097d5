"""Mean grey levels from state to state, with errors, by size and shell by shell (paper, 2.2)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.regions import groups, members, tracked
from crackdask.analysis.tables import named, needs_states, table_of
from crackdask.arrays import Array

By = str | xr.DataArray | None


def intensity(store: xr.DataTree, by: By = None, **parameters: Any) -> xr.Dataset:
    """Return the mean pixel intensity in every state and region (paper, Fig. 2a and 4d), lazily.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    by
        Groups that are averaged alone, as in :func:`groups`; None for one average.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Returns
    -------
    xarray.Dataset
        (state, region) or (state, region, group): `mean` of the tracked particles' mean grey levels, its
        `standard_error`, `error_bar` (two of them), and `particles`, those large enough for the region in every state.
    """
    table = tracked(store, **parameters)
    return _averages(store, _everywhere(table.mean_grey), "mean grey level", by, parameters)


def rmpi(store: xr.DataTree, by: By = None, **parameters: Any) -> xr.Dataset:
    """Return the relative mean pixel intensity (paper, Fig. 2b, 4e and S9), lazily.

    Each particle's mean grey level minus its own in the reference state, averaged over the tracked particles; negative
    is darker, so more damaged. Arguments and result are those of :func:`intensity`.
    """
    table = tracked(store, **parameters)
    needs_states(table)
    return _averages(store, _relative(table), "relative mean pixel intensity", by, parameters)


def rmpi_per_volume(store: xr.DataTree, by: str | xr.DataArray = "decile", **parameters: Any) -> xr.Dataset:
    """Return the relative mean pixel intensity per volume (paper, Fig. 2c and 4f), lazily.

    The phase-removed average of each group over the mean phase-removed volume of its particles in the reference state,
    per mm3. Arguments and result are those of :func:`rmpi`, with `volume_mm3`, and without regions.
    """
    table = tracked(store, **parameters)
    needs_states(table)
    relative = _relative(table).sel(region="phase_removed", drop=True)
    volume = table.volume_um3.sel(region="phase_removed", state=table.attrs["reference"], drop=True) * 1e-9
    averages = _averages(store, relative, "relative mean pixel intensity", by, parameters)
    sizes = _averages(store, volume.where(relative.notnull().all("state")), "volume", by, parameters)["mean"]
    for name in ("mean", "standard_error", "error_bar"):
        words = {"mean": "relative mean pixel intensity per volume"}.get(name, averages[name].attrs["long_name"])
        averages[name] = named(averages[name] / sizes, "1/mm3", words)
    return averages.assign(volume_mm3=named(sizes, "mm3", "mean phase-removed volume in the reference state"))


def profiles(
    store: xr.DataTree,
    by: By = None,
    *,
    start: Literal["edge", "centre"] = "edge",
    normalise: Literal["none", "surface", "maximum"] = "none",
    **parameters: Any,
) -> xr.Dataset:
    """Return radial profiles of the grey level, averaged over particles, lazily.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    by
        Groups that are averaged alone, as in :func:`groups`; None for one average.
    start
        Count shells from the surface (dimension `shell`, from 1) or from the deepest one (`from_centre`, from 0).
    normalise
        Divide each particle's profile by its own outermost shell or by its own brightest shell, or not at all.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Returns
    -------
    xarray.Dataset
        (state, shell) or (state, shell, group): `mean`, `standard_error`, `error_bar` (two of them) and `particles`,
        those that are that deep.
    """
    if start not in ("edge", "centre"):
        raise AnalysisError(f"profiles start at 'edge' or 'centre', not {start!r}")
    if normalise not in ("none", "surface", "maximum"):
        raise AnalysisError(f"profiles are normalised by 'none', 'surface' or 'maximum', not {normalise!r}")
    kept = tracked(store, **parameters)
    shells = table_of(store, "shells").sel(particle=kept.particle)
    mean_grey = shells.grey_sum / shells.voxels.where(shells.voxels > 0)
    if normalise == "surface":
        mean_grey = mean_grey / mean_grey.isel(shell=0, drop=True)
    elif normalise == "maximum":
        mean_grey = mean_grey / mean_grey.max("shell")
    if start == "centre":
        mean_grey = _turned(mean_grey)
    return _averages(store, mean_grey, "mean grey level of the shell", by, parameters)


def _turned(profile: xr.DataArray) -> xr.DataArray:
    """Return profiles along `from_centre` instead of `shell`."""
    profile = profile.chunk(shell=-1) if profile.chunks is not None else profile
    turned = xr.apply_ufunc(
        _from_centre, profile, input_core_dims=[["shell"]], output_core_dims=[["shell"]],
        dask="parallelized", output_dtypes=[profile.dtype],
    ).drop_vars("shell").rename(shell="from_centre")  # fmt: skip
    return turned.assign_coords(from_centre=np.arange(turned.sizes["from_centre"]))


def _from_centre(grey: Array) -> Array:
    """Turn profiles round, so that the deepest shell comes first; what is missing comes last.

    >>> _from_centre(np.array([[1.0, 2.0, np.nan]])).tolist()
    [[2.0, 1.0, nan]]
    """
    deepest = grey.shape[-1] - 1 - np.argmax(~np.isnan(grey[..., ::-1]), axis=-1)
    wanted = deepest[..., None] - np.arange(grey.shape[-1])
    turned = np.take_along_axis(grey, np.maximum(wanted, 0), axis=-1)
    return np.where(wanted >= 0, turned, np.nan)


def _everywhere(values: xr.DataArray) -> xr.DataArray:
    """Keep the particles that have a value in every state, so that all states compare the same ones."""
    return values.where(values.notnull().all("state"))


def _relative(table: xr.Dataset) -> xr.DataArray:
    return _everywhere(table.mean_grey) - table.mean_grey.sel(state=table.attrs["reference"], drop=True)


def _averages(store: xr.DataTree, values: xr.DataArray, what: str, by: By, parameters: dict[str, Any]) -> xr.Dataset:
    if by is None:
        return _average(values, what)
    group = groups(store, by, **parameters)
    rows, values = members(group), values.sel(particle=group.particle)
    parts = [_average(values.isel(particle=some), what) for some in rows.values()]
    averages = xr.concat(parts, dim=xr.Variable(str(group.name), np.array(list(rows))), coords="minimal")
    return averages.transpose(..., str(group.name))


def _average(values: xr.DataArray, what: str) -> xr.Dataset:
    """Return mean, standard error and number over the particles that have a value."""
    count = values.notnull().sum("particle")
    mean = values.sum("particle") / count.where(count > 0)
    square = ((values - mean) ** 2).sum("particle") / (count - 1).where(count > 1)
    error = (square / count.where(count > 0)) ** 0.5
    return xr.Dataset(
        {
            "mean": named(mean, "1", what),
            "standard_error": named(error, "1", f"standard error of the {what}"),
            "error_bar": named(2 * error, "1", "two standard errors"),
            "particles": named(count, "1", "particles averaged"),
        }
    )
