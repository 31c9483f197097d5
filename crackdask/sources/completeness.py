"""Whether all chunks of a scan are there: HDF5 and Zarr give the fill value for those that are not, and say nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

import h5py  # type: ignore[import-untyped, unused-ignore]
import numpy as np

from crackdask.sources.base import SourceError
from crackdask.storage.locations import Place, Prefix, opened

#: What a recipe may say of chunks that are not there.
Missing = Literal["refuse", "fill"]
Chunk = tuple[int, ...]
#: Offset and length, in the index of a shard, of a chunk that was never written.
_NEVER = 2**64 - 1
_CHECKSUM = 4
#: Of one scan: each is looked for, and its name kept meanwhile.
_MOST_CHUNKS = 2**25


@dataclass(frozen=True)
class Gaps:
    """What of a scan is not there.

    Attributes
    ----------
    count, of
        How many are not there, of how many.
    what
        "chunks" or "voxels".
    why
        What became of them, and where the first is.
    """

    count: int
    of: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.count} of {self.of} {self.what}"


def accepted(where: str, gaps: Gaps | None, missing: Missing) -> str:
    """Return what is told of gaps that the recipe takes for the fill value; nothing where there are none.

    Raises
    ------
    SourceError
        If there are some and the recipe does not say so.
    """
    if gaps is None:
        return ""
    if missing != "fill":
        raise SourceError(
            f"{where}: {gaps} {gaps.why}, and would be read as the array's fill value; copy the scan again from where "
            'it was recorded, or, if they were left out because they hold nothing else, say missing = "fill" beside '
            "the state's source in the recipe"
        )
    return str(gaps)


def _lost(chunks: Iterable[Chunk], size: Sequence[int], shape: Sequence[int]) -> Gaps | None:
    """Return the gaps of chunks that are not there."""
    lost = sorted(chunks)
    if not lost:
        return None
    spans = [(c * n, min(c * n + n, end)) for c, n, end in zip(lost[0], size, shape, strict=True)]
    first = ", ".join(f"{a}:{b}" for a, b in spans)
    count = prod(-(-end // n) for n, end in zip(size, shape, strict=True))
    return Gaps(len(lost), count, "chunks", f"were lost or never written, the first that of voxels [{first}]")


def _grid(where: str, size: Sequence[int], shape: Sequence[int]) -> Iterator[Chunk]:
    """Yield the places of all chunks; more than any scan has are a mistake, and would not fit into memory."""
    count = prod(-(-end // n) for n, end in zip(size, shape, strict=True))
    if count > _MOST_CHUNKS:
        raise SourceError(
            f"{where}: shape {tuple(shape)} in chunks of {tuple(size)} makes {count} chunks, more than any scan has; "
            "correct its metadata, or copy it again"
        )
    return product(*(range(-(-end // n)) for n, end in zip(size, shape, strict=True)))


# ---------------------------------------------------------------- Zarr


def zarr_gaps(array: Any, folder: Place) -> Gaps | None:
    """Return the chunks that an array lacks; of shards only the index is read."""
    chunks, shards, shape = array.chunks, array.shards, array.shape
    units = list(_grid(str(folder), shards or chunks, shape))
    keys = [array.metadata.encode_chunk_key(unit) for unit in units]
    there = list(_there(folder, keys))
    if not shards:
        return _lost((unit for unit, found in zip(units, there, strict=True) if not found), chunks, shape)
    index = _ShardIndex.of(array, str(folder))
    ends = [-(-end // n) for end, n in zip(shape, chunks, strict=True)]

    def empty(unit: Chunk, key: str, found: bool) -> list[Chunk]:
        inside = index.empty(folder / key) if found else np.ones(index.counts, bool)
        first = np.multiply(unit, index.counts)
        places = (tuple(int(i) for i in first + at) for at in np.argwhere(inside))
        return [place for place in places if all(i < end for i, end in zip(place, ends, strict=True))]

    with ThreadPoolExecutor(8) as pool:  # waits on the disk, most of the time
        return _lost((chunk for each in pool.map(empty, units, keys, there) for chunk in each), chunks, shape)


def zarr_chunk_gone(array: Any, folder: Path, start: Sequence[int], stop: Sequence[int]) -> str | None:
    """Return the file of a chunk (or shard) of a box that is not there, or None."""
    units = array.shards or array.chunks
    spans = [range(a // n, -(-b // n)) for a, b, n in zip(start, stop, units, strict=True)]
    keys = [array.metadata.encode_chunk_key(unit) for unit in product(*spans)]
    return next((key for key, found in zip(keys, _there(folder, keys), strict=True) if not found), None)


def _there(folder: Place, keys: Sequence[str]) -> Iterator[bool]:
    """Yield for each name whether there is a file; each folder is listed once."""
    if isinstance(folder, Prefix):
        listed = {entry.relative_to(folder).as_posix() for entry in folder.files()}
        yield from (key in listed for key in keys)
        return
    held: dict[str, set[str]] = {}
    for key in keys:
        parent, _, name = key.rpartition("/")
        if parent not in held:
            held[parent] = _files(folder / parent)
        yield name in held[parent]


def _files(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


@dataclass(frozen=True)
class _ShardIndex:
    """How the shards of an array say where in them their chunks lie."""

    counts: tuple[int, ...]
    nbytes: int
    at_end: bool

    @classmethod
    def of(cls, array: Any, where: str) -> _ShardIndex:
        said = array.metadata.codecs[0].to_dict()["configuration"]
        names = [codec["name"] for codec in said["index_codecs"]]
        endian = said["index_codecs"][0].get("configuration", {}).get("endian", "little")
        nested = any(codec["name"] == "sharding_indexed" for codec in said["codecs"])
        if names not in (["bytes"], ["bytes", "crc32c"]) or endian != "little" or nested:
            raise SourceError(
                f"{where}: its shards keep their index in a way that is not known here ({', '.join(names)}), so that "
                "missing chunks could not be told; write it again without shards"
            )
        counts = tuple(s // c for s, c in zip(array.shards, array.chunks, strict=True))
        return cls(counts, 16 * prod(counts) + _CHECKSUM * (len(names) - 1), said["index_location"] == "end")

    def empty(self, shard: Place) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for each chunk of a shard whether it was never written."""
        with opened(shard) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - self.nbytes) if self.at_end else 0)
            head = file.read(self.nbytes)
        if len(head) == self.nbytes:
            index = np.frombuffer(head, "<u8", 2 * prod(self.counts)).reshape(*self.counts, 2)
            never = (index == _NEVER).all(axis=-1)
            ends = index[~never].sum(axis=-1)  # beyond 2^64 only in an index that is corrupt
            if not ends.size or (int(ends.max()) <= size and int(index[~never].max()) <= size):
                return never
        raise SourceError(f"{shard}: truncated or corrupt, {size} bytes; copy it again")


