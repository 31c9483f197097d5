"""The regions of a particle, the particles that are compared, and groups of them (paper, 2.2 and 4.6).

Arithmetic on the tables of a store, so the blocks have no part in it and no voxel is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.shells import core_of
from crackdask.analysis.tables import named, reference_of, table_of, tracked_rows, voxel_volume
from crackdask.arrays import Array
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

REGIONS = ("full", "core", "phase_removed")
_QUANTILES = {"quartile": 4, "decile": 10}
_MOST_GROUPS = 100
#: Names that a dimension of groups cannot have beside what is averaged.
_TAKEN = ("state", "particle", "region", "shell", "from_centre", "mean", "standard_error", "error_bar", "particles")


def regions(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return voxels and sums of grey levels in the three regions of every particle, lazily.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe: `rim_shells`.

    Returns
    -------
    xarray.Dataset
        `voxels`, `grey_sum` and `grey_sumsq`, (state, particle, region), whole numbers. Regions: `full`; `core`, the
        shells deeper than half of the particle's deepest in that state ("central 50% of shells"); `phase_removed`,
        all but the outer `rim_shells`. A particle too small for a region has 0 voxels there.
    """
    params = params_of(store, parameters)
    shells = table_of(store, "shells")
    inside = {
        "full": xr.ones_like(shells.shell, dtype=bool),
        "core": core_of(shells),
        "phase_removed": shells.shell > params.rim_shells,
    }
    parts = [shells.where(inside[name], 0).sum("shell", dtype=np.uint64) for name in REGIONS]
    sums = xr.concat(parts, dim=xr.Variable("region", np.array(REGIONS, dtype=object)), coords="minimal")
    sums = sums.transpose("state", "particle", "region")
    for name in sums.data_vars:
        sums[name].attrs = dict(shells[name].attrs)
    sums.voxels.attrs["long_name"] = "voxels in the region"
    return sums


def tracked(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the regions of the particles that are tracked, lazily: the table that all else starts from.

    Returns
    -------
    xarray.Dataset
        `voxels`, `mean_grey` and `volume_um3`, (state, particle, region), NaN where a particle is too small for the
        region; coordinate `radius_um`, (particle,), that of the sphere of the same volume in the reference state.
        Attributes: `reference`, and `analyse`, the resolved parameters.

    Raises
    ------
    AnalysisError
        If the store is not finished, or fewer than two particles are tracked.
    """
    params = params_of(store, parameters)
    particles = table_of(store, "particles")
    reference = reference_of(particles, params)
    rows = tracked_rows(particles)
    if rows.size < 2:
        raise AnalysisError(
            f"{_counted(rows.size, 'particle')} of {particles.sizes['particle']} tracked, and two or more are needed: "
            "`lost`, `neighbour_lost`, `on_border` and `on_invalid` of the table `particles` tell why"
        )
    sums = regions(store, **parameters).isel(particle=rows)
    voxels = sums.voxels.where(sums.voxels > 0)
    radius = particles.equivalent_diameter_um.isel(particle=rows).sel(state=reference).values / 2
    table = xr.Dataset(
        {
            "voxels": sums.voxels,
            "mean_grey": named(sums.grey_sum / voxels, "1", "mean grey level of the region"),
            "volume_um3": named(voxels * voxel_volume(store), "um3", "volume of the region"),
        }
    )
    table = table.assign_coords(radius_um=("particle", radius, {"units": "um", "long_name": "radius in the reference"}))
    table.attrs = {"reference": reference, "analyse": params.model_dump_json()}
    return table


def groups(store: xr.DataTree, by: str | xr.DataArray, count: int = 4, **parameters: Any) -> xr.DataArray:
    """Sort the tracked particles into groups.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    by
        "quartile" or "decile" (1 up, of the radius in the reference state), a column of `particles` (`count` groups of
        equal size by its value in the reference state; true or false where it is that), or a DataArray along `particle`
        with any values, such as paths; particles that it does not name are left out.
    count
        Groups that a column is cut into.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe: `reference`.

    Returns
    -------
    xarray.DataArray
        (particle,), named as the dimension that averages get.
    """
    table = tracked(store, **parameters)
    if isinstance(by, xr.DataArray):
        return _given(by, table)
    if by in _QUANTILES:
        return _quantiles(table.radius_um, by, _QUANTILES[by])
    particles = table_of(store, "particles")
    if by not in particles.data_vars:
        known = ", ".join(map(str, particles.data_vars))
        raise AnalysisError(f"no column is named {by!r}; there are quartile, decile, {known}")
    column = particles[by].sel(state=table.attrs["reference"], particle=table.particle).load()
    return column.reset_coords(drop=True) if column.dtype == bool else _quantiles(column, by, count)


def _given(by: xr.DataArray, table: xr.Dataset) -> xr.DataArray:
    """Return groups that the caller made, of the tracked particles that they name."""
    if by.dims != ("particle",) or "particle" not in by.coords:
        raise AnalysisError(f"groups need the dimension particle, with its coordinate, not {by.dims}")
    known = by.particle.values[np.isin(by.particle.values, table.particle.values)]
    if not known.size:
        raise AnalysisError("the groups name none of the tracked particles")
    named_so = "group" if by.name is None or by.name in _TAKEN else by.name
    return by.reset_coords(drop=True).sel(particle=known).load().rename(named_so)


def _quantiles(values: xr.DataArray, name: str, count: int) -> xr.DataArray:
    n = values.size
    if not 1 <= count <= n:
        raise AnalysisError(f"{_counted(n, 'particle')} cannot make {count} groups; ask for fewer")
    if not np.isfinite(values.values).all():
        raise AnalysisError(f"{name} is not a finite number for every tracked particle, so it cannot be ranked")
    rank = np.empty(n, np.int64)
    rank[np.argsort(values.values, kind="stable")] = np.arange(n)
    return xr.DataArray(rank * count // n + 1, {"particle": values.particle.values}, ["particle"], name=name)


def members(group: xr.DataArray) -> dict[Any, Array]:
    """Return the rows of each group, by its value, in ascending order."""
    values, code = np.unique(group.values, return_inverse=True)
    if values.size > _MOST_GROUPS:
        raise AnalysisError(f"{group.name} has {values.size} different values, and at most {_MOST_GROUPS} make groups")
    return {value: np.flatnonzero(code == k) for k, value in enumerate(values.tolist())}


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}"
