"""Chunks of tables that are written directly are those of zarr: the same bytes, and none where all is the fill."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdask.arrays import Array
from crackdask.store.arrays import create_array, read_arrays, write_array
from crackdask.store.chunks import write_chunk
from crackdask.store.damage import DamagedError
from crackdask.store.root import consolidate

#: What arrays are filled with, by kind: of the columns, NaN, False or 0; of small arrays 0.
FILLS: dict[str, list[Any]] = {"float64": [np.nan, 0.0], "float32": [np.nan, 0.0], "bool": [False], "uint32": [0]}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def values_of(data: st.DataObject, shape: tuple[int, ...], dtype: str) -> Array:
    """Return values of which whole chunks may be of one kind: numbers, zeros, zeros below 0, NaN."""
    held = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
    for _ in range(data.draw(st.integers(0, 3))):
        row = data.draw(st.integers(0, shape[0] - 1))
        held[row] = data.draw(st.sampled_from([0, np.nan, -0.0] if np.dtype(dtype).kind == "f" else [0, 1]))
    return held


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(sorted(FILLS)),
)
def test_zarr_writes_the_same(data: st.DataObject, shape: tuple[int, ...], dtype: str) -> None:
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    fill = data.draw(st.sampled_from(FILLS[dtype]))
    form: Any = {"shape": shape, "chunks": chunks, "dtype": dtype, "fill": fill, "attributes": {}}
    names = ("state", "particle", "shell")[: len(shape)]
    with TemporaryDirectory() as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=3)
        theirs, ours = (create_array(group, name, dims=names, **form) for name in ("theirs", "ours"))
        for _ in range(2):  # over what was there before
            values = values_of(data, shape, dtype)
            theirs[...] = values
            for at in product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True))):
                cut = tuple(slice(k * c, min(n, k * c + c)) for k, c, n in zip(at, chunks, shape, strict=True))
                write_chunk(ours, at, values[cut])
            assert files(Path(folder, "ours")) == files(Path(folder, "theirs"))
            np.testing.assert_array_equal(np.asarray(ours[...]), values)


@pytest.mark.parametrize("values", [np.float64(2.5), np.zeros((0, 3)), np.zeros(4), np.array([True, False])])
def test_small_arrays_are_those_of_zarr(tmp_path: Path, values: Any) -> None:
    held = np.asarray(values)
    group = zarr.open_group(str(tmp_path), mode="w", zarr_format=3)
    dims = ("a", "b", "c")[: held.ndim]
    write_array(group, "ours", held, dims, {"units": "1"})
    theirs = create_array(
        group, "theirs", shape=held.shape, dtype=held.dtype.str, dims=dims, attributes={"units": "1"},
        chunks=tuple(max(1, n) for n in held.shape), fill=False if held.dtype == bool else 0,
    )  # fmt: skip
    theirs[...] = held
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")


def test_elsewhere_it_is_left_to_zarr() -> None:
    array = zarr.create_array({}, shape=(3, 5), chunks=(1, 2), dtype="uint16")
    write_chunk(array, (1, 2), np.array([[7]], np.uint16))
    assert np.asarray(array[...]).tolist() == [[0] * 5, [0, 0, 0, 0, 7], [0] * 5]


def test_a_damaged_column_is_refused(tmp_path: Path) -> None:
    root = zarr.open_group(str(tmp_path), mode="w", zarr_format=3)
    write_array(root.create_group("particles"), "voxels", np.arange(4), ("particle",), {"units": "1"})
    consolidate(tmp_path)
    assert read_arrays(tmp_path, "particles", ["voxels"])["voxels"].tolist() == [0, 1, 2, 3]
    chunk = tmp_path / "particles" / "voxels" / "c" / "0"
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    with pytest.raises(DamagedError, match="damaged"):
        read_arrays(tmp_path, "particles", ["voxels"])
