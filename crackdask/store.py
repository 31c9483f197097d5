"""Volumes: arrays in Zarr format 3, on a disk or in object storage, read and written box by box.

What is on a disk is flushed before it counts as written. A volume is one array (or one state of the 4D store); blocks
read any window and write whole chunks that they alone own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from crackdask import schema
from crackdask.chunks import Chunks
from crackdask.places import Place, PlaceError, Prefix, UnreachableError, flush, place, remove, zarr_at
from crackdask.plan import Box, Triple

Array = np.ndarray[Any, np.dtype[Any]]
#: Attribute of arrays whose every chunk is written, so that one that is not there was lost.
_WHOLE = {"chunks_of_zeros": "written"}


class StoreError(ValueError):
    """The store is not what was expected; the message says what it is and the way out."""


class DamagedError(StoreError):
    """What was written is no longer what is read; a run makes it anew."""

    def __init__(self, found: str, remedy: str, name: str, state: int) -> None:
        super().__init__(found, remedy, name, state)
        self.found, self.name, self.state, self._remedy = found, name, state, remedy

    def __str__(self) -> str:
        return f"{self.found}; {self._remedy}"


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
        The array's folder, or its URL.
    state
        Index along the first axis of a 4D array, or None for a 3D one.
    """

    path: str
    state: int | None = None

    def read(self, box: Box) -> Array:
        """Return the voxels of a box.

        Raises
        ------
        DamagedError
            If a chunk is not what was written: its checksum tells, or it is not there, which Zarr takes for zeros.
        """
        array = self._array()
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        try:
            voxels = np.asarray(array[index])
            if lost := self._lost(array, box):
                raise ValueError(f"{lost} is not there")
            return voxels
        except (ValueError, RuntimeError) as error:
            name, state = Path(self.path).name, self.state
            if state is None:
                name, _, number = name.rpartition("-")
                state = int(number)
            raise DamagedError(
                f"{self.path}: damaged on the disk or by a copy, in the chunks of "
                f"{'' if self.state is None else f'state {self.state}, '}voxels {box.start} to {box.stop} ({error})",
                f"to have it made anew, remove {self._record()} and run again",
                name,
                state,
            ) from error

    def _lost(self, array: zarr.Array[Any], box: Box) -> str | None:
        """Return a chunk of a box that was not there when it was read, or None."""
        if not _WHOLE.items() <= array.attrs.asdict().items():
            return None
        if isinstance(array.store, Chunks):
            return next(iter(array.store.absent), None)
        root = Path(self.path)
        return next((key for key in self._chunks(array, box) if not (root / key).exists()), None)

    def _chunks(self, array: zarr.Array[Any], box: Box) -> Iterator[str]:
        """Yield the names of the chunks (of the shards, where there are any) that a box touches."""
        units = array.shards or array.chunks
        first: tuple[Any, ...] = () if self.state is None else (range(self.state, self.state + 1),)
        spans = [range(a // u, -(-b // u)) for a, b, u in zip(box.start, box.stop, units[-3:], strict=True)]
        return map(array.metadata.encode_chunk_key, product(*first, *spans))

    def _array(self) -> zarr.Array[Any]:
        where = place(self.path)
        try:
            if isinstance(where, Prefix):  # opened anew, which asks no more than whether it changed
                return _open(zarr_at(where))
            return _opened(self.path, (where / "zarr.json").stat().st_mtime_ns)
        except FileNotFoundError:
            raise StoreError(f"{self.path} is gone: something removed it; `crackdask run` makes it anew") from None

    @property
    def made(self) -> str:
        """What tells a work volume from another one that lay at the same place before."""
        if self.state is not None:
            return ""
        return str(self._array().attrs.get("made", ""))

    def _record(self) -> str:
        """Return the file or folder without which a run makes the volume again."""
        path = place(self.path)
        if self.state is None:
            return self.path
        root = path.parent.parent
        steps = ("labels", "transfer") if path.name == "label" else (path.name.replace("denoised", "denoise"),)
        results = [root.with_name(f"{root.name}.work") / "results" / f"{step}-{self.state}" for step in steps]
        return str(next((found for found in results if found.exists()), path))

    def write(self, box: Box, voxels: Array) -> int:
        """Write a box that covers whole chunks and flush it to the disk; return the bytes written."""
        array = self._array()
        assert voxels.dtype == array.dtype, (voxels.dtype, array.dtype)
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        array[index] = voxels
        if isinstance(array.store, Chunks):
            return array.store.written
        return self._flush(array, box)

    def _flush(self, array: zarr.Array[Any], box: Box) -> int:
        written = 0
        folders: dict[Path, set[str]] = {}
        for key in self._chunks(array, box):
            file = Path(self.path) / key
            written += flush(file)
            folders.setdefault(file.parent, set()).add(file.name)
        for folder, own in folders.items():
            if self.state is not None:
                _sweep(folder, own)
        # A folder that this block made is an entry of the folder above.
        above = {
            parent for folder in folders for parent in (folder, *folder.parents) if parent.is_relative_to(self.path)
        }
        for folder in sorted(above, reverse=True):
            flush(folder)
        return written


def _sweep(folder: Path, own: set[str]) -> None:
    """Remove what a writer that was killed left of the chunks that are now written."""
    for entry in folder.iterdir():
        if entry.suffix == ".partial" and entry.name.partition(".")[0] in own:
            entry.unlink()


@lru_cache(maxsize=64)
def _opened(path: str, made: int) -> zarr.Array[Any]:
    return _open(path)


def _open(where: Any) -> zarr.Array[Any]:
    # Chunks of zeros are written too, so that one that was lost can be told from them.
    return zarr.open_array(where, mode="r+", zarr_format=3).with_config({"write_empty_chunks": True})


def make_volume(path: Place, shape: Triple, dtype: str, chunk: Triple, compression: Compression) -> Volume:
    """Make an empty work volume, or return the one that is there and alike."""
    chunks = tuple(min(c, n) for c, n in zip(chunk, shape, strict=True))
    if (path / "zarr.json").is_file():
        there = zarr.open_array(zarr_at(path), mode="r", zarr_format=3)
        if (there.shape, there.dtype, there.chunks) == (shape, np.dtype(dtype), chunks):
            return Volume(str(path))
    remove(path)
    zarr.create_array(
        zarr_at(path),
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=compression.codecs(),
        fill_value=0,
        dimension_names=schema.SPATIAL,
        # One folder for all chunks: one directory entry to flush.
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"made": uuid4().hex, **_WHOLE},
    )
    flush(path / "zarr.json")
    return Volume(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's note that consolidated metadata is an extension of format 3; it is asked for on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        yield


def consolidate(path: Place) -> None:
    """Write the consolidated metadata of the whole store and of each group."""
    with _quiet():
        for group in [*(p for p in path.iterdir() if (p / "zarr.json").is_file()), path]:
            zarr.consolidate_metadata(zarr_at(group))


def is_there(path: Place) -> bool:
    """Tell whether there is a store, or another Zarr group, at a place: one that was made to its end."""
    return (path / "zarr.json").is_file() and not is_begun(path)


def is_begun(path: Place) -> bool:
    """Tell whether a store on object storage was begun and its making killed: what is there may be thrown away."""
    return isinstance(path, Prefix) and _begun(path).is_file()


def _begun(path: Prefix) -> Prefix:
    """Return the mark that lies beside a store on object storage while that is being made."""
    return path.with_name(f".{path.name}.begun")


def attributes(path: Place) -> dict[str, Any]:
    """Return the root attributes of a store.

    Raises
    ------
    StoreError
        If there is no crackdask store, or one of a newer format.
    """
    if not (path / "zarr.json").is_file():
        raise StoreError(f"there is no store at {path}; `crackdask run RECIPE --store {path}` makes one")
    try:
        found = dict(zarr.open_group(zarr_at(path), mode="r", zarr_format=3).attrs)
    except (PlaceError, UnreachableError):
        raise
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


def refuse_links(path: Place) -> None:
    """Refuse a store or work folder of which a part lies elsewhere: a run would write there.

    Raises
    ------
    StoreError
        If a group, an array or a folder of records is a symbolic link that leads out.
    """
    if isinstance(path, Prefix):
        return
    home = path.resolve()
    for pattern in ("*", "*/*", "*/*/*/"):
        for found in path.glob(pattern):
            if found.is_symlink() and not found.resolve().is_relative_to(home):
                raise StoreError(
                    f"{found} is a link to {found.resolve()}, outside of {path.name}, and a run would write there; "
                    "put the folder itself in its place, or choose another store"
                )


def set_attributes(path: Place, values: Mapping[str, Any]) -> None:
    """Change root attributes of a store."""
    zarr.open_group(zarr_at(path), mode="r+", zarr_format=3).attrs.update(dict(values))
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
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    chunk: Triple,
    shard: Triple | None,
    compression: Compression,
    values: Mapping[str, Any],
) -> None:
    """Make an empty store with its volumes (name to dtype) and root attributes."""
    if isinstance(path, Prefix):  # where nothing can be renamed, a mark tells that it is not whole
        _begun(path).write_bytes(b"")
        remove(path)
        _fill(path, axes, volumes, chunk, shard, compression, values)
        _begun(path).unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    remove(partial)
    _fill(partial, axes, volumes, chunk, shard, compression, values)
    partial.replace(path)  # under its name only when it is whole
    flush(path.parent)


def _fill(
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    chunk: Triple,
    shard: Triple | None,
    compression: Compression,
    values: Mapping[str, Any],
) -> None:
    """Write what a new store consists of."""
    zarr.create_group(zarr_at(path), zarr_format=3, attributes=dict(values))
    add_volumes(path, axes, volumes, chunk, shard, compression)


def tidy(path: Place) -> None:
    """Remove what a killed writer of metadata left in a store; an object is there whole or not at all."""
    if isinstance(path, Prefix):
        return
    for pattern in ("*.partial", "*/*.partial", "*/*/*.partial"):
        for left in path.glob(pattern):
            left.unlink()


def add_volumes(
    path: Place,
    axes: Axes,
    volumes: Mapping[str, str],
    chunk: Triple,
    shard: Triple | None,
    compression: Compression,
) -> None:
    """Add empty volumes (name to dtype) to a store, and the group of all of them if it is not there."""
    where = zarr_at(path / "volumes")
    if (path / "volumes" / "zarr.json").is_file():
        group = zarr.open_group(where, mode="r+", zarr_format=3)
    else:
        group = zarr.create_group(where, zarr_format=3)
        write_state_coordinates(group, axes)
        for name, n, edge in zip(schema.SPATIAL, axes.shape, axes.voxel_um, strict=True):
            centres = (np.arange(n) + 0.5) * edge
            write_array(group, name, centres, (name,), schema.COORDINATES[name].attributes)
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
            attributes=schema.VOLUMES[name].attributes | _WHOLE,
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


def fresh_group(path: Place, name: str) -> zarr.Group:
    """Return an empty group of a store, without what it held before."""
    remove(path / name)
    return zarr.open_group(zarr_at(path), mode="r+", zarr_format=3).create_group(name)


def open_arrays(path: Place, group: str, names: Iterable[str]) -> dict[str, zarr.Array[Any]]:
    """Return arrays of a group, to be written."""
    return {name: zarr.open_array(zarr_at(path / group / name), mode="r+") for name in names}


def volume(path: Place, name: str, state: int) -> Volume:
    """Return one state of one of the store's volumes."""
    return Volume(str(path / "volumes" / name), state)


def create_image(
    path: Path,
    times: int,
    shapes: list[Triple],
    chunks: list[Triple],
    dtype: str,
    fill: float,
    compression: Compression,
) -> None:
    """Make an empty image of several levels along (t, z, y, x), one array for each: ``0``, ``1``, ...

    It has no attributes yet: without them no reader takes it for an image.
    """
    root = zarr.create_group(str(path), zarr_format=3)
    for level, (shape, chunk) in enumerate(zip(shapes, chunks, strict=True)):
        create_array(
            root,
            str(level),
            shape=(times, *shape),
            dtype=dtype,
            dims=("t", *schema.SPATIAL),
            chunks=(1, *chunk),
            compression=compression,
            attributes={},
            fill=fill,
        )


def is_image(path: Path) -> bool:
    """Tell whether a folder is an image that crackdask wrote."""
    try:
        found = zarr.open_group(str(path), mode="r").attrs
    except (FileNotFoundError, ValueError):
        return False
    return "ome" in found and "crackdask" in found
