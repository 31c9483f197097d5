"""Tiles are cut exactly, of whatever level, and kept within a number of bytes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from crackdask.explore.byte_cache import ByteCache
from crackdask.explore.planes import PLANES, TILE, Planes

SHAPE = (70, 600, 90)
Z, Y, X = SHAPE


def _stored(folder: Path, levels: int, *, ome: bool = True) -> Path:
    """Write volumes of which every voxel tells its place, in chunks that divide nothing evenly."""
    store = folder / f"levels-{levels}-{ome}.zarr"
    root = zarr.create_group(str(store), zarr_format=3)
    grid = np.arange(2 * Z * Y * X, dtype=np.uint32).reshape(2, *SHAPE)
    for level in range(levels):
        part = grid[:, :: 2**level, :: 2**level, :: 2**level]
        for name, values in (("grey", (part % 251).astype(np.uint8)), ("label", part)):
            path = f"volumes/{name}" if level == 0 else f"levels/{level}/{name}"
            array = root.create_array(path, shape=values.shape, chunks=(1, 32, 48, 40), dtype=values.dtype)
            array[...] = values
    if ome:
        for where, name in (("", "grey"), ("labels/particle", "label")):
            group = root.require_group(where) if where else root
            lead = "../../" if where else ""
            paths = [f"{lead}volumes/{name}", *(f"{lead}levels/{level}/{name}" for level in range(1, levels))]
            group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": [{"path": p} for p in paths]}]}
    return store


@pytest.fixture(scope="module")
def without_levels(tmp_path_factory: pytest.TempPathFactory) -> Planes:
    store = _stored(tmp_path_factory.mktemp("planes"), 1, ome=False)
    return Planes(store, complete=True, cache=ByteCache(2**24))


@given(st.data())
def test_a_tile_of_any_level_is_every_nth_voxel(without_levels: Planes, data: st.DataObject) -> None:
    planes = without_levels
    plane = data.draw(st.sampled_from(list(PLANES)))
    axis = PLANES[plane]
    level = data.draw(st.integers(0, planes.count - 1))
    index = data.draw(st.integers(0, SHAPE[axis] - 1))
    state = data.draw(st.integers(0, 1))
    grid = np.arange(2 * Z * Y * X, dtype=np.uint32).reshape(2, *SHAPE)[state]
    whole = grid[:: 2**level, :: 2**level, :: 2**level].take(index >> level, axis)
    rows, columns = (-(-n // TILE) for n in whole.shape)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    found = planes.tile("label", state, plane, index, level, row, column)
    wanted = whole[TILE * row : TILE * (row + 1), TILE * column : TILE * (column + 1)]
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.uint32


def test_there_are_more_levels_the_larger_the_volume(without_levels: Planes) -> None:
    assert without_levels.count == 3  # 600 voxels: 300, 150
    assert max(without_levels.shape_at(2)) <= TILE


def test_levels_of_the_store_are_read_and_not_made(tmp_path: Path) -> None:
    store = _stored(tmp_path, 2)
    zarr.open_array(str(store / "levels" / "1" / "grey"), mode="r+")[...] = 7  # to tell it from every other voxel
    planes = Planes(store, complete=True, cache=ByteCache(2**24))
    assert (planes.tile("grey", 0, "xz", 300, 1, 0, 0) == 7).all()
    assert (planes.tile("grey", 0, "xz", 300, 2, 0, 0) == 7).all()  # every second voxel of it
    assert not (planes.tile("grey", 0, "xz", 300, 0, 0, 0) == 7).all()


@pytest.mark.parametrize("path", ["../outside/grey", "/etc", "levels/9/grey", "levels/../../outside/grey"])
def test_a_level_that_is_not_there_or_leads_out_is_not_followed(tmp_path: Path, path: str) -> None:
    store = _stored(tmp_path, 2)
    outside = zarr.create_array(
        str(tmp_path / "outside" / "grey"), shape=(2, 35, 300, 45), chunks=(1, 35, 50, 45), dtype="u1"
    )
    outside[...] = 9
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["ome"]["multiscales"][0]["datasets"][1]["path"] = path
    (store / "zarr.json").write_text(json.dumps(root))
    planes = Planes(store, complete=True, cache=ByteCache(2**24))
    assert planes.levels["grey"].paths == ("volumes/grey",)
    assert not (planes.tile("grey", 0, "xy", 3, 1, 0, 0) == 9).all()


def test_the_cache_never_holds_more_than_it_may() -> None:
    cache, made = ByteCache(1000), []

    def make(key: int, size: int) -> np.ndarray:
        made.append(key)
        return np.full(size, key, np.uint8)

    for key in range(20):
        assert cache.get(key, lambda key=key: make(key, 300))[0] == key  # type: ignore[misc]
        assert cache.held <= 1000
    cache.get(18, lambda: make(18, 300))
    cache.get(0, lambda: make(0, 300))
    assert made == [*range(20), 0]  # 18 was there still, 0 was not
    cache.get("large", lambda: make(99, 2000))
    assert cache.held <= 1000
    cache.clear()
    assert cache.held == 0


def test_what_several_threads_ask_for_at_once_is_made_once() -> None:
    cache, made, gate = ByteCache(10**6), [], threading.Barrier(8)

    def make() -> np.ndarray:
        made.append(1)
        return np.zeros(10)

    def ask() -> None:
        gate.wait()
        cache.get("key", make)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept() -> None:
    cache = ByteCache(1000)

    def fail() -> np.ndarray:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("key", fail)
    assert cache.get("key", lambda: np.ones(3))[0] == 1
