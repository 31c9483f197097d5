"""Tables of a store: particles, shells, histograms, contacts and transforms, written by ranges of particles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from crackdask import schema
from crackdask.arrays import Array
from crackdask.schema import Variable
from crackdask.storage.locations import Place, flush_all, remove
from crackdask.store import seals
from crackdask.store.arrays import (
    Axes,
    create_array,
    fresh_group,
    just_written,
    open_arrays,
    write_array,
    write_state_coordinates,
    write_words,
)
from crackdask.store.chunks import write_chunk
from crackdask.store.root import consolidate

Result = TypeVar("Result")
#: Particles in one chunk of a table; also how many are finalised at once, which bounds the memory.
RANGE = 20_000
#: The tables of a state on their way into the store; they lie where work volumes lie, and go like them.
WORK_TABLES = "tables"


def ranges(count: int) -> list[range]:
    """Return the ids 1..count in ranges that are chunks of the tables.

    >>> ranges(3)
    [range(1, 4)]
    """
    return [range(first, min(first + RANGE, count + 1)) for first in range(1, count + 1, RANGE)]


def over_ranges(count: int, work: Callable[[range], Result]) -> list[Result]:
    """Return what a function tells of each of the `ranges`; of two at once, for most of it is (de)compressing.

    >>> over_ranges(3, len)
    [3]
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, ranges(count)))


