"""Arrays of a store's groups: small ones written whole, large ones made empty, all with units and checksums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from crackdask import schema
from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.storage.locations import Place, remove, zarr_at
from crackdask.store.checked import checked
from crackdask.store.chunks import write_chunk


@dataclass(frozen=True)
class Compression:
    """How chunks are compressed; every chunk ends in a crc32c all the same."""

    codec: Literal["zstd", "lz4", "none"] = "zstd"
    level: int = 3
    shuffle: Literal["bitshuffle", "noshuffle"] = "bitshuffle"

    @classmethod
    def of_work(cls, dtype: str, *, compressed: bool) -> Compression:
        """Return how volumes are compressed that go when the run is done: as fast as can be.

        Whole numbers of 32 bits are names, of which long runs are alike: their bits sorted, lz4 takes twice as long
        and finds less.
        """
        if not compressed:
            return cls("none")
        return cls("lz4", 1, "noshuffle" if np.dtype(dtype) == np.uint32 else "bitshuffle")

    def codecs(self) -> list[Any]:
        """Return the codecs that turn a chunk's bytes into what is written."""
        if self.codec == "none":
            return [Crc32cCodec()]
        return [BloscCodec(cname=self.codec, clevel=self.level, shuffle=self.shuffle), Crc32cCodec()]


@dataclass(frozen=True)
class VolumeLayout:
    """How a store's volumes are cut into chunks (in voxels) and compressed; with `shard`, that many lie in one file."""

    chunk: Triple
    shard: Triple | None = None
    compression: Compression = Compression()

    def fitted(self, shape: Triple) -> VolumeLayout:
        """Return how a volume of some shape is cut: no chunk is larger than it, and none is alone in its shard.

        >>> VolumeLayout((64, 64, 64), (128, 128, 128)).fitted((20, 500, 500)).shard
        (20, 128, 128)
        """
        z, y, x = (min(c, n) for c, n in zip(self.chunk, shape, strict=True))
        if self.shard is None:
            return VolumeLayout((z, y, x), None, self.compression)
        a, b, c = (n if n <= c else s for n, c, s in zip(shape, self.chunk, self.shard, strict=True))
        return VolumeLayout((z, y, x), None if (a, b, c) == (z, y, x) else (a, b, c), self.compression)


@dataclass(frozen=True)
class Axes:
    """Coordinates of a store: the states and where its voxels lie."""

    names: tuple[str, ...]
    voltages: tuple[float, ...]
    steps: tuple[str, ...]
    cycles: tuple[int, ...]
    shape: Triple
    voxel_um: tuple[float, float, float]


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
    if values.size:
        write_chunk(array, (0,) * values.ndim, values)


def write_words(
    group: zarr.Group,
    name: str,
    words: Sequence[str],
    counts: Sequence[int],
    dims: tuple[str],
    attributes: Mapping[str, Any],
) -> None:
    """Write a column in which each word stands so many times, chunk by chunk: there may be millions."""
    ends = np.cumsum([0, *counts])
    array = group.create_array(
        name,
        shape=(int(ends[-1]),),
        dtype=np.dtypes.StringDType(),
        compressors=[Crc32cCodec()],
        dimension_names=dims,
        attributes=dict(attributes),
    )
    for first in range(0, int(ends[-1]), array.chunks[0]):
        within = np.diff(np.clip(ends, first, first + array.chunks[0]))
        array[first : first + array.chunks[0]] = np.repeat(np.array(words, np.dtypes.StringDType()), within)


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
    return zarr.open_group(zarr_at(path, emptied=[name]), mode="r+", zarr_format=3).create_group(name)


def read_arrays(path: Place, group: str, names: Iterable[str]) -> dict[str, Array]:
    """Return arrays of a group of a finished store, read whole.

    Raises
    ------
    DamagedError
        If a chunk is not what was written.
    """
    arrays = dict(zarr.open_group(checked(path), path=group, mode="r", use_consolidated=True).arrays())
    return {name: np.asarray(arrays[name][...]) for name in names}


def open_arrays(path: Place, group: str, names: Iterable[str]) -> dict[str, zarr.Array[Any]]:
    """Return arrays of a group, to be written."""
    return {name: zarr.open_array(zarr_at(path / group / name), mode="r+") for name in names}
