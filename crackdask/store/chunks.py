"""Chunks of arrays on a disk, read and written one after the other without zarr's event loop.

Zarr hands every chunk from thread to thread, which takes as long as to decompress it. Here files are read, checked and
decompressed in the thread that asks; what lies on the disk is the same, byte for byte. Arrays of other codecs, or that
are elsewhere, are left to zarr (:func:`direct` returns None), and so is the writing of shards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from crackdask.arrays import Array
from crackdask.grid import Box, Triple
from crackdask.storage.locations import put
from crackdask.store import seals
from crackdask.store.blosc_blocks import excerpt

_ABSENT = 2**64 - 1  # where a chunk lies in a shard that does not hold it


@dataclass(frozen=True)
class Codecs:
    """What chunks go through on their way to the disk: perhaps blosc, then a checksum at their end."""

    compressor: Any

    @classmethod
    def of(cls, told: Any) -> Codecs | None:
        """Return what the codecs of an array are, as its metadata tells them, or None where they are others."""
        names = [codec["name"] for codec in told]
        order = told[0].get("configuration", {}).get("endian", "little")
        if names not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]) or order != "little":
            return None
        return cls(_compressor(told[1]["configuration"]) if len(names) == 3 else None)

    def encode(self, chunk: Array) -> tuple[bytes, int]:
        """Return the bytes of a chunk's file, and the checksum at their end."""
        plain = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
        data = self.compressor.encode(plain) if self.compressor else plain.tobytes()
        mark = google_crc32c.value(data)
        return data + mark.to_bytes(4, "little"), mark


