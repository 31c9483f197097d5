"""Volumes: arrays in Zarr format 3, on a disk or in object storage, read and written box by box.

What is on a disk is flushed before it counts as written. A volume is one array (or one state of the 4D store); blocks
read any window and write whole chunks that they alone own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr

from crackdask import schema
from crackdask.arrays import Array
from crackdask.grid import Box, Triple
from crackdask.storage.locations import Place, Prefix, flush, place, remove, zarr_at
from crackdask.storage.zarr_bucket import Chunks
from crackdask.store.arrays import Compression
from crackdask.store.root import StoreError

#: Attribute of arrays whose every chunk is written, so that one that is not there was lost.
WHOLE = {"chunks_of_zeros": "written"}


class DamagedError(StoreError):
    """What was written is no longer what is read; a run makes it anew."""

    def __init__(self, found: str, remedy: str, name: str, state: int) -> None:
        super().__init__(found, remedy, name, state)
        self.found, self.name, self.state, self._remedy = found, name, state, remedy

    def __str__(self) -> str:
        return f"{self.found}; {self._remedy}"


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
        if not WHOLE.items() <= array.attrs.asdict().items():
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
        return str(next((record for record in results if record.exists()), path))

    def write(self, box: Box, voxels: Array) -> int:
        """Write a box that covers whole chunks and flush it to the disk; return the bytes written."""
        array = self._array()
        if voxels.dtype != array.dtype:
            raise TypeError(f"{self.path} holds {array.dtype}, got {voxels.dtype}")
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
def _opened(path: str, changed: int) -> zarr.Array[Any]:
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
        attributes={"made": uuid4().hex, **WHOLE},
    )
    flush(path / "zarr.json")
    return Volume(str(path))


def volume(path: Place, name: str, state: int) -> Volume:
    """Return one state of one of the store's volumes."""
    return Volume(str(path / "volumes" / name), state)
