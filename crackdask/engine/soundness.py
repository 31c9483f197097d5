"""Whether a store still holds what its run wrote: volumes and tables that are gone, chunks that are others.

Metadata is read, and chunks are looked at without reading them (`crackdask.store.seals`), so that a rerun may ask each
time; what is inside chunks is read by :func:`verify` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import zarr

from crackdask.engine import growth
from crackdask.engine.work_units import Unit, stored_volumes, units
from crackdask.recipe.recipe import Recipe
from crackdask.schema import VOLUMES as EVERY
from crackdask.schema import UnitKey
from crackdask.steps.registry import GROUPS, GROUPS_IF_ANY, KEPT_ON_REQUEST, REGISTRY
from crackdask.storage.locations import Place, zarr_at
from crackdask.store import seals
from crackdask.store.checked import WHOLE, layout
from crackdask.store.create import COORDINATES
from crackdask.store.metadata import unlike
from crackdask.store.root import attributes

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
    volumes = {*stored_volumes(recipe), *(n for n in KEPT_ON_REQUEST if (path / "volumes" / n / "zarr.json").is_file())}
    gone = _gone(path, volumes)
    complete = bool(attributes(path).get("complete"))
    spoilt = {}
    for unit in units(recipe):
        wrote = [name for name, _ in unit.writes if name in volumes]
        step = REGISTRY[unit.step]
        reason = next((gone[name] for name in (*wrote, *step.groups, *step.groups_if_any) if name in gone), None)
        if reason is None and chunks:
            reason = next(_strays(path, unit, wrote, complete), None)
        if reason:
            spoilt[unit.key] = reason
    folders = [f"volumes/{name}/c" for name in COORDINATES]
    if chunks and GROUP not in gone and (stray := seals.stray(path, folders, seals.COORDINATES)):
        gone[GROUP] = f"{path}/volumes: damaged on the disk or by a copy ({stray})"
    return Damage(gone, spoilt)


def _gone(path: Place, volumes: set[str]) -> dict[str, str]:
    """Return the volumes and tables that are not in a store, or whose metadata was damaged."""
    gone = {name: f"{path}/volumes/{name} is gone" for name in volumes if not _is_node(path / "volumes" / name)}
    gone |= {name: f"{path}/{name} is gone" for name in GROUPS if not _is_node(path / name)}
    for name, reason in unlike(path):
        group, _, array = name.partition("/")
        what = group if group != GROUP or array not in EVERY else array
        if what in (GROUP, *volumes, *GROUPS, *GROUPS_IF_ANY):
            gone.setdefault(what, f"{path}/{name}/zarr.json {reason}")
    return gone


def _is_node(place: Place) -> bool:
    return (place / "zarr.json").is_file()


def _strays(path: Place, unit: Unit, wrote: list[str], complete: bool) -> Iterator[str]:
    """Yield what is wrong with the chunks that a unit wrote."""
    for name in wrote:
        folder = f"volumes/{name}/c/{unit.state}"
        expected = _every_chunk(path, name, unit.state) if complete else ()
        if stray := seals.stray(path, [folder], f"{name}-{unit.state}", expected):
            yield f"{path}/volumes/{name}: damaged on the disk or by a copy ({stray})"
    if REGISTRY[unit.step].groups and (stray := seals.stray(path, seals.table_folders(path), seals.TABLES)):
        yield f"{path}/{stray.partition('/')[0]}: damaged on the disk or by a copy ({stray})"


def _every_chunk(path: Place, name: str, state: int) -> Iterator[str]:
    """Yield the names of all chunks of a state of a volume, where each of them was written."""
    array = zarr.open_array(zarr_at(path / "volumes" / name), mode="r", zarr_format=3)
    if WHOLE.items() <= array.attrs.asdict().items():
        size = array.shards or array.chunks
        counts = [range(-(-n // c)) for n, c in zip(array.shape[1:], size[1:], strict=True)]
        for at in product([state], *counts):
            yield f"volumes/{name}/{array.metadata.encode_chunk_key(at)}"


def verify(path: Place) -> Iterator[tuple[str, str]]:
    """Read every chunk of a store, and yield those whose content is not what was written, with what is wrong.

    One chunk is in memory at a time.
    """
    volumes = [f"volumes/{name}/c" for name in (*COORDINATES, *EVERY)]
    for folder in (*volumes, *seals.table_folders(path)):
        for key, _, _ in seals.lying(path, folder):
            inner, _ = layout(path, key.partition("/c/")[0])
            data = (path / key).read_bytes()
            if inner and not seals.is_whole(data, inner):
                yield key, "its checksum does not fit"
            elif (seal := seals.seal_at(path, key)) and seals.seal_of(data, max(1, inner))[::3] != seal[::3]:
                yield key, "it was written at another place, or at another time"
