"""What can be painted into the volume: a number for each particle and state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from crackdask import analyse, cracks
from crackdask.analysis.tables import table_of

_BOTH = ("state", "particle")


class ExportError(ValueError):
    """What was asked for cannot be written; the message says why and the way out."""


#: Properties that the analysis gives, for tracked particles.
_ANALYSED: dict[str, Callable[[xr.DataTree], xr.DataArray]] = {
    "damage": lambda store: analyse.damage(store).damage,
    "damage_error": lambda store: analyse.damage(store).standard_error,
    "damage_class": lambda store: analyse.classes(store).severity_number,
    "damage_change": lambda store: analyse.changes(store).change,
}


def properties(store: xr.DataTree) -> list[str]:
    """Return the names of what can be painted: columns of `particles`, damage, and columns of `cracks`."""
    return [*_columns(store, "particles"), *_ANALYSED, *(f"cracks/{name}" for name in _columns(store, "cracks"))]


def _columns(store: xr.DataTree, group: str) -> list[str]:
    if group not in store.children:
        return []
    table = store[group].to_dataset()
    return [str(n) for n, column in table.data_vars.items() if column.dims == _BOTH and column.dtype.kind in "biuf"]


def property_of(store: xr.DataTree, wanted: str | xr.DataArray) -> xr.DataArray:
    """Return a property of all particles in all states.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    wanted
        A name of :func:`properties`, or numbers of one's own: a DataArray along `particle`, or `state` and `particle`,
        with a name and coordinates; particles and states that it lacks have no value.

    Returns
    -------
    xarray.DataArray
        (state, particle), float32, NaN where there is no value; with `units` and `long_name`.

    Raises
    ------
    ExportError
        If there is no such property, or it has no finite value for any particle of the store.
    AnalysisError
        If the store is not finished or does not carry the analysis.
    """
    particles = table_of(store, "particles")
    values = _own(wanted, particles) if isinstance(wanted, xr.DataArray) else _named(store, wanted)
    name = str(values.name) if isinstance(wanted, xr.DataArray) else wanted
    along = {dim: particles[dim].values for dim in _BOTH}
    aligned = values.astype(np.float32).reset_coords(drop=True)
    for dim in _BOTH:
        if dim in aligned.dims and dim in aligned.coords:
            aligned = aligned.reindex({dim: along[dim]})
    aligned = (
        aligned.expand_dims({dim: along[dim] for dim in _BOTH if dim not in aligned.dims}).transpose(*_BOTH).compute()
    )
    if not np.isfinite(aligned).any():
        raise ExportError(f"{name} has no finite value for any particle of this store")
    said = {"units": str(values.attrs.get("units", "")), "long_name": str(values.attrs.get("long_name", name))}
    return aligned.rename(name).assign_attrs(said)


def _named(store: xr.DataTree, wanted: str) -> xr.DataArray:
    if wanted not in properties(store):
        more = "" if "cracks" in store.children else "; and cracks/COLUMN, once `crackdask cracks STORE` measured them"
        raise ExportError(f"nothing to paint is named {wanted!r}; there are {', '.join(properties(store))}{more}")
    if wanted in _ANALYSED:
        return _ANALYSED[wanted](store)
    group, _, column = wanted.rpartition("/")
    table = cracks.table(store) if group else table_of(store, "particles")
    # Cracks may have been looked for in some states only.
    return table[column].where(table.computed) if "computed" in table else table[column]


def _own(values: xr.DataArray, particles: xr.Dataset) -> xr.DataArray:
    if not values.name or not set(values.dims) <= set(_BOTH) or "particle" not in values.dims:
        raise ExportError(
            f"what is painted needs a name and the dimensions particle, or state and particle, not {values.name!r} "
            f"along {values.dims}"
        )
    for dim in values.dims:
        if dim not in values.coords and values.sizes[dim] != particles.sizes[dim]:
            raise ExportError(
                f"{values.name} has {values.sizes[dim]} along {dim} and no coordinate, the store has "
                f"{particles.sizes[dim]}; give it the coordinate {dim}"
            )
    return values
