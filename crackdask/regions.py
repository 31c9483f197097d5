"""The regions of a particle, the particles that are compared, and groups of them (paper, 2.2 and 4.6).

Arithmetic on the tables of a store, so the blocks have no part in it and no voxel is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from crackdask.later import Later
from crackdask.schema import GREY_LEVELS

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

Array = NDArray[Any]

REGIONS = ("full", "core", "phase_removed")
_QUANTILES = {"quartile": 4, "decile": 10}
_MOST_GROUPS = 100
#: Names that a dimension of groups cannot have beside what is averaged.
_TAKEN = ("state", "particle", "region", "shell", "from_centre", "mean", "standard_error", "error_bar", "particles")


class AnalysisError(ValueError):
    """The tables cannot answer what was asked; the message says what was found and the way out."""


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Limit = Annotated[float, Field(allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0, lt=GREY_LEVELS)]


class AnalyseParams(BaseModel):
    """Parameters of the analysis; none of them changes a table of the store."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference: str | None = Field(None, description="state that others are compared with; none: the first pristine one")
    rim_shells: int = Field(3, ge=0, le=1000, description="outer shells lit by phase contrast")
    damage: str = Field("excess_void", min_length=1, description="definition of the damage factor")
    void_grey: Literal["auto"] | Level = Field("auto", description="grey level of a void; auto: the background's peak")
    noise: Literal["auto"] | Level = Field("auto", description="noise of a voxel, grey levels; auto: as measured")
    noise_correlation: float = Field(
        0.0, ge=0, le=20, description="blur that would give white noise the scan's correlation, sigma in voxels"
    )
    crack_threshold: float = Field(
        0.2, gt=0, lt=1, description="void fraction from which a voxel of the core counts as crack"
    )
    scale_error: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "auto", description="share of a damage that blur and phase contrast may hide or add; auto: as measured"
    )
    class_limits: Annotated[tuple[Limit, Limit], BeforeValidator(_tuple)] = Field(
        (0.03, 0.08), description="damage factors from which damage is moderate and high"
    )
    significance: float = Field(2.0, gt=0, allow_inf_nan=False, description="a change counts from this many errors")
    path_states: Annotated[tuple[str, ...], BeforeValidator(_tuple)] | None = Field(
        None, description="states of the tree of paths; none: pristine, 4.2 V, 4.4 V, 4.2 V DC, 2.5 V DC"
    )
    largest: float = Field(0.5, gt=0, le=1, description="share of the particles, by radius, in the tree of paths")

    @field_validator("class_limits")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError(f"the limits of moderate and high must rise, not {limits[0]:g} and {limits[1]:g}")
        return limits

    @field_validator("path_states")
    @classmethod
    def _several(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (len(names) < 2 or len(set(names)) < len(names)):
            raise ValueError(f"two or more different states are needed, not {list(names)}")
        return names


def params_of(store: xr.DataTree | xr.Dataset, changes: Mapping[str, Any]) -> AnalyseParams:
    """Return the recipe's parameters of the analysis, some of them changed."""
    text = store.attrs.get("analyse")
    known = json.loads(text) if text else store.attrs.get("recipe", {}).get("analyse", {})
    try:
        return AnalyseParams.model_validate({**known, **changes})
    except ValidationError as error:
        wrong = [f"{found['loc'][0]}: {found['msg'].removeprefix('Value error, ')}" for found in error.errors()]
        known_names = ", ".join(AnalyseParams.model_fields)
        raise AnalysisError(f"{'; '.join(wrong)} (parameters are {known_names})") from None


def table_of(store: xr.DataTree, group: str) -> xr.Dataset:
    """Return a table of a finished store."""
    if not isinstance(store, xr.DataTree):
        raise TypeError(f"wanted what crackdask.open returns, an xarray.DataTree, not {type(store).__name__}")
    if not store.attrs.get("complete", True):
        raise AnalysisError("the run of this store is not finished, so its tables may be of before; run it to its end")
    if group not in store.children:
        raise AnalysisError(f"the store has no table {group!r}: run it to its end")
    return store[group].to_dataset()


def state_names(table: xr.Dataset) -> list[str]:
    """Return the names of the states in their order."""
    return [str(name) for name in table.state.values]


def listed(table: xr.Dataset) -> str:
    """Return the states with what the cell was doing, for messages."""
    rows = zip(state_names(table), table.step.values, table.voltage.values, strict=True)
    return ", ".join(f"{name!r} ({step}, {voltage:g} V)" for name, step, voltage in rows)


def reference_of(table: xr.Dataset, params: AnalyseParams) -> str:
    """Return the name of the state that others are compared with."""
    names = state_names(table)
    if params.reference is not None:
        if params.reference not in names:
            raise AnalysisError(f"no state is named {params.reference!r}; there are {listed(table)}")
        return params.reference
    for name, step in zip(names, table.step.values, strict=True):
        if step == "pristine":
            return name
    raise AnalysisError(
        f"no state is pristine; there are {listed(table)}: name the state to compare with as reference, "
        "here or under [analyse]"
    )


def regions(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return voxels and sums of grey levels in the three regions of every particle, lazily.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`AnalyseParams`, where not as in the recipe: `rim_shells`.

    Returns
    -------
    xarray.Dataset
        `voxels`, `grey_sum` and `grey_sumsq`, (state, particle, region), whole numbers. Regions: `full`; `core`, the
        shells deeper than half of the particle's deepest in that state ("central 50% of shells"); `phase_removed`,
        all but the outer `rim_shells`. A particle too small for a region has 0 voxels there.
    """
    params = params_of(store, parameters)
    shells = table_of(store, "shells")
    shell = shells.shell.astype(np.int64)
    deepest = shell.where(shells.voxels > 0, 0).max("shell")
    inside = {
        "full": xr.ones_like(shell, dtype=bool),
        "core": 2 * shell > deepest,
        "phase_removed": shell > params.rim_shells,
    }
    parts = [shells.where(inside[name], 0).sum("shell", dtype=np.uint64) for name in REGIONS]
    made = xr.concat(parts, dim=xr.Variable("region", np.array(REGIONS, dtype=object)), coords="minimal")
    made = made.transpose("state", "particle", "region")
    for name in made.data_vars:
        made[name].attrs = dict(shells[name].attrs)
    made.voxels.attrs["long_name"] = "voxels in the region"
    return made


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
    rows = np.flatnonzero(particles.tracked.isel(state=0).values)
    if rows.size < 2:
        raise AnalysisError(
            f"{_counted(rows.size, 'particle')} of {particles.sizes['particle']} tracked, and two or more are needed: "
            "`lost`, `neighbour_lost`, `on_border` and `on_invalid` of the table `particles` tell why"
        )
    found = regions(store, **parameters).isel(particle=rows)
    voxels = found.voxels.where(found.voxels > 0)
    cell = float(np.prod(store.attrs["recipe"]["experiment"]["voxel_um"]))
    radius = particles.equivalent_diameter_um.isel(particle=rows).sel(state=reference).values / 2
    made = xr.Dataset(
        {
            "voxels": found.voxels,
            "mean_grey": named(found.grey_sum / voxels, "1", "mean grey level of the region"),
            "volume_um3": named(voxels * cell, "um3", "volume of the region"),
        }
    )
    made = made.assign_coords(radius_um=("particle", radius, {"units": "um", "long_name": "radius in the reference"}))
    made.attrs = {"reference": reference, "analyse": params.model_dump_json()}
    return made


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
        Of :class:`AnalyseParams`, where not as in the recipe: `reference`.

    Returns
    -------
    xarray.DataArray
        (particle,), named as the dimension that averages get.
    """
    table = tracked(store, **parameters)
    if isinstance(by, xr.DataArray):
        if by.dims != ("particle",) or "particle" not in by.coords:
            raise AnalysisError(f"groups need the dimension particle, with its coordinate, not {by.dims}")
        known = by.particle.values[np.isin(by.particle.values, table.particle.values)]
        if not known.size:
            raise AnalysisError("the groups name none of the tracked particles")
        named_so = "group" if by.name is None or by.name in _TAKEN else by.name
        return by.reset_coords(drop=True).sel(particle=known).load().rename(named_so)
    if by in _QUANTILES:
        return _quantiles(table.radius_um, by, _QUANTILES[by])
    particles = table_of(store, "particles")
    if by not in particles.data_vars:
        known = ", ".join(map(str, particles.data_vars))
        raise AnalysisError(f"no column is named {by!r}; there are quartile, decile, {known}")
    column = particles[by].sel(state=table.attrs["reference"], particle=table.particle).load()
    return column.reset_coords(drop=True) if column.dtype == bool else _quantiles(column, by, count)


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
    found, code = np.unique(group.values, return_inverse=True)
    if found.size > _MOST_GROUPS:
        raise AnalysisError(f"{group.name} has {found.size} different values, and at most {_MOST_GROUPS} make groups")
    return {value: np.flatnonzero(code == k) for k, value in enumerate(found.tolist())}


def needs_states(table: xr.Dataset) -> None:
    """Refuse a table of a single state where states are to be compared."""
    if table.sizes["state"] < 2:
        raise AnalysisError(f"there is a single state, {listed(table)}, and nothing to compare it with")


def named(array: xr.DataArray, units: str, long_name: str) -> xr.DataArray:
    """Return a column with its unit and meaning."""
    return array.assign_attrs({"units": units, "long_name": long_name})


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}"
