"""Volumes on disk: arrays in Zarr format 3, read and written box by box, flushed before they count as written.

The only module that knows zarr. A volume is one array (or one state of the 4D store); blocks read any window and
write whole chunks that they alone own.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from crackdask import schema
from crackdask.plan import Box, Triple

Array = np.ndarray[Any, np.dtype[Any]]


class StoreError(ValueError):
    """The store is not what was expected; the message says what it is and the way out."""


@dataclass(frozen=True)
class Compression:
    """How chunks are compressed; every chunk ends in a crc32c all the same."""

    codec: Literal["zstd", "lz4", "none"] = "zstd"
    level: int = 3

    def codecs(self) -> list[Any]:
        """Return the codecs that turn a chunk's bytes into what is written."""
        if self.codec == "none":
            return [Crc32cCodec()]
        return [BloscCodec(cname=self.codec, clevel=self.level, shuffle="bitshuffle"), Crc32cCodec()]


@dataclass(frozen=True)
class Volume:
    """One (z, y, x) volume on disk: an array, or one state of a 4D array.

    Attributes
    ----------
    path
        The array's folder.
    state
        Index along the first axis of a 4D array, or None for a 3D one.
    """

    path: str
    state: int | None = None

    def read(self, box: Box) -> Array:
        """Return the voxels of a box.

        Raises
        ------
        StoreError
            If a chunk is not what was written: its checksum tells.
        """
        array = _opened(self.path, (Path(self.path) / "zarr.json").stat().st_mtime_ns)
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        try:
            return np.asarray(array[index])
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                f"{self.path}: damaged on the disk or by a copy, in the chunks of "
                f"{'' if self.state is None else f'state {self.state}, '}voxels {box.start} to {box.stop} ({error}); "
                f"to have it made anew, remove {self._record()} and run again"
            ) from error

    def _record(self) -> str:
        """Return the file or folder without which a run makes the volume again."""
        path = Path(self.path)
        if self.state is None:
            return self.path
        root = path.parents[1]
        steps = ("labels", "transfer") if path.name == "label" else (path.name.replace("denoised", "denoise"),)
        results = [root.with_name(f"{root.name}.work") / "results" / f"{step}-{self.state}" for step in steps]
        return str(next((found for found in results if found.exists()), results[0]))

    def write(self, box: Box, voxels: Array) -> int:
        """Write a box that covers whole chunks and flush it to the disk; return the bytes written."""
        array = _opened(self.path, (Path(self.path) / "zarr.json").stat().st_mtime_ns)
        assert voxels.dtype == array.dtype, (voxels.dtype, array.dtype)
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        array[index] = voxels
        return self._flush(array, box)

    def _flush(self, array: zarr.Array[Any], box: Box) -> int:
        units = array.shards or array.chunks
        first: tuple[Any, ...] = () if self.state is None else (range(self.state, self.state + 1),)
        spans = [range(a // u, -(-b // u)) for a, b, u in zip(box.start, box.stop, units[-3:], strict=True)]
        written = 0
        folders: dict[Path, set[str]] = {}
        for place in product(*first, *spans):
            file = Path(self.path) / array.metadata.encode_chunk_key(place)
            if file.exists():
                written += flush(file)
            folders.setdefault(file.parent, set()).add(file.name)
        for folder, own in folders.items():
            if self.state is not None and folder.exists():
                _sweep(folder, own)
        # A folder that this block made is an entry of the folder above; a chunk of zeros is an entry removed.
        above = {
            parent for folder in folders for parent in (folder, *folder.parents) if parent.is_relative_to(self.path)
        }
        for folder in sorted(above, reverse=True):
            if folder.exists():
                flush(folder)
        return written


def _sweep(folder: Path, own: set[str]) -> None:
    """Remove what a writer that was killed left of the chunks that are now written."""
    for entry in folder.iterdir():
        if entry.suffix == ".partial" and entry.name.partition(".")[0] in own:
            entry.unlink()


def flush(path: Path) -> int:
    """Flush a file or folder to the disk and return its size in bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


@lru_cache(maxsize=64)
def _opened(path: str, made: int) -> zarr.Array[Any]:
    return zarr.open_array(path, mode="r+")


def make_volume(path: Path, shape: Triple, dtype: str, chunk: Triple, compression: Compression) -> Volume:
    """Make an empty work volume, or return the one that is there and alike."""
    chunks = tuple(min(c, n) for c, n in zip(chunk, shape, strict=True))
    if path.exists():
        there = zarr.open_array(path, mode="r")
        if (there.shape, there.dtype, there.chunks) == (shape, np.dtype(dtype), chunks):
            return Volume(str(path))
        shutil.rmtree(path)
    zarr.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=compression.codecs(),
        fill_value=0,
        dimension_names=schema.SPATIAL,
        # One folder for all chunks: one directory entry to flush.
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    flush(path / "zarr.json")
    return Volume(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's note that consolidated metadata is an extension of format 3; it is asked for on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        yield


def consolidate(path: Path) -> None:
    """Write the consolidated metadata of the whole store and of each group."""
    with _quiet():
        for group in [*(p for p in path.iterdir() if (p / "zarr.json").exists()), path]:
            zarr.consolidate_metadata(str(group))


def attributes(path: Path) -> dict[str, Any]:
    """Return the root attributes of a store.

    Raises
    ------
    StoreError
        If there is no crackdask store, or one of a newer format.
    """
    if not (path / "zarr.json").exists():
        raise StoreError(f"there is no store at {path}; `crackdask run RECIPE --store {path}` makes one")
    try:
        found = dict(zarr.open_group(str(path), mode="r").attrs)
    except Exception as error:
        raise StoreError(f"the store {path} cannot be read: {error}") from error
    version = found.get("format_version")
    if not isinstance(version, int):
        raise StoreError(f"{path} is a Zarr group but not a crackdask store: it has no format_version")
    if version > schema.FORMAT_VERSION:
        raise StoreError(
            f"{path} has format {version}, this crackdask knows formats up to {schema.FORMAT_VERSION}; "
            "install a newer crackdask to read it"
        )
    return found


def refuse_links(path: Path) -> None:
    """Refuse a store or work folder of which a part lies elsewhere: a run would write there.

    Raises
    ------
    StoreError
        If a group, an array or a folder of records is a symbolic link that leads out.
    """
    home = path.resolve()
    for pattern in ("*", "*/*", "*/*/*/"):
        for found in path.glob(pattern):
            if found.is_symlink() and not found.resolve().is_relative_to(home):
                raise StoreError(
                    f"{found} is a link to {found.resolve()}, outside of {path.name}, and a run would write there; "
                    "put the folder itself in its place, or choose another store"
                )


def set_attributes(path: Path, values: Mapping[str, Any]) -> None:
    """Change root attributes of a store."""
    zarr.open_group(str(path), mode="r+").attrs.update(dict(values))
    flush(path / "zarr.json")


@dataclass(frozen=True)
class Axes:
    """Coordinates of a store: the states and where its voxels lie."""

    names: tuple[str, ...]
    voltages: tuple[float, ...]
    steps: tuple[str, ...]
    cycles: tuple[int, ...]
    shape: Triple
    voxel_um: tuple[float, float, float]


def create(
    path: Path,
    axes: Axes,
    volumes: Mapping[str, str],
    chunk: Triple,
    shard: Triple | None,
    compression: Compression,
    values: Mapping[str, Any],
) -> None:
    """Make an empty store with its volumes (name to dtype) and root attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole, path = path, path.with_name(f".{path.name}.partial")
    shutil.rmtree(path, ignore_errors=True)
    root = zarr.create_group(str(path), zarr_format=3, attributes=dict(values))
    group = root.create_group("volumes")
    write_state_coordinates(group, axes)
    for name, n, edge in zip(schema.SPATIAL, axes.shape, axes.voxel_um, strict=True):
        centres = (np.arange(n) + 0.5) * edge
        write_array(group, name, centres, (name,), schema.COORDINATES[name].attributes)
    add_volumes(path, axes, volumes, chunk, shard, compression)
    path.replace(whole)  # under its name only when it is whole
    flush(whole.parent)


def tidy(path: Path) -> None:
    """Remove what a killed writer of metadata left in a store."""
    for pattern in ("*.partial", "*/*.partial", "*/*/*.partial"):
        for left in path.glob(pattern):
            left.unlink()


def add_volumes(
    path: Path,
    axes: Axes,
    volumes: Mapping[str, str],
    chunk: Triple,
    shard: Triple | None,
    compression: Compression,
) -> None:
    """Add empty volumes (name to dtype) to a store."""
    group = zarr.open_group(str(path / "volumes"), mode="r+")
    for name, dtype in volumes.items():
        create_array(
            group,
            name,
            shape=(len(axes.names), *axes.shape),
            dtype=dtype,
            dims=schema.VOLUME,
            chunks=(1, *(min(c, n) for c, n in zip(chunk, axes.shape, strict=True))),
            shards=None if shard is None else (1, *shard),
            compression=compression,
            attributes=schema.VOLUMES[name].attributes,
        )
    consolidate(path)


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: str,
    dims: tuple[str, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
    compression: Compression | None = None,
    attributes: Mapping[str, Any],
    fill: Any = 0,
) -> zarr.Array[Any]:
    """Make one empty array of a group."""
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=(compression or Compression()).codecs(),
        fill_value=fill,
        dimension_names=dims,
        attributes=dict(attributes),
    )


def write_array(
    group: zarr.Group, name: str, values: Array, dims: tuple[str, ...], attributes: Mapping[str, Any]
) -> None:
    """Write a small array of a group whole."""
    if values.dtype.kind in "UT":
        group.create_array(
            name,
            data=values.astype(np.dtypes.StringDType()),
            compressors=[Crc32cCodec()],
            dimension_names=dims,
            attributes=dict(attributes),
        )
        return
    array = create_array(
        group,
        name,
        shape=values.shape,
        dtype=values.dtype.str,
        dims=dims,
        chunks=tuple(max(1, n) for n in values.shape),
        attributes=attributes,
        fill=False if values.dtype == bool else 0,
    )
    array[...] = values


def write_state_coordinates(group: zarr.Group, axes: Axes) -> None:
    """Write the coordinates along the states: name, voltage, step, cycle."""
    # xarray reads what this CF attribute names as coordinates.
    group.attrs["coordinates"] = "voltage step cycle"
    for name, values in (
        ("state", np.array(axes.names)),
        ("voltage", np.array(axes.voltages, float)),
        ("step", np.array(axes.steps)),
        ("cycle", np.array(axes.cycles, np.int64)),
    ):
        write_array(group, name, values, ("state",), schema.COORDINATES[name].attributes)


def fresh_group(path: Path, name: str) -> zarr.Group:
    """Return an empty group of a store, without what it held before."""
    shutil.rmtree(path / name, ignore_errors=True)
    return zarr.open_group(str(path), mode="r+").create_group(name)


def volume(path: Path, name: str, state: int) -> Volume:
    """Return one state of one of the store's volumes."""
    return Volume(str(path / "volumes" / name), state)
