"""Columns of the particles as numbers by label: those of the store, and those that the analysis makes of them.

The latter are worked out once, when the first of them is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from crackdask import schema
from crackdask.analysis.parameters import AnalyseParams, AnalysisError, params_of
from crackdask.arrays import Array
from crackdask.explore.analysed import Analysed
from crackdask.explore.byte_cache import ByteCache
from crackdask.explore.tables import Tables

_COLUMN_BYTES = 48 * 2**20
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
_EVERYWHERE = ("voxels", "tracked", *schema.NOT_TRACKED)
_GROUPS = {key.partition(".")[0] for key in _ANALYSED}
_FLAGS = ("damage.severity_number", "changes.significant", "paths.path_number")


def number(value: float) -> float | None:
    """Return a number as JSON knows it: none that is infinite or NaN."""
    return float(value) if np.isfinite(value) else None


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
    tables
        Those of the store.
    analysed
        What the analysis makes of it.
    """

    def __init__(self, tables: Tables, analysed: Analysed) -> None:
        self.tables, self.array, self.analysed = tables, tables.array, analysed
        sizes = tables.sizes("particles/voxels")
        self.states, self.count = sizes["state"], sizes["particle"]
        self.params = params_of(tables, {})
        self.cracked = tables.cracked()
        self._cache = ByteCache(_COLUMN_BYTES)

    @cached_property
    def listed(self) -> dict[str, Column]:
        """Every column by its key."""
        return {column.key: column for column in self._all()}

    @cached_property
    def known(self) -> dict[str, Column]:
        """Every key that may be asked for: those of changes with "@" and the number of the state since which, too."""
        since = {
            f"{key}@{state}": replace(column, key=f"{key}@{state}")
            for key, column in self.listed.items()
            if key.startswith("changes.")
            for state in range(self.states)
        }
        return self.listed | since

    def _all(self) -> Iterator[Column]:
        unit = _unit(self.params.damage)
        for key, (units, words) in _ANALYSED.items():
            yield Column(key, unit if units == "damage" else units, words, key in _FLAGS)
        for group, variables in (("particles", schema.PARTICLES), ("cracks", schema.CRACKS)):
            if group not in self.tables or (group == "cracks" and self.cracked is None):
                continue
            all_names = self.tables.names(group)
            names = [name for name in all_names if list(self.tables.sizes(f"{group}/{name}")) == ["state", "particle"]]
            for name in sorted(names, key=lambda n: list(variables).index(n) if n in variables else len(variables)):
                told = self.tables.attributes(f"{group}/{name}")
                yield Column(
                    f"{group}.{name}",
                    str(told.get("units", "1")),
                    str(told.get("long_name", name)),
                    self.tables.is_whole(f"{group}/{name}"),
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
        if group in _GROUPS:
            labels, values = self.analysed.column(column.key, state)
            by_label[labels] = values
            return by_label
        if group == "cracks" and self.cracked is not None and not self.cracked[state]:
            return by_label
        by_label[1:] = self.array(f"{group}/{name}")[state]
        if name not in _EVERYWHERE:
            by_label[1:][~self.present(state)] = np.nan
        return by_label

    def makeable(self) -> list[str]:
        """Return the keys of the columns that this store carries: the analysis may refuse some."""
        keys = []
        for key in self.listed:
            with suppress(AnalysisError):
                if key.partition(".")[0] in _GROUPS:
                    self.analysed.column(key, 0)
                keys.append(key)
        return keys

    def of_particle(self, key: str, label: int) -> list[float]:
        """Return a column of one particle in every state; NaN where there is no value."""
        group, _, name = self.known[key].key.partition(".")
        states = range(self.states)
        if group in _GROUPS:
            return [float(self.values(key, state)[label]) for state in states]
        row = self.array(f"{group}/{name}")[:, label - 1].astype(float)
        if name not in _EVERYWHERE:
            row[self.array("particles/voxels")[:, label - 1] == 0] = np.nan
        if group == "cracks" and self.cracked is not None:
            row[~self.cracked] = np.nan
        return [float(value) for value in row]

    def present(self, state: int) -> Array:
        """Tell which particles have a voxel in a state, label after label from 1."""
        return self._cache.get(
            ("present", state),
            lambda: self.array("particles/voxels")[state] > 0,
        )


def _unit(damage: str) -> str:
    """Return the unit of a damage factor; that of the usual one is known without the libraries that work it out."""
    if damage == AnalyseParams.model_fields["damage"].default:
        return "1"
    from crackdask.analysis.damage_definitions import DAMAGE_FACTORS

    return DAMAGE_FACTORS[damage].units if damage in DAMAGE_FACTORS else "1"
