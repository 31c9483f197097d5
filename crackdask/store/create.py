"""A new store: its coordinates and empty volumes, under its name only when it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from crackdask import schema
from crackdask.grid import Triple
from crackdask.storage.locations import Place, Prefix, flush, forget, names, remove, zarr_at
from crackdask.store.arrays import Axes, VolumeLayout, create_array, write_array, write_state_coordinates
from crackdask.store.checked import WHOLE
from crackdask.store.levels import add_levels
from crackdask.store.root import begun_mark, consolidate

#: Arrays of a group of volumes that are no volumes.
COORDINATES = ("state", "voltage", "step", "cycle", *schema.SPATIAL)


def create(
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    layout: VolumeLayout,
    values: Mapping[str, Any],
) -> None:
    """Make an empty store with its volumes (name to dtype) and root attributes."""
    if isinstance(path, Prefix):  # where nothing can be renamed, a mark tells that it is not whole
        begun_mark(path).write_bytes(b"")
        remove(path)
        _fill(path, axes, volumes, layout, values)
        begun_mark(path).unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    remove(partial)
    _fill(partial, axes, volumes, layout, values)
    partial.replace(path)  # under its name only when it is whole
    flush(path.parent)


def _fill(
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    layout: VolumeLayout,
    values: Mapping[str, Any],
) -> None:
    """Write what a new store consists of."""
    zarr.create_group(zarr_at(path), zarr_format=3, attributes=dict(values))
    add_levels(path, axes, layout)
    add_volumes(path, axes, volumes, layout)


def add_volumes(
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    layout: VolumeLayout,
) -> None:
    """Add empty volumes (name to dtype) to a store, and the group of all of them if it is not there."""
    if not (path / "volumes" / "zarr.json").is_file():
        add_coordinates(path, axes)
    for name in volumes:
        remove(path / "volumes" / name)  # what is left of one that was damaged
    group = zarr.open_group(zarr_at(path / "volumes", emptied=volumes), mode="r+", zarr_format=3)
    cut = layout.fitted(axes.shape)
    for name, dtype in volumes.items():
        create_array(
            group,
            name,
            shape=(len(axes.names), *axes.shape),
            dtype=dtype,
            dims=schema.VOLUME,
            chunks=(1, *cut.chunk),
            shards=None if cut.shard is None else (1, *cut.shard),
            compression=cut.compression,
            attributes=schema.VOLUMES[name].attributes | WHOLE,
        )
    consolidate(path)


def coordinate_folders(path: Place) -> list[str]:
    """Return the folders of a store in which the chunks of coordinates of volumes, and of kept tomograms, lie."""
    groups = ["volumes", schema.TOMOGRAMS] if names(path / schema.TOMOGRAMS) else ["volumes"]
    return [f"{group}/{name}/c" for group in groups for name in COORDINATES]


def add_coordinates(path: Place, axes: Axes) -> None:
    """Make the group of volumes and its coordinates, anew where they are there; volumes are left as they are.

    So those of the tomograms that are kept.
    """
    _add_coordinates(path / "volumes", axes, axes.shape)
    kept = path / schema.KEPT_TOMOGRAMS
    if (kept / "zarr.json").is_file():
        _, z, y, x = zarr.open_array(zarr_at(kept), mode="r", zarr_format=3).shape
        _add_coordinates(path / schema.TOMOGRAMS, axes, (z, y, x))


def _add_coordinates(folder: Place, axes: Axes, shape: Triple) -> None:
    if isinstance(folder, Path) and (folder.is_symlink() or not folder.is_dir()):
        remove(folder)
    forget(folder / "zarr.json")
    for name in {*COORDINATES}.intersection(names(folder)):
        remove(folder / name)
    group = zarr.create_group(zarr_at(folder, emptied=["zarr.json", *COORDINATES]), zarr_format=3)
    write_state_coordinates(group, axes)
    for name, n, edge in zip(schema.SPATIAL, shape, axes.voxel_um, strict=True):
        centres = (np.arange(n) + 0.5) * edge
        write_array(group, name, centres, (name,), schema.COORDINATES[name].attributes)
