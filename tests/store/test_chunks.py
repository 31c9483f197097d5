"""Chunks read and written directly are those of zarr: the same voxels, and the same bytes on the disk."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdask.grid import Box, Triple
from crackdask.store.arrays import Compression, create_array
from crackdask.store.chunks import Direct, direct

Codec = st.sampled_from(["zstd", "lz4", "none"])
Edges = st.tuples(*[st.integers(1, 5)] * 3)


def made(
    folder: Path, shape: Triple, chunk: Triple, shard: Triple | None, state: int | None, dtype: str, codec: Any
) -> zarr.Array[Any]:
    states = () if state is None else (3,)
    one = () if state is None else (1,)
    group = zarr.open_group(str(folder), mode="w", zarr_format=3)
    array = create_array(
        group, "grey", shape=(*states, *shape), dtype=dtype, dims=("state", "z", "y", "x")[-len(states) - 3 :],
        chunks=(*one, *chunk), shards=None if shard is None else (*one, *shard), compression=Compression(codec, 1),
        attributes={},
    )  # fmt: skip
    return array.with_config({"write_empty_chunks": True})


def of(array: zarr.Array[Any]) -> Direct:
    found = direct(array)
    assert found is not None
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def index_of(box: Box, state: int | None) -> tuple[Any, ...]:
    return box.slices if state is None else (state, *box.slices)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    chunk=Edges,
    counts=st.tuples(*[st.integers(1, 3)] * 3),
    sharded=st.booleans(),
    state=st.sampled_from([None, 0, 2]),
    dtype=st.sampled_from(["bool", "uint8", "uint16", "uint32", "float32"]),
    codec=Codec,
)
def test_zarr_sees_the_same(
    data: st.DataObject,
    chunk: Triple,
    counts: Triple,
    sharded: bool,
    state: int | None,
    dtype: str,
    codec: str,
) -> None:
    shape = tuple(data.draw(st.integers(1, c * n + c // 2)) for c, n in zip(chunk, counts, strict=True))
    first = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    last = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(first, shape, strict=True))
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    shard = tuple(2 * c for c in chunk) if sharded else None
    whole, part = Box.whole(shape), Box(first, last)  # type: ignore[arg-type]
    with TemporaryDirectory() as place:
        theirs = made(Path(place, "theirs"), shape, chunk, shard, state, dtype, codec)  # type: ignore[arg-type]
        theirs[index_of(whole, state)] = voxels
        found = of(theirs).read(part, state, whole=True)
        assert found.dtype == voxels.dtype
        np.testing.assert_array_equal(found, voxels[part.slices])
        if not sharded:
            ours = made(Path(place, "ours"), shape, chunk, shard, state, dtype, codec)  # type: ignore[arg-type]
            of(ours).write(whole, state, voxels)
            assert files(Path(place, "ours")) == files(Path(place, "theirs"))


@pytest.fixture
def array(tmp_path: Path, request: pytest.FixtureRequest) -> zarr.Array[Any]:
    shard = (4, 8, 8) if request.param else None
    return made(tmp_path / "out", (8, 8, 8), (4, 4, 4), shard, None, "uint16", "zstd")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("first", "last"), [(0, 16), (20, 33), (47, 48), (61, 70), (5, 70)])
def test_some_planes_of_large_chunks(tmp_path: Path, first: int, last: int, sharded: bool) -> None:
    shape, chunk = (70, 64, 96), (48, 64, 64)
    array = made(tmp_path, shape, chunk, tuple(2 * c for c in chunk) if sharded else None, None, "uint32", "zstd")  # type: ignore[arg-type]
    voxels = (np.arange(np.prod(shape), dtype=np.uint32) // 3).reshape(shape)
    array[...] = voxels
    box = Box((first, 3, 0), (last, 60, 90))
    np.testing.assert_array_equal(of(array).read(box, None, whole=True), voxels[box.slices])


@pytest.mark.parametrize("array", [False, True], indirect=True)
def test_chunks_that_were_never_written_hold_what_fills_the_array(array: zarr.Array[Any]) -> None:
    array.with_config({"write_empty_chunks": False})[:4, :4, :4] = 7
    found = of(array).read(Box.whole((8, 8, 8)), None, whole=False)
    assert found[:4, :4, :4].min() == 7
    assert found.sum() == 7 * 64
    with pytest.raises(ValueError, match="c/1/0/0 is not there"):
        of(array).read(Box((4, 0, 0), (8, 4, 4)), None, whole=True)


@pytest.mark.parametrize("array", [False, True], indirect=True)
def test_a_damaged_chunk_is_refused(array: zarr.Array[Any]) -> None:
    array[...] = np.arange(512, dtype=np.uint16).reshape(8, 8, 8)
    file = Path(array.store.root) / "grey/c/0/0/0"  # type: ignore[attr-defined]
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="checksum does not fit"):
        of(array).read(Box((0, 0, 0), (1, 1, 1)), None, whole=True)
    assert of(array).read(Box((4, 4, 4), (5, 5, 5)), None, whole=True) == 292
    file.write_bytes(b"ab")
    with pytest.raises(ValueError, match="checksum does not fit"):
        of(array).read(Box((0, 0, 0), (1, 1, 1)), None, whole=True)


@pytest.mark.parametrize("array", [False], indirect=True)
def test_a_chunk_of_another_size_is_refused(array: zarr.Array[Any], tmp_path: Path) -> None:
    small = made(tmp_path / "small", (4, 4, 4), (2, 4, 4), None, None, "uint16", "zstd")
    for each in (array, small):
        each[...] = 9
    source = Path(small.store.root) / "grey/c/0/0/0"  # type: ignore[attr-defined]
    (Path(array.store.root) / "grey/c/0/0/0").write_bytes(source.read_bytes())  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="another size"):
        of(array).read(Box((0, 0, 0), (1, 1, 1)), None, whole=True)


@pytest.mark.parametrize("array", [False], indirect=True)
def test_no_box_may_cut_a_chunk_that_is_written(array: zarr.Array[Any]) -> None:
    with pytest.raises(AssertionError, match="cuts through chunks"):
        of(array).write(Box((0, 0, 0), (2, 4, 4)), None, np.zeros((2, 4, 4), np.uint16))


def test_other_codecs_and_places_are_left_to_zarr(tmp_path: Path) -> None:
    plain = zarr.create_array(str(tmp_path / "a"), shape=(4, 4, 4), chunks=(2, 2, 2), dtype="uint8", compressors=None)
    in_memory = zarr.create_array({}, shape=(4, 4, 4), chunks=(2, 2, 2), dtype="uint8", compressors=None)
    swapped = zarr.create_array(
        str(tmp_path / "b"), shape=(4, 4, 4), chunks=(2, 2, 2), dtype="uint16",
        serializer=zarr.codecs.BytesCodec(endian="big"), compressors=Compression().codecs(),
    )  # fmt: skip
    assert direct(swapped) is None
    assert direct(plain) is None
    assert direct(in_memory) is None
