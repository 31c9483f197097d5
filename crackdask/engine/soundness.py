"""Whether a store still holds what its run wrote: volumes and tables that are gone, chunks that are others.

Metadata is read, and chunks are looked at without reading them (`crackdask.store.seals`), so that a rerun may ask each
time; what is inside chunks is read by :func:`verify` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import zarr

from crackdask.engine import growth
from crackdask.engine.work_units import Unit, stored_volumes, units
from crackdask.recipe.recipe import Recipe
from crackdask.schema import KEPT_TOMOGRAMS, LEVELS, TOMOGRAMS, UnitKey
from crackdask.schema import VOLUMES as EVERY
from crackdask.steps.registry import GROUPS, GROUPS_IF_ANY, KEPT_ON_REQUEST, REGISTRY
from crackdask.storage.locations import Place, zarr_at
from crackdask.store import seals
from crackdask.store.checked import WHOLE, layout
from crackdask.store.create import coordinate_folders
from crackdask.store.levels import level_arrays
from crackdask.store.metadata import unlike
from crackdask.store.root import attributes, edited

#: The step that writes what a run found as a whole.
TRACK = "track"
#: What is damaged where the group of volumes, or a coordinate of them, is.
GROUP = "volumes"


@dataclass(frozen=True)
class Damage:
    """What a store lacks.

    Attributes
    ----------
    gone
        Volumes, tables (and `GROUP`) that must be made again, each with what is wrong.
    spoilt
        Units whose volumes or tables are not what they wrote, each with what is wrong.
    """

    gone: Mapping[str, str] = field(default_factory=dict)
    spoilt: Mapping[UnitKey, str] = field(default_factory=dict)


def look(path: Place, recipe: Recipe, *, chunks: bool = True) -> Damage:
    """Return what of a store is not as its run left it; what was never made counts as gone.

    Parameters
    ----------
    path, recipe
        The store, and what it is made by.
    chunks
        Also look at every chunk; not while a run is writing them.
    """
    if growth.is_begun(path):  # its metadata is of two lengths, which the next run sets right
        return Damage()
    facts = attributes(path)
    volumes = {*stored_volumes(recipe), *(n for n in KEPT_ON_REQUEST if (path / "volumes" / n / "zarr.json").is_file())}
    if not has_levels(facts):  # as in stores of old, of which nothing is lost
        volumes.discard(LEVELS)
    arrays = {name: arrays_of(path, name, facts["identity"]["shape"]) for name in volumes}
    gone = _gone(path, arrays)
    complete, ended = bool(facts.get("complete")), facts.get("steps") or {}
    spoilt = {}
    for unit in units(recipe):
        wrote = [name for name, _ in unit.writes if name in volumes]
        step = REGISTRY[unit.step]
        reason = next((gone[name] for name in (*wrote, *step.groups, *step.groups_if_any) if name in gone), None)
        if reason is None and unit.step == TRACK and (change := edited(path, facts)):
            reason = f"{path}/zarr.json {change}"
        if reason is None and chunks:
            # Of a unit that was never ended, as levels of a store of old that were killed, some chunks are yet to come.
            whole = complete and unit.name in ended
            reason = next(_strays(path, unit, [array for name in wrote for array in arrays[name]], whole), None)
        if reason:
            spoilt[unit.key] = reason
    if chunks and GROUP not in gone and (stray := seals.stray(path, coordinate_folders(path), seals.COORDINATES)):
        gone[GROUP] = f"{path}/volumes: damaged on the disk or by a copy ({stray})"
    return Damage(gone, spoilt)


def has_levels(facts: Mapping[str, Any]) -> bool:
    """Tell from the root attributes of a store whether coarser levels were made of any state."""
    steps = facts.get("steps")
    return isinstance(steps, dict) and any(name.partition("-")[0] == LEVELS for name in steps)


def arrays_of(path: Place, volume: str, shape: Sequence[int]) -> list[str]:
    """Return the arrays of a store that hold what a step writes as a volume; `shape` is that of the whole."""
    if volume == TOMOGRAMS:
        return [KEPT_TOMOGRAMS]
    if volume != LEVELS:
        return [f"volumes/{volume}"]
    z, y, x = shape
    return level_arrays(path, (z, y, x))


def _gone(path: Place, arrays: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the volumes and tables that are not in a store, or whose metadata was damaged."""
    gone = {name: f"{path}/{array} is gone" for name in arrays for array in arrays[name] if not _is_node(path / array)}
    gone |= {name: f"{path}/{name} is gone" for name in GROUPS if not _is_node(path / name)}
    for name, reason in unlike(path):
        what = _made_as(name)
        if what in (GROUP, *arrays, *GROUPS, *GROUPS_IF_ANY):
            gone.setdefault(what, f"{path}/{name}/zarr.json {reason}")
    return gone


def _made_as(name: str) -> str:
    """Return what is made anew where a group or an array of a store is damaged."""
    group, _, array = name.partition("/")
    if group in seals.LEVEL_GROUPS:
        return LEVELS
    if group == TOMOGRAMS:
        return TOMOGRAMS if name == KEPT_TOMOGRAMS else GROUP
    return group if group != GROUP or array not in EVERY else array


def _is_node(place: Place) -> bool:
    return (place / "zarr.json").is_file()


def _strays(path: Place, unit: Unit, arrays: list[str], complete: bool) -> Iterator[str]:
    """Yield what is wrong with the chunks that a unit wrote."""
    for array in arrays:
        folder = f"{array}/c/{unit.state}"
        expected = _every_chunk(path, array, unit.state) if complete else ()
        if stray := seals.stray(path, [folder], seals.of_array(array, unit.state), expected):
            yield f"{path}/{array}: damaged on the disk or by a copy ({stray})"
    if REGISTRY[unit.step].groups and (stray := seals.stray(path, seals.table_folders(path), seals.TABLES)):
        yield f"{path}/{stray.partition('/')[0]}: damaged on the disk or by a copy ({stray})"


def _every_chunk(path: Place, name: str, state: int) -> Iterator[str]:
    """Yield the names of all chunks of a state of an array of voxels, where each of them was written."""
    array = zarr.open_array(zarr_at(path / name), mode="r", zarr_format=3)
    if WHOLE.items() <= array.attrs.asdict().items():
        size = array.shards or array.chunks
        counts = [range(-(-n // c)) for n, c in zip(array.shape[1:], size[1:], strict=True)]
        for at in product([state], *counts):
            yield f"{name}/{array.metadata.encode_chunk_key(at)}"


def verify(path: Place) -> Iterator[tuple[str, str]]:
    """Read every chunk of a store, and yield those whose content is not what was written, with what is wrong.

    One chunk is in memory at a time.
    """
    facts = attributes(path)
    volumes = [*coordinate_folders(path), *(f"volumes/{name}/c" for name in EVERY), f"{KEPT_TOMOGRAMS}/c"]
    levels = (
        [f"{array}/c" for array in arrays_of(path, LEVELS, facts["identity"]["shape"])] if has_levels(facts) else []
    )
    for folder in (*volumes, *levels, *seals.table_folders(path)):
        for key, _, _ in seals.lying(path, folder):
            inner, _ = layout(path, key.partition("/c/")[0])
            data = (path / key).read_bytes()
            if inner and not seals.is_whole(data, inner):
                yield key, "its checksum does not fit"
            elif (seal := seals.seal_at(path, key)) and seals.seal_of(data, max(1, inner))[::3] != seal[::3]:
                yield key, "it was written at another place, or at another time"
