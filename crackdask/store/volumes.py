"""Volumes: arrays in Zarr format 3, on a disk or in object storage, read and written box by box.

What is on a disk is flushed before it counts as written. A volume is one array (or one state of the 4D store); blocks
read any window and write whole chunks that they alone own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import numpy as np
import zarr

from crackdask import schema
from crackdask.arrays import Array
from crackdask.grid import Box, Triple
from crackdask.storage.locations import (
    Place,
    PlaceError,
    Prefix,
    UnreachableError,
    flush,
    forget,
    place,
    remove,
    zarr_at,
)
from crackdask.storage.zarr_bucket import Chunks
from crackdask.store import seals
from crackdask.store.arrays import Compression
from crackdask.store.checked import WHOLE, CheckedObjects, checked, layout
from crackdask.store.chunks import Direct, direct
from crackdask.store.damage import DamagedError, record_of
from crackdask.store.root import StoreError


class Written(NamedTuple):
    """What a block wrote: its bytes, and the seals of its chunks where they belong to a store."""

    bytes: int
    seals: seals.Seals | None


class Opened(NamedTuple):
    """An array, and how its chunks are read and written where that is not left to zarr."""

    array: zarr.Array[Any]
    direct: Direct | None


@dataclass(frozen=True)
class Volume:
    """One (z, y, x) volume on disk: an array, or one state of a 4D array.

    Attributes
    ----------
    path
        The array's folder, or its URL.
    state
        Index along the first axis of a 4D array, or None for a 3D one.
    array
        What the array is called as seen from the store that it is part of; None for work volumes and images.
    head
        What an array in object storage says of itself, as who planned the work read it: blocks need not ask anew, and
        all of them take it for the same, whatever becomes of it meanwhile.
    """

    path: str
    state: int | None = None
    array: str | None = None
    head: bytes | None = field(default=None, repr=False, compare=False)

    def read(self, box: Box) -> Array:
        """Return the voxels of a box.

        Raises
        ------
        DamagedError
            If a chunk is not what was written: its checksum tells, or it is not there, which Zarr takes for zeros.
        """
        array, direct = self._array()
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        try:
            if direct:
                return direct.read(box, self.state, whole=_is_whole(array))
            voxels = np.asarray(array[index])
            if lost := self._lost(array, box):
                raise ValueError(f"{lost} is not there")
            return voxels
        except (ValueError, RuntimeError) as error:
            name, state = Path(self.path).name if self.array is None else schema.written_as(self.array), self.state
            if state is None:
                name, _, number = name.rpartition("-")
                state = int(number)
            raise DamagedError(
                f"{self.path}: damaged on the disk or by a copy, in the chunks of "
                f"{'' if self.state is None else f'state {self.state}, '}voxels {box.start} to {box.stop} "
                f"({error.reason if isinstance(error, DamagedError) else error})",
                f"to have it made anew, remove {self._record()} and run again",
                name,
                state,
            ) from error

    def _lost(self, array: zarr.Array[Any], box: Box) -> str | None:
        """Return a chunk of a box that was not there when it was read, or None."""
        if not _is_whole(array):
            return None
        if isinstance(array.store, Chunks):
            return next(iter(array.store.absent), None)
        root = Path(self.path)
        return next((key for key in self._chunks(array, box) if not (root / key).is_file()), None)

    def _chunks(self, array: zarr.Array[Any], box: Box) -> Iterator[str]:
        """Yield the names of the chunks (of the shards, where there are any) that a box touches."""
        units = array.shards or array.chunks
        first: tuple[Any, ...] = () if self.state is None else (range(self.state, self.state + 1),)
        spans = [range(a // u, -(-b // u)) for a, b, u in zip(box.start, box.stop, units[-3:], strict=True)]
        return map(array.metadata.encode_chunk_key, product(*first, *spans))

    def _array(self, *, written: bool = False) -> Opened:
        where = place(self.path)
        try:
            if isinstance(where, Prefix):
                return _open(where, self.array, written, self.head)
            return _opened(where, self.array, written, (where / "zarr.json").stat().st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{self.path} is gone: something removed it; `crackdask run` makes it anew") from None
        except (ValueError, TypeError, LookupError) as error:
            raise StoreError(
                f"{self.path}/zarr.json does not describe an array ({type(error).__name__}: {error}); "
                "`crackdask run` makes it anew"
            ) from error

    @property
    def made(self) -> str:
        """What tells a work volume from another one that lay at the same place before."""
        if self.state is not None:
            return ""
        return str(self._array().array.attrs.get("made", ""))

    def _record(self) -> str:
        """Return the file or folder without which a run makes the volume again."""
        if self.array is None:
            return self.path
        return str(record_of(_store_of(place(self.path), self.array), f"{self.array}/c/{self.state}/0/0/0"))

    def write(self, box: Box, voxels: Array) -> Written:
        """Write a box that covers whole chunks and flush it to the disk; return what was written."""
        array, direct = self._array(written=True)
        if voxels.dtype != array.dtype:
            raise TypeError(f"{self.path} holds {array.dtype}, got {voxels.dtype}")
        if direct and not array.shards:
            return self._written(direct.write(box, self.state, voxels))
        index: tuple[Any, ...] = box.slices if self.state is None else (self.state, *box.slices)
        if array.shards:  # which zarr reads before it writes them, and what is damaged cannot be read
            for key in self._chunks(array, box):
                forget(place(self.path) / key)
        array[index] = voxels
        store = array.store
        if isinstance(store, CheckedObjects):
            return Written(store.written, seals.as_seals(store.sealed.items()))
        if isinstance(store, Chunks):
            return Written(store.written, None)
        root, inner = Path(self.path), self._inner()
        return self._written((key, _flushed(root / key, inner)) for key in self._chunks(array, box))

    def _written(self, files: Iterable[tuple[str, seals.Seal]]) -> Written:
        """Flush the folders of files that were written and flushed, and remove what killed writers left of them."""
        written = 0
        folders: dict[Path, set[str]] = {}
        sealed = []
        root, inner = Path(self.path), self._inner()
        for key, seal in files:
            file = root / key
            written += seal[0]
            folders.setdefault(file.parent, set()).add(file.name)
            if inner:
                sealed.append((f"{self.array}/{key}", seal))
        for folder, own in folders.items():
            if self.state is not None:
                _sweep(folder, own)
        # A folder that this block made is an entry of the folder above.
        above = {
            parent for folder in folders for parent in (folder, *folder.parents) if parent.is_relative_to(self.path)
        }
        for folder in sorted(above, reverse=True):
            flush(folder)
        return Written(written, seals.as_seals(sealed) if inner else None)

    @property
    def is_stored(self) -> bool:
        """Tell whether it is a state of a store's volume; work volumes and images are not sealed."""
        return self.array is not None

    def seal(self, parts: Sequence[seals.Seals]) -> None:
        """Write down which chunks were written, so that others in their places are noticed."""
        if self.array is None or self.state is None:
            raise AssertionError(f"{self.path} is no state of a store's volume")
        seals.keep(_store_of(place(self.path), self.array), seals.of_array(self.array, self.state), parts)

    def _inner(self) -> int:
        """Return how many chunks are in a file of a store's volume; 0 for others."""
        return 0 if self.array is None else layout(_store_of(place(self.path), self.array), self.array)[0]