def flat(groups: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Return the columns of several tables under `table.column`, as one part of the work keeps them."""
    return {f"{group}.{name}": v for group, columns in groups.items() for name, v in columns.items()}


def nested(columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return what `flat` was given."""
    groups: dict[str, dict[str, Array]] = {}
    for path, values in columns.items():
        group, name = path.split(".")
        groups.setdefault(group, {})[name] = values
    return groups


class TableWriter:
    """Writes the tables of a store, one state and range of particles after the other.

    Each group is made anew, so that a rewritten store holds nothing of before.
    """

    def __init__(self, path: Place, axes: Axes, particles: int, shells: int) -> None:
        self._path, self._axes = path, axes
        self._groups: list[Any] = []
        self._arrays: dict[tuple[str, str], Any] = {}
        sizes = {
            "state": len(axes.names),
            "particle": particles,
            "shell": shells,
            "grey": schema.GREY_LEVELS,
        }
        coordinates: dict[str, Array] = {
            "particle": np.arange(1, particles + 1, dtype=np.uint32),
            "shell": np.arange(1, shells + 1, dtype=np.uint32),
            "grey": np.arange(schema.GREY_LEVELS, dtype=np.uint8),
        }
        for name, variables in (
            ("particles", schema.PARTICLES),
            ("shells", schema.SHELLS),
            ("histograms", schema.HISTOGRAMS),
        ):
            group = self._fresh(name)
            write_state_coordinates(group, axes)
            for key, variable in variables.items():
                self._arrays[name, key] = _array(group, key, variable, sizes)
            for dim in next(iter(variables.values())).dims[1:]:
                attributes = schema.COORDINATES[dim].attributes
                write_array(group, dim, coordinates[dim], (dim,), attributes)

    def _fresh(self, name: str) -> Any:
        self._groups.append(fresh_group(self._path, name))
        return self._groups[-1]

    def write(self, state: int, ids: range, groups: Mapping[str, Mapping[str, Array]]) -> None:
        """Write one state's rows of a range of particles, one of `ranges`; of several ranges at once, if need be."""
        part = (ids.start - 1) // RANGE
        for group, columns in groups.items():
            for name, values in columns.items():
                array = self._arrays[group, name]
                missing = array.shape[-1] - values.shape[-1] if group == "shells" else 0
                whole = np.pad(values, ((0, 0), (0, missing))) if missing else values
                write_chunk(array, (state, part, *[0] * (values.ndim - 1)), whole[None])

    def write_flags(self, flags: Mapping[str, Array]) -> None:
        """Write columns of `particles` that hold for all states."""
        for name, values in flags.items():
            array = self._arrays["particles", name]
            for state, held in enumerate(np.broadcast_to(values, array.shape)):
                _write_state(array, state, held)

    def write_contacts(self, contacts: Sequence[Mapping[str, Array]]) -> None:
        """Write the contacts of all states, one state after the other; each is asked for once for every column."""
        group = self._fresh("contacts")
        counts = [len(pairs["faces"]) for pairs in contacts]
        write_words(group, "state", self._axes.names, counts, ("contact",), schema.CONTACTS["state"].attributes)
        for name, variable in schema.CONTACTS.items():
            if name == "state":
                continue
            values, ends = np.empty(sum(counts), variable.dtype), np.cumsum(counts)
            for pairs, end in zip(contacts, ends.tolist(), strict=True):
                values[end - len(pairs[name]) : end] = pairs[name]
            write_array(group, name, values, variable.dims, variable.attributes)

    def write_transforms(self, columns: Mapping[str, Array], coordinates: Mapping[str, Array]) -> None:
        """Write where each state's voxels came from, and the coordinates of what is told on a lattice."""
        group = self._fresh("transforms")
        write_state_coordinates(group, self._axes)
        for name, variable in (*schema.LATTICE_COORDINATES.items(), *schema.TRANSFORMS.items()):
            values = coordinates[name] if name in coordinates else columns[name]
            held = values if variable.dtype == "str" else values.astype(variable.dtype)
            write_array(group, name, held, variable.dims, variable.attributes)

    def write_reconstruction(self, variables: Mapping[str, Array], flaws: Sequence[str]) -> None:
        """Write what was found when projections were reconstructed; where there is none, leave nothing of before."""
        if not variables:
            remove(self._path / "reconstruction")
            return
        group = self._fresh("reconstruction")
        write_state_coordinates(group, self._axes)
        rows = variables["center"].shape[1]
        values = {
            **variables,
            "row": np.arange(rows),
            "flaw": np.array(flaws),
            "rings": np.array(["before", "after"]),
            "level": np.array([0, np.iinfo(np.uint16).max]),
        }
        for name, variable in (*schema.RECONSTRUCTION_COORDINATES.items(), *schema.RECONSTRUCTION.items()):
            write_array(group, name, values[name], variable.dims, variable.attributes)

    def close(self) -> None:
        """Write the consolidated metadata, and down which chunks were written."""
        heads, chunks = just_written(self._groups)
        consolidate(self._path, heads)
        seals.keep(self._path, seals.TABLES, [seals.seals_of(self._path, seals.table_folders(self._path), chunks)])


def write_electrochemistry(path: Place, axes: Axes, variables: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write the cell's record and the states' links to it; where there is none, leave nothing of before."""
    if not variables:
        remove(path / "electrochemistry")
        return
    group = fresh_group(path, "electrochemistry")
    write_state_coordinates(group, axes)
    group.attrs.update(dict(facts))
    for name, variable in schema.ELECTROCHEMISTRY.items():
        write_array(group, name, variables[name], variable.dims, variable.attributes)


class CracksWriter:
    """Writes the table of cracks, state by state; a state counts from the moment when `computed` says so."""

    def __init__(self, path: Place, axes: Axes, particles: int, facts: Mapping[str, Any] | None) -> None:
        """Make the group anew with some attributes, or go on with the one that is there where they are None."""
        self._folder = path / "cracks"
        if facts is None:
            self._arrays = open_arrays(path, "cracks", schema.CRACKS)
            return
        group = fresh_group(path, "cracks")
        write_state_coordinates(group, axes)
        write_array(
            group, "particle", np.arange(1, particles + 1, dtype=np.uint32), ("particle",),
            schema.COORDINATES["particle"].attributes,
        )  # fmt: skip
        sizes = {"state": len(axes.names), "particle": particles}
        self._arrays = {name: _array(group, name, variable, sizes) for name, variable in schema.CRACKS.items()}
        group.attrs.update(dict(facts))
        consolidate(path)

    def write(self, state: int, columns: Mapping[str, Array]) -> None:
        """Write a state, flush it to the disk, and only then say that it is there."""
        self._arrays["computed"][state] = False
        for name, values in columns.items():
            _write_state(self._arrays[name], state, values)
        flush_all(self._folder)
        self._arrays["computed"][state] = True
        flush_all(self._folder / "computed")


def _write_state(array: Any, state: int, values: Array) -> None:
    """Write one state of an array (state, particle)."""
    for ids in ranges(len(values)):
        write_chunk(array, (state, (ids.start - 1) // RANGE), values[None, ids.start - 1 : ids.stop - 1])


def _array(group: Any, name: str, variable: Variable, sizes: Mapping[str, int]) -> Any:
    shape = tuple(sizes[dim] for dim in variable.dims)
    chunks = tuple(
        1 if dim == "state" else min(RANGE, n) if dim == "particle" else n
        for dim, n in zip(variable.dims, shape, strict=True)
    )
    fill: Any = {"f": np.nan, "b": False}.get(np.dtype(variable.dtype).kind, 0)
    return create_array(
        group,
        name,
        shape=shape,
        dtype=variable.dtype,
        dims=variable.dims,
        chunks=tuple(max(1, c) for c in chunks),
        attributes=variable.attributes,
        fill=fill,
    )