@dataclass(frozen=True)
class Direct:
    """How the chunks of an array are found, read and written.

    Attributes
    ----------
    array, store
        The array, (z, y, x) or (state, z, y, x), and where it lies.
    chunk, shard
        Edges of a chunk and, where chunks lie together in files, of a file, in voxels.
    codecs
        What chunks go through.
    """

    array: zarr.Array[Any]
    store: LocalStore
    chunk: Triple
    shard: Triple | None
    codecs: Codecs

    def read(self, box: Box, state: int | None, whole: bool) -> Array:
        """Return the voxels of a box.

        Parameters
        ----------
        box, state
            Where: voxels, and index along the first axis of an array that has one.
        whole
            Every chunk was written, so that one that is not there was lost.

        Raises
        ------
        ValueError
            If a chunk's checksum does not fit, or it is lost.
        """
        voxels = np.empty(box.shape, self.array.dtype)
        chunk = np.empty(self.chunk, self.array.dtype)
        for place, data in self._files(box, state, whole):
            part = Box(place, _sum(place, self.chunk)).intersect(box)
            if part is None:
                raise AssertionError(f"the chunk at {place} is not in {box}")
            if data is None:
                voxels[part.within(box)] = self.array.fill_value
            else:
                inner = tuple(slice(a - p, b - p) for a, b, p in zip(part.start, part.stop, place, strict=True))
                self._decode(data, chunk, inner[0].start, inner[0].stop)
                voxels[part.within(box)] = chunk[inner]
        return voxels

    def write(self, box: Box, state: int | None, voxels: Array) -> list[tuple[str, seals.Seal]]:
        """Write a box that covers whole chunks, as zarr does: beyond the image a chunk holds what fills the array.

        Chunks are flushed, their folders are not. Returns the name of each, as seen from the array, and its seal.
        """
        shape = self.array.shape[-3:]
        if any(a % c or (b % c and b != n) for a, b, c, n in zip(box.start, box.stop, self.chunk, shape, strict=True)):
            raise AssertionError(f"{box} cuts through chunks of {self.chunk}")
        written = []
        for place in _places(box, self.chunk):
            part = Box(place, _sum(place, self.chunk)).intersect(box)
            if part is None:
                raise AssertionError(f"the chunk at {place} is not in {box}")
            data, mark = self.codecs.encode(_full(voxels[part.within(box)], self.chunk, self.array.fill_value))
            key = self._key(place, self.chunk, state)
            seen = put(f"{self.store.root}/{key}", data)
            written.append((self._within(key), (seen.st_size, seen.st_mtime_ns, 1, mark)))
        return written

    def _key(self, place: Triple, unit: Triple, state: int | None) -> str:
        """Return under which key of the store the chunk or shard lies that begins at a voxel."""
        at = tuple(p // u for p, u in zip(place, unit, strict=True))
        name = self.array.metadata.encode_chunk_key(at if state is None else (state, *at))
        return f"{self.array.path}/{name}" if self.array.path else name

    def _within(self, key: str) -> str:
        """Return a key of the store as seen from the array."""
        return key.removeprefix(f"{self.array.path}/")

    def _files(self, box: Box, state: int | None, whole: bool) -> Iterator[tuple[Triple, Any]]:
        """Yield where each chunk that a box touches begins, and its bytes; None where it holds what fills the array."""
        for place in _places(box, self.shard or self.chunk):
            key = self._key(place, self.shard or self.chunk, state)
            if self.shard is None:
                found = self._get(key)
                if found is None and whole:
                    raise ValueError(f"{self._within(key)} is not there")
                yield place, found
                continue
            inner = Box(place, _sum(place, self.shard)).intersect(box)
            if inner is not None:
                yield from self._parts(key, place, inner, whole)

    def _parts(self, key: str, first: Triple, inner: Box, whole: bool) -> Iterator[tuple[Triple, Any]]:
        """Yield the chunks of a shard that a box touches."""
        if self.shard is None:
            raise AssertionError(f"{key} is no shard")
        counts = tuple(s // c for s, c in zip(self.shard, self.chunk, strict=True))
        length = 16 * prod(counts) + 4
        index = self._get(key, SuffixByteRequest(length))
        if index is None and whole:
            raise ValueError(f"{self._within(key)} is not there")
        spans = None if index is None else _checked(index).view("<u8").reshape(*counts, 2)
        for place in _places(inner, self.chunk):
            at = tuple((p - f) // c for p, f, c in zip(place, first, self.chunk, strict=True))
            start, count = (_ABSENT, 0) if spans is None else map(int, spans[at])
            data = None if start == _ABSENT else self._get(key, RangeByteRequest(start, start + count))
            yield place, data

    def _get(self, key: str, part: RangeByteRequest | SuffixByteRequest | None = None) -> Array | None:
        if part is None and type(self.store) is LocalStore:  # where nothing is looked at
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return np.frombuffer(Path(f"{self.store.root}/{key}").read_bytes(), np.uint8)
            return None
        found = self.store.get_sync(key, prototype=default_buffer_prototype(), byte_range=part)
        return None if found is None else found.as_numpy_array()

    def _decode(self, data: Array, chunk: Array, first: int, last: int) -> None:
        """Fill a chunk, at least its planes from `first` to before `last`, with what its file holds."""
        plain = _checked(data)
        if self.codecs.compressor is None:
            chunk.reshape(-1)[...] = plain.view(chunk.dtype)
            return
        if int.from_bytes(plain[4:8].tobytes(), "little") != chunk.nbytes:  # what it was before it was compressed
            raise ValueError(f"a chunk of {chunk.nbytes} bytes has another size")
        plane = chunk.nbytes // len(chunk)
        part, start, stop = excerpt(plain, first * plane, last * plane) or (plain, 0, chunk.nbytes)
        blosc.decompress(part, chunk.reshape(-1).view(np.uint8)[start:stop])


def direct(array: zarr.Array[Any]) -> Direct | None:
    """Return how an array's chunks are read and written, or None where that is left to zarr."""
    store, chunk = array.store, _edges(array.chunks)
    if not isinstance(store, LocalStore) or chunk is None or sys.byteorder != "little":
        return None
    codecs: list[Any] = [codec.to_dict() for codec in array.metadata.codecs]  # type: ignore[union-attr]
    if array.shards is not None:
        if not _is_plain_shard(codecs):
            return None
        codecs = codecs[0]["configuration"]["codecs"]
    if (plain := Codecs.of(codecs)) is None:
        return None
    return Direct(array, store, chunk, None if array.shards is None else _edges(array.shards), plain)


def write_chunk(array: zarr.Array[Any], at: tuple[int, ...], values: Array) -> None:
    """Write a chunk of an array of any number of axes, as zarr does where chunks of nothing but the fill are left out.

    It is there whole or not at all, and not flushed.

    Parameters
    ----------
    array
        An array of a table.
    at
        Number of the chunk along each axis.
    values
        All that the array has there.
    """
    store, codecs = array.store, None
    if type(store) is LocalStore and array.shards is None and sys.byteorder == "little":
        codecs = Codecs.of([codec.to_dict() for codec in array.metadata.codecs])  # type: ignore[union-attr]
    if codecs is None:
        first = [number * edge for number, edge in zip(at, array.chunks, strict=True)]
        array[tuple(slice(f, f + n) for f, n in zip(first, values.shape, strict=True))] = values
        return
    name = array.metadata.encode_chunk_key(at)
    path = f"{store.root}/{array.path}/{name}" if array.path else f"{store.root}/{name}"  # type: ignore[attr-defined]
    held = np.asarray(values, array.dtype)
    if default_buffer_prototype().nd_buffer.from_numpy_array(held).all_equal(array.fill_value):
        Path(path).unlink(missing_ok=True)
        return
    put(path, codecs.encode(_full(held, array.chunks, array.fill_value))[0], flushed=False)


def _full(values: Array, chunk: tuple[int, ...], fill: Any) -> Array:
    """Return a chunk with what fills the array beyond the array's end."""
    if values.shape == chunk:
        return values
    full = np.full(chunk, fill, values.dtype)
    full[tuple(slice(n) for n in values.shape)] = values
    return full


def _edges(lengths: tuple[int, ...]) -> Triple | None:
    """Return the edges along (z, y, x) of what holds one state at most."""
    *states, z, y, x = (1, 1, 1, *lengths)[-max(3, len(lengths)) :]
    return (z, y, x) if all(n == 1 for n in states) and len(states) <= 1 else None


def _is_plain_shard(codecs: Any) -> bool:
    """Tell whether chunks lie in shards whose index is at their end, and plain with a checksum."""
    if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
        return False
    facts = codecs[0]["configuration"]
    return facts["index_location"] == "end" and [each["name"] for each in facts["index_codecs"]] == ["bytes", "crc32c"]


def _compressor(configuration: Any) -> Any:
    """Return blosc as zarr calls it."""
    shuffle = ("noshuffle", "shuffle", "bitshuffle").index(configuration["shuffle"])
    words = {key: configuration[key] for key in ("cname", "clevel", "blocksize")} | {"shuffle": shuffle}
    try:
        return blosc.Blosc(**words, typesize=configuration["typesize"])
    except TypeError:  # before 0.16, where zarr does without it
        return blosc.Blosc(**words)


def _checked(data: Array) -> Array:
    """Return a chunk, or the index of a shard, without the checksum at its end."""
    plain = data[:-4]
    if len(data) < 4 or google_crc32c.value(plain) != int.from_bytes(data[-4:].tobytes(), "little"):
        raise ValueError("its checksum does not fit")
    return plain


def _places(box: Box, unit: Triple) -> Iterator[Triple]:
    """Yield the first voxels of the chunks that a box touches, in the order in which they lie."""
    yield from product(*(range(a // u * u, b, u) for a, b, u in zip(box.start, box.stop, unit, strict=True)))


def _sum(one: Triple, other: Triple) -> Triple:
    z, y, x = (a + b for a, b in zip(one, other, strict=True))
    return (z, y, x)
