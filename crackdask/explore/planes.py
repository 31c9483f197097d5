"""Pictures cut out of a store's volumes: tiles of a plane, from the level whose voxels fit the picture.

A level halves the one before. Where the store has no levels (an older one, or one whose run is under way) every second,
fourth, ... voxel of the finest is taken instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc

from crackdask.arrays import Array
from crackdask.explore.byte_cache import ByteCache
from crackdask.grid import Box, Triple
from crackdask.storage.locations import Place, zarr_at
from crackdask.store.checked import checked
from crackdask.store.chunks import Direct, direct

_PACKER = Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE)
#: Edge of a tile in pixels.
TILE = 256
#: Planes that are read together, at a multiple of it: chunks are thicker than a plane, and whoever sees it goes on.
SLAB = 16
_SCREEN = 1024  # pixels that a picture takes at most on most screens
#: Planes by name, with the axis that each cuts (of z, y, x); rows and columns are the other two, in their order.
PLANES = {"xy": 0, "xz": 1, "yz": 2}


@dataclass(frozen=True)
class Levels:
    """Where the levels of a volume lie in a store: paths of its arrays, the finest first."""

    paths: tuple[str, ...]

    def nearest(self, level: int) -> tuple[str, int]:
        """Return the array to take a level from, and how many of its voxels make a step.

        >>> Levels(("volumes/grey", "levels/1/grey")).nearest(3)
        ('levels/1/grey', 4)
        """
        there = min(level, len(self.paths) - 1)
        return self.paths[there], 2 ** (level - there)


def levels_of(store: Place) -> dict[str, Levels]:
    """Return the levels of each volume of a store, as its OME metadata tells; one level where there is none."""
    finest = {
        name: (f"volumes/{name}",)
        for name in ("grey", "label", "denoised", "mask")
        if (store / "volumes" / name / "zarr.json").is_file()
    }
    coarser = {"grey": _datasets(store, ""), "label": _datasets(store, "labels/particle/")}
    return {name: Levels((*finest[name], *coarser.get(name, ())[1:])) for name in finest}


def _datasets(store: Place, group: str) -> tuple[str, ...]:
    """Return the paths of a multiscale image's levels that are there; none that leads out of the store."""
    where = store / group.rstrip("/") if group else store
    try:
        told = json.loads((where / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"]
        paths = [f"{group}{each['path']}" for each in told]
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    safe = [
        p for p in paths if ".." not in p.split("/") and not p.startswith("/") and (store / p / "zarr.json").is_file()
    ]
    return tuple(safe) if len(safe) == len(paths) else ()


class Planes:
    """Planes of a store's volumes.

    Parameters
    ----------
    store
        The store.
    complete
        Whether its run is at its end: then a chunk that is not there was lost, and is an error; before, it is yet to
        be made, and taken for background.
    cache
        Keeps decoded chunks.
    """

    def __init__(self, store: Place, *, complete: bool, cache: ByteCache) -> None:
        self.store, self.complete, self._cache = store, complete, cache
        self.levels = levels_of(store)
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._direct: dict[str, Direct | None] = {}
        finest = self.array("volumes/grey")
        self.states = int(finest.shape[0])
        self.shape: Triple = (int(finest.shape[1]), int(finest.shape[2]), int(finest.shape[3]))
        made = max((len(each.paths) for each in self.levels.values()), default=1)
        wide = -(-max(self.shape) // TILE)
        self.count = max(made, 1 + (wide - 1).bit_length())

    def array(self, path: str) -> zarr.Array[Any]:
        """Return an array of the store, opened once."""
        if path not in self._arrays:
            source: Any = checked(self.store) if self.complete else zarr_at(self.store, read_only=True)
            array = zarr.open_array(source, path=path, mode="r", zarr_format=3)
            self._direct[path], self._arrays[path] = direct(array), array
        return self._arrays[path]

    def _stored(self, path: str, state: int, first: Sequence[int], last: Sequence[int]) -> Array:
        """Return a box of an array of the store, from `first` to before `last`."""
        array, (z0, y0, x0), (z1, y1, x1) = self.array(path), first, last
        if reader := self._direct[path]:
            return reader.read(Box((z0, y0, x0), (z1, y1, x1)), state, whole=False)
        return np.asarray(array[state, z0:z1, y0:y1, x0:x1])

    def shape_at(self, level: int) -> Triple:
        """Return the shape of a state at a level.

        Lengths are rounded up, as whatever halves a volume keeps its last voxel.
        """
        z, y, x = (-(-n // 2**level) for n in self.shape)
        return z, y, x

    def tile(self, volume: str, state: int, plane: str, index: int, level: int, row: int, column: int) -> Array:
        """Return a tile of a plane.

        Parameters
        ----------
        volume
            Its name.
        state
            Its number.
        plane
            Of `PLANES`.
        index
            Of the plane along the axis that it cuts, in voxels of the finest level.
        level
            0 is the finest.
        row, column
            Of the tile.

        Returns
        -------
        numpy.ndarray
            At most `TILE` x `TILE`, less at the end of the volume.
        """
        axis = PLANES[plane]
        first, last = [0, 0, 0], list(self.shape_at(level))
        for along, number in zip((k for k in range(3) if k != axis), (row, column), strict=True):
            first[along] = TILE * number
            last[along] = min(last[along], first[along] + TILE)
        at = min(index >> level, last[axis] - 1)
        path, step = self.levels[volume].nearest(level)
        if self.complete and step == 1 and self.array(path).shape[1:] == self.shape_at(level):
            first[axis], last[axis] = at - at % SLAB, min(last[axis], at - at % SLAB + SLAB)
            kept = self._cache.get((path, state, axis, *first), lambda: self._slab(path, state, axis, first, last))
            return kept[at % SLAB] if kept.ndim == 3 else _from_runs(kept, at % SLAB)
        first[axis], last[axis] = at, at + 1
        return self.box(volume, state, level, first, last).squeeze(axis)

    def warm(self) -> None:
        """Read what a page shows first, while the browser is at its scripts: the middle of the first state, whole."""
        level = next(k for k in range(self.count) if k == self.count - 1 or max(self.shape_at(k)[1:]) <= _SCREEN)
        _, rows, columns = self.shape_at(level)
        for row, column in product(range(-(-rows // TILE)), range(-(-columns // TILE))):
            for volume in ("grey", "label"):
                self.tile(volume, 0, "xy", self.shape[0] // 2, level, row, column)

    def _slab(self, path: str, state: int, axis: int, first: Sequence[int], last: Sequence[int]) -> Array:
        """Return some tiles, one behind the other: their chunks are read together, and hold the next ones too."""
        tiles = np.ascontiguousarray(np.moveaxis(self._stored(path, state, first, last), axis, 0))
        # Labels are four times the bytes of grey levels, and twenty times fewer as runs.
        return tiles if tiles.dtype.itemsize < 4 else _as_runs(tiles)

    def box(self, volume: str, state: int, level: int, first: Sequence[int], last: Sequence[int]) -> Array:
        """Return a box of a volume, from `first` to before `last`, in voxels of a level."""
        path, step = self.levels[volume].nearest(level)
        array = self.array(path)
        shape, chunk = array.shape[1:], array.chunks[1:]
        # A level that somebody else made may be a voxel shorter: its last voxel then stands for the one beyond.
        taken = [np.minimum(np.arange(a, b) * step, n - 1) for a, b, n in zip(first, last, shape, strict=True)]
        out = np.empty(tuple(map(len, taken)), array.dtype)
        for number, inside, place in _parts(taken, chunk):
            out[place] = self._voxels(path, array, (state, *number), inside)
        return out

    def _voxels(self, path: str, array: zarr.Array[Any], number: tuple[int, ...], inside: tuple[Any, ...]) -> Array:
        """Return some voxels of a chunk."""
        state, *places = number
        first = [k * c for k, c in zip(places, array.chunks[1:], strict=True)]
        last = [min(a + c, n) for a, c, n in zip(first, array.chunks[1:], array.shape[1:], strict=True)]
        if not self.complete:
            return self._stored(path, state, first, last)[inside]
        if array.dtype.itemsize == 1:
            return self._cache.get((path, number), lambda: self._stored(path, state, first, last))[inside]
        # Labels are four times the bytes of grey levels, and fifty times fewer when they are packed.
        packed = self._cache.get((path, number), lambda: _packed(self._stored(path, state, first, last)))
        shape = [b - a for a, b in zip(first, last, strict=True)]
        return np.frombuffer(_PACKER.decode(packed), array.dtype).reshape(shape)[inside]


def runs(tile: Array) -> Array:
    """Return a tile of labels as runs of the same one, row after row: (2, run), the labels and how long each run is.

    >>> runs(np.array([[4, 4, 7], [7, 7, 0]], np.uint32)).tolist()
    [[4, 7, 0], [2, 3, 1]]
    """
    flat = np.ascontiguousarray(tile).ravel()
    first = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return np.stack([flat[first], np.diff(first, append=flat.size)]).astype(np.uint32)


def _as_runs(tiles: Array) -> Array:
    """Return tiles of labels as runs, one after the other: their number and shape, where each ends, and the runs."""
    parts = [runs(tile) for tile in tiles]
    ends = np.cumsum([part.shape[1] for part in parts])
    return np.concatenate([np.array([*tiles.shape, *ends], np.uint32), *(part.ravel() for part in parts)])


def _from_runs(kept: Array, number: int) -> Array:
    """Return one of the tiles that were kept as runs."""
    count, rows, columns = kept[:3].tolist()
    ends = [0, *kept[3 : 3 + count].tolist()]
    labels, lengths = kept[3 + count :][2 * ends[number] : 2 * ends[number + 1]].reshape(2, -1)
    return np.repeat(labels, lengths).reshape(rows, columns)


def _packed(chunk: Array) -> Array:
    return np.frombuffer(_PACKER.encode(np.ascontiguousarray(chunk)), np.uint8)


def _parts(
    taken: Sequence[Array], chunk: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...], tuple[slice, ...]]]:
    """Yield, chunk by chunk, its number, the voxels taken of it, and where they go."""
    along = []
    for voxels, size in zip(taken, chunk, strict=True):
        numbers = voxels // size
        edges = np.flatnonzero(np.diff(numbers)) + 1
        bounds = [0, *edges.tolist(), len(voxels)]
        along.append(
            [(int(numbers[a]), voxels[a:b] - int(numbers[a]) * size, slice(a, b)) for a, b in pairwise(bounds) if b > a]
        )
    for parts in product(*along):
        yield tuple(p[0] for p in parts), np.ix_(*(p[1] for p in parts)), tuple(p[2] for p in parts)
