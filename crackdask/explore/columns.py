"""Columns of the particles as numbers by label: those of the store, and those that the analysis makes of them.

The damage factor, from which most of the latter follow, is worked out once, by whoever asks first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask import schema
from crackdask.analysis.damage_definitions import DAMAGE_FACTORS
from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.arrays import Array
from crackdask.explore.byte_cache import ByteCache
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr

    from crackdask import analyse
else:
    xr = Later("xarray")
    analyse = Later("crackdask.analyse")

_COLUMN_BYTES = 96 * 2**20
#: Of the analysis: unit ("damage" for that of the damage factor) and meaning; None for the state: one for all states.
_ANALYSED = {
    "damage.damage": ("damage", "damage factor"),
    "damage.standard_error": ("damage", "standard error of the damage factor"),
    "damage.severity_number": ("1", "class of damage: 0 minimal, 1 moderate, 2 high"),
    "damage.core_grey": ("1", "mean grey level of the innermost eighth"),
    "damage.radius_um": ("um", "radius of the sphere of the same volume, in the reference state"),
    "changes.change": ("damage", "change of the damage factor since the state before"),
    "changes.standard_error": ("damage", "standard error of the change"),
    "changes.z": ("1", "change over its standard error"),
    "changes.significant": ("1", "change is more than its error"),
    "paths.path_number": (
        "1",
        "path in the tree: a binary digit a transition, the first one first, 1 damaged, 0 healed",
    ),
}
#: Columns that tell something of a particle that is absent, too.
_EVERYWHERE = ("voxels", "tracked", "lost", "neighbour_lost", "on_border", "on_invalid")
_FLAGS = ("damage.severity_number", "changes.significant", "paths.path_number")


@dataclass(frozen=True)
class Column:
    """What a column is.

    Attributes
    ----------
    key
        ``TABLE.NAME``, as in the store and in what is exported.
    units, long_name
        Of its values.
    whole
        Whether its values are whole numbers or truths.
    """

    key: str
    units: str
    long_name: str
    whole: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


class Columns:
    """Columns of the particles of a finished store.

    Parameters
    ----------
    tree
        What ``crackdask.open`` returns, of a finished store.
    array
        Opens an array of the same store by its path: a row of it is read sooner than through xarray.
    """

    def __init__(self, tree: xr.DataTree, array: Callable[[str], Any]) -> None:
        self.tree, self.array = tree, array
        self.count = int(tree["particles"].sizes["particle"])
        self.params = params_of(tree, {})
        self._cache = ByteCache(_COLUMN_BYTES)
        self._working = RLock()

    @cached_property
    def known(self) -> dict[str, Column]:
        """Every column by its key."""
        return {column.key: column for column in self._all()}

    def _all(self) -> Iterator[Column]:
        unit = DAMAGE_FACTORS[self.params.damage].units if self.params.damage in DAMAGE_FACTORS else "1"
        for key, (units, words) in _ANALYSED.items():
            yield Column(key, unit if units == "damage" else units, words, key in _FLAGS)
        for group, variables in (("particles", schema.PARTICLES), ("cracks", schema.CRACKS)):
            if group not in self.tree.children:
                continue
            held = self.tree[group].to_dataset()
            names = [name for name in held.data_vars if held[name].dims == ("state", "particle")]
            for name in sorted(names, key=lambda n: list(variables).index(n) if n in variables else len(variables)):
                told = held[name].attrs
                yield Column(
                    f"{group}.{name}",
                    str(told.get("units", "1")),
                    str(told.get("long_name", name)),
                    held[name].dtype.kind in "biu",
                )

    def values(self, key: str, state: int) -> Array:
        """Return a column in a state, by label.

        Returns
        -------
        numpy.ndarray
            float32, one more than there are particles: its place is the label. NaN where there is no value: at 0, and
            where a particle is absent or not tracked.

        Raises
        ------
        KeyError
            If there is no such column.
        AnalysisError
            If the analysis cannot make it; the message says why.
        """
        column = self.known[key]
        return self._cache.get((key, state), lambda: self._by_label(column, state))

    def _by_label(self, column: Column, state: int) -> Array:
        group, _, name = column.key.partition(".")
        by_label = np.full(self.count + 1, np.nan, np.float32)
        if column.key in _ANALYSED:
            table, offset = self._analysed(group)
            found = table[name]
            rows = table.particle.values.astype(np.int64)
            if "state" not in found.dims:
                by_label[rows] = found.values
            elif state >= offset:
                by_label[rows] = found.values[state - offset]
            return by_label
        if group == "cracks" and not self.array("cracks/computed")[state]:
            return by_label
        by_label[1:] = self.array(f"{group}/{name}")[state]
        if name not in _EVERYWHERE:
            by_label[1:][~self.present(state)] = np.nan
        return by_label

    def makeable(self) -> list[str]:
        """Return the keys of the columns that this store carries: the analysis may refuse some."""
        keys = []
        for key in self.known:
            with suppress(AnalysisError):
                if key in _ANALYSED:
                    self._analysed(key.partition(".")[0])
                keys.append(key)
        return keys

    def of_particle(self, key: str, label: int) -> list[float]:
        """Return a column of one particle in every state; NaN where there is no value."""
        group, _, name = self.known[key].key.partition(".")
        states = range(int(self.tree["particles"].sizes["state"]))
        if key in _ANALYSED:
            return [float(self.values(key, state)[label]) for state in states]
        row = self.array(f"{group}/{name}")[:, label - 1].astype(float)
        if name not in _EVERYWHERE:
            row[self.array("particles/voxels")[:, label - 1] == 0] = np.nan
        if group == "cracks":
            row[~self.array("cracks/computed")[...]] = np.nan
        return [float(value) for value in row]

    def present(self, state: int) -> Array:
        """Tell which particles have a voxel in a state, label after label from 1."""
        return self._cache.get(
            ("present", state),
            lambda: self.array("particles/voxels")[state] > 0,
        )

    def _analysed(self, group: str) -> tuple[xr.Dataset, int]:
        """Return a table of the analysis, and the number of its first state."""
        if group == "changes":
            return self.changes, 1
        return (self.paths if group == "paths" else self.damage), 0

    @property
    def damage(self) -> xr.Dataset:
        """The damage factor of every tracked particle in every state, and its class."""
        with self._working:
            return self._damage

    @property
    def changes(self) -> xr.Dataset:
        """What damage did from state to state."""
        with self._working:
            return self._changes

    @cached_property
    def _damage(self) -> xr.Dataset:
        damages = analyse.damage(self.tree)
        return damages.assign(severity_number=analyse.classes(damages).severity_number).transpose("state", "particle")

    @cached_property
    def _changes(self) -> xr.Dataset:
        return analyse.changes(self._damage).load()

    @property
    def paths(self) -> xr.Dataset:
        """The tree of damaged and healed, and for each of its particles the number of its path."""
        with self._working:
            return self._paths

    @cached_property
    def _paths(self) -> xr.Dataset:
        tree = analyse.paths(self._damage)
        numbers = [int(path.replace("D", "1").replace("H", "0"), 2) for path in tree.path.values.tolist()]
        return tree.assign(path_number=("particle", np.array(numbers)))