# ---------------------------------------------------------------- HDF5


def hdf5_gaps(data: Any) -> Gaps | None:
    """Return the chunks that a dataset lacks which holds its voxels itself.

    Raises
    ------
    SourceError
        If they are packed in a way that cannot be unpacked here.
    """
    _can_be_unpacked(data)
    if data.chunks is None:
        if data.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED:
            return Gaps(data.size, data.size, "voxels", "were never written")
        return None
    if data.id.get_num_chunks() == prod(-(-end // n) for n, end in zip(data.chunks, data.shape, strict=True)):
        return None
    left = set(_grid(str(data.file.filename), data.chunks, data.shape))
    data.id.chunk_iter(lambda chunk: left.discard(tuple(np.floor_divide(chunk.chunk_offset, data.chunks).tolist())))
    return _lost(left, data.chunks, data.shape)


def _can_be_unpacked(data: Any) -> None:
    """Raise if a filter of a dataset is not installed: to copy the file again would not help."""
    made = data.id.get_create_plist()
    for number in range(made.get_nfilters()):
        code, _, _, name = made.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise SourceError(
                f"{data.file.filename}::{data.name}: packed with HDF5 filter {code} ({name.decode() or 'no name'}), "
                "which is not installed here; install its plugin and set HDF5_PLUGIN_PATH, or write the file again "
                "without it where it can be read (h5repack -f NONE)"
            )


def external_complete(files: Iterable[tuple[Path, int, int]], nbytes: int) -> None:
    """Check that files of raw voxels are as long as a dataset says; HDF5 reads what they lack as zeros.

    Parameters
    ----------
    files
        Each with the offset and number of its bytes; the last may have no end, and then holds all that is left.
    nbytes
        Of the whole dataset.
    """
    for path, offset, count in files:
        size = path.stat().st_size
        wanted = offset + (nbytes if count == h5py.h5f.UNLIMITED else min(count, nbytes))
        if size < wanted:
            raise SourceError(f"{path}: truncated, {size} bytes of {wanted}; copy it again")
        nbytes -= wanted - offset
