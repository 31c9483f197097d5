"""Tables of a store as the analysis takes them: a group, its states, the one that others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crackdask.analysis.parameters import AnalyseParams, AnalysisError
from crackdask.lazy_import import Later
from crackdask.schema import UnitKey

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")


def table_of(store: xr.DataTree, group: str) -> xr.Dataset:
    """Return a table of a finished store."""
    if not isinstance(store, xr.DataTree):
        raise TypeError(f"wanted what crackdask.open returns, an xarray.DataTree, not {type(store).__name__}")
    if not store.attrs.get("complete", True):
        raise AnalysisError("the run of this store is not finished, so its tables may be of before; run it to its end")
    if group not in store.children:
        raise AnalysisError(f"the store has no table {group!r}: run it to its end")
    table = store[group].to_dataset()
    if group != "particles" and "particles" in store.children:
        _same_rows(group, table, store["particles"].to_dataset())
    return table


def _same_rows(group: str, table: xr.Dataset, particles: xr.Dataset) -> None:
    """Refuse tables of which one was cut or turned and the others not: their rows would be mixed up.

    Names and numbers of rows tell; what else is known of a state lies on the disk, and would be read for each table.
    """
    for axis in ("state", "particle"):
        if axis not in table.dims or axis not in particles.dims:
            continue
        if not table.get_index(axis).equals(particles.get_index(axis)):
            raise AnalysisError(
                f"the tables {group!r} and 'particles' have not the same {axis}s in the same order; give the store as "
                f"it was opened, and choose {axis}s of the result"
            )


def origin_of(attributes: Mapping[Any, Any]) -> str:
    """Return what the tables of a store were made from, as one name, from its root attributes.

    The step that writes them is done once, for the state of reference, whichever that is.
    """
    steps = attributes.get("steps", {})
    made_by = [facts for name, facts in steps.items() if UnitKey.parse(name).step == "track"]
    return " ".join(str(facts.get("fingerprint", "")) for facts in made_by)


def voxel_edges(store: xr.DataTree) -> tuple[float, float, float]:
    """Return the edges of a voxel along z, y and x, in um."""
    z, y, x = (float(edge) for edge in store.attrs["recipe"]["experiment"]["voxel_um"])
    return (z, y, x)


def voxel_volume(store: xr.DataTree) -> float:
    """Return the volume of a voxel, in um3."""
    return prod(voxel_edges(store))


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


def needs_states(table: xr.Dataset) -> None:
    """Refuse a table of a single state where states are to be compared."""
    if table.sizes["state"] < 2:
        raise AnalysisError(f"there is a single state, {listed(table)}, and nothing to compare it with")


def tracked_rows(particles: xr.Dataset) -> NDArray[np.int64]:
    """Return the rows of the particles that are tracked, of the table `particles`."""
    return np.flatnonzero(particles.tracked.isel(state=0).values)


def named(array: xr.DataArray, units: str, long_name: str) -> xr.DataArray:
    """Return a column with its unit and meaning."""
    return array.assign_attrs({"units": units, "long_name": long_name})
