"""Which tables there are: those of the store, and those that the analysis makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from crackdask import analyse, cracks, schema
from crackdask.analysis.tables import table_of
from crackdask.export.frames import Frame

_PARTICLE = ("state", "particle")


class Results:
    """A finished store, and its damage factor, which is worked out once."""

    def __init__(self, store: xr.DataTree) -> None:
        self.store = store

    @cached_property
    def damage(self) -> xr.Dataset:
        """The damage factor of every tracked particle in every state."""
        return analyse.damage(self.store)


@dataclass(frozen=True)
class Table:
    """A table that can be written.

    Attributes
    ----------
    title
        What a row is.
    dims
        Dimensions of the rows.
    make
        Returns its columns.
    long
        Whether it has many rows for each particle and state.
    """

    title: str
    dims: tuple[str, ...]
    make: Callable[[Results], xr.Dataset]
    long: bool = False


def _stored(group: str, order: tuple[str, ...]) -> Callable[[Results], xr.Dataset]:
    """Return a table of the store, its columns in the order of the schema and then as they come."""

    def make(results: Results) -> xr.Dataset:
        table = table_of(results.store, group)
        names = [str(name) for name in table.data_vars]
        return table[[*(n for n in order if n in names), *(n for n in names if n not in order)]]

    return make


def _keys_only(make: Callable[[Results], xr.Dataset]) -> Callable[[Results], xr.Dataset]:
    """Leave out what is known of a state from other tables, which a long table would repeat in each row."""
    return lambda results: make(results).drop_vars(["voltage", "step", "cycle"], errors="ignore")


def _transforms(results: Results) -> xr.Dataset:
    """Return a row for each state, with the matrix and the residuals of the chain in columns; the field is left out."""
    transforms = table_of(results.store, "transforms")
    columns = transforms.drop_dims(["row", "col", "chain", "lattice_z", "lattice_y", "lattice_x"], errors="ignore")
    columns = columns.drop_vars("axis", errors="ignore")
    for step in transforms.coords.get("chain", ()):
        residual = transforms.chain_residual_voxels.sel(chain=step, drop=True)
        words = f"residual of the registration after its step {step.item()}; NaN where not made"
        columns[f"residual_{step.item()}_voxels"] = residual.assign_attrs(long_name=words)
    for row, col in np.ndindex(*transforms.matrix.shape[1:]):
        words = f"{transforms.matrix.attrs['long_name']}, row {row}, column {col}"
        element = transforms.matrix.isel(row=row, col=col, drop=True).assign_attrs(long_name=words)
        columns[f"matrix_{row}{col}"] = element
    return columns


def _cracks(results: Results) -> xr.Dataset:
    return cracks.table(results.store)[list(schema.CRACKS)]


def _damage(results: Results) -> xr.Dataset:
    severity = analyse.classes(results.damage).severity_number
    return results.damage.assign(severity_number=severity)


def _classes(results: Results) -> xr.Dataset:
    return analyse.classes(results.damage)[["count", "share"]]


def _extremes(results: Results, dim: str) -> xr.Dataset:
    extremes = analyse.extremes(results.damage)
    return extremes[[name for name in extremes.data_vars if extremes[name].dims == (dim,)]]


def _tree(results: Results) -> xr.Dataset:
    return analyse.paths(results.damage).drop_vars(["path", "particle", "before", "after"])


TABLES: dict[str, Table] = {
    "particles": Table("a particle in a state", _PARTICLE, _stored("particles", tuple(schema.PARTICLES))),
    "contacts": Table("two particles that share faces", ("contact",), _stored("contacts", tuple(schema.CONTACTS))),
    "transforms": Table("a state, and where it came from", ("state",), _transforms),
    "cracks": Table("the cracks of a particle in a state", _PARTICLE, _cracks),
    "damage": Table("a tracked particle in a state", _PARTICLE, _damage),
    "changes": Table("a tracked particle, from state to state", _PARTICLE, lambda r: analyse.changes(r.damage)),
    "classes": Table("a class of damage in a state", ("state", "severity"), _classes),
    "extremes": Table("a tracked particle", ("particle",), lambda r: _extremes(r, "particle")),
    "pies": Table("a state", ("state",), lambda r: _extremes(r, "state")),
    "charged": Table("a tracked particle", ("particle",), lambda r: analyse.damaged_on_charge(r.damage)),
    "discharged": Table("a tracked particle", ("particle",), lambda r: analyse.healed_on_discharge(r.damage)),
    "paths": Table("a particle of the tree", ("particle",), lambda r: analyse.paths(r.damage)[["path"]]),
    "tree": Table("a branch of the tree of damaged (D) and healed (H)", ("branch",), _tree),
    "ranking": Table("a path, the commonest first", ("path",), lambda r: analyse.ranking(analyse.paths(r.damage))),
    "intensity": Table("a state and region", ("state", "region"), lambda r: analyse.intensity(r.store)),
    "rmpi": Table("a state and region", ("state", "region"), lambda r: analyse.rmpi(r.store)),
    "rmpi_by_size": Table(
        "a state, region and decile of radius",
        ("state", "region", "decile"),
        lambda r: analyse.rmpi(r.store, by="decile"),
    ),
    "rmpi_per_volume": Table(
        "a state and decile of radius", ("state", "decile"), lambda r: analyse.rmpi_per_volume(r.store)
    ),
    "profiles": Table(
        "a state, shell and quartile of radius",
        ("state", "shell", "quartile"),
        lambda r: analyse.profiles(r.store, by="quartile"),
    ),
    "shells": Table(
        "a shell of a particle in a state",
        (*_PARTICLE, "shell"),
        _keys_only(_stored("shells", tuple(schema.SHELLS))),
        long=True,
    ),
    "histograms": Table(
        "a grey level of a particle in a state",
        (*_PARTICLE, "grey"),
        _keys_only(_stored("histograms", tuple(schema.HISTOGRAMS))),
        long=True,
    ),
}


def frame(results: Results, name: str) -> Frame:
    """Return a table's rows, lazily.

    Raises
    ------
    AnalysisError
        If the store does not carry the table; the message says why.
    """
    table = TABLES[name]
    columns = table.make(results)
    return Frame(name, table.title, columns.drop_vars([n for n in columns.coords if not columns[n].dims]), table.dims)