def _flushed(file: Path, inner: int) -> seals.Seal:
    """Flush a file and return its seal; no more of that than its size where nothing is sealed."""
    size = flush(file)
    return seals.seal_of_file(file, inner) if inner else (size, 0, 0, 0)


def _store_of(path: Place, array: str) -> Place:
    """Return the store of an array."""
    for _ in array.split("/"):
        path = path.parent
    return path


def _sweep(folder: Path, own: set[str]) -> None:
    """Remove what a writer that was killed left of the chunks that are now written."""
    for entry in folder.iterdir():
        if entry.suffix == ".partial" and entry.name.partition(".")[0] in own:
            entry.unlink()


@lru_cache(maxsize=64)
def _opened(path: Place, array: str | None, written: bool, changed: int) -> Opened:
    return _open(path, array, written)


def _open(path: Place, name: str | None, written: bool, head: bytes | None = None) -> Opened:
    """Open an array; what is read of a store is looked at."""
    mode: Literal["r", "r+"] = "r+" if written else "r"
    within = name or ""
    if name is not None:
        own = None if head is None else {name: json.loads(head)}
        store: Any = checked(_store_of(path, name), read_only=not written, own=own)
    else:
        store = zarr_at(path, read_only=not written)
    if head is not None:
        store.heads[f"{within}/zarr.json".lstrip("/")] = head
    array = zarr.open_array(store, path=within, mode=mode, zarr_format=3)
    # Chunks of zeros are written too, so that one that was lost can be told from them.
    array = array.with_config({"write_empty_chunks": True})
    return Opened(array, direct(array))


def _is_whole(array: zarr.Array[Any]) -> bool:
    """Tell whether every chunk of an array was written."""
    return WHOLE.items() <= array.attrs.asdict().items()


def make_volume(
    path: Place, shape: Triple, dtype: str, chunk: Triple, compression: Compression, shard: Triple | None = None
) -> Volume:
    """Make an empty work volume, or return the one that is there and alike, be it in other files."""
    chunks = tuple(min(c, n) for c, n in zip(chunk, shape, strict=True))
    found = Volume(str(path), head=_head(path))
    if (there := _work_volume(found)) and (there.shape, there.dtype, there.chunks) == (shape, np.dtype(dtype), chunks):
        return found
    if found.head is not None or not isinstance(path, Prefix):  # in a bucket the head is what goes last
        remove(path)
    made = zarr.create_array(
        zarr_at(path, emptied=[""]),
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shard,
        compressors=compression.codecs(),
        fill_value=0,
        dimension_names=schema.SPATIAL,
        # One folder for all chunks: one directory entry to flush.
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"made": uuid4().hex, **WHOLE},
    )
    flush(path / "zarr.json")
    return Volume(str(path), head=made.store.heads["zarr.json"] if isinstance(made.store, Chunks) else None)


def _work_volume(found: Volume) -> zarr.Array[Any] | None:
    """Return the work volume that lies at a place; None where there is none, or one whose metadata was damaged."""
    path = place(found.path)
    if found.head is None and (isinstance(path, Prefix) or not (path / "zarr.json").is_file()):
        return None
    try:
        return _open(path, None, False, found.head).array
    except (PlaceError, UnreachableError, PermissionError):
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _head(path: Place) -> bytes | None:
    """Return what an array in object storage says of itself; None where there is none, and on a disk."""
    try:
        return (path / "zarr.json").read_bytes() if isinstance(path, Prefix) else None
    except FileNotFoundError:
        return None


def volume(path: Place, name: str, state: int) -> Volume:
    """Return one state of one of the store's volumes, or of an array that is named as seen from the store."""
    array = name if "/" in name else f"volumes/{name}"
    return Volume(str(path / array), state, array, _head(path / array))
