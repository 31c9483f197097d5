"""Coarser levels: the same as on the whole volume, whatever the blocks."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.blocks.passes import Pass
from crackdask.engine.block_plan import level_blocks
from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Serial
from crackdask.engine.pass_runner import Engine
from crackdask.engine.retries import Retries
from crackdask.grid import COARSEST, Box, Grid, Triple, check_single_writer, coarser
from crackdask.schema import UnitKey, level_array
from crackdask.steps.levels import PART, Below, block_bytes, passes
from crackdask.store.arrays import Axes, VolumeLayout
from crackdask.store.create import create
from crackdask.store.levels import level_arrays, level_layout
from crackdask.store.volumes import volume
from tests.kernels.test_halving import plain
from tests.support.silence import Silent
from tests.support.tiny import Voxels

EDGES = st.integers(1, 24)


def volumes_of(shape: Triple, seed: int) -> dict[str, Voxels]:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, shape).astype(np.uint8)
    return {"grey": grey, "label": rng.integers(0, 2**32, shape, dtype=np.uint32)}


def levels_of(given_: dict[str, Voxels], grids: tuple[Grid, ...], whole: Grid) -> dict[str, Voxels]:
    """Do the passes block by block on arrays in memory; every voxel is written once."""
    found = dict(given_)
    for each in passes(grids, whole, copied=False):
        assert each.grid is not None
        made = {name: np.zeros(each.grid.shape, dtype) for name, dtype in each.writes.items()}
        for number, box in enumerate(each.grid):
            for name, voxels in each.kernel(_Block(each, number, found)).volumes.items():
                assert voxels.dtype == made[name].dtype
                made[name][box.slices] = voxels
        found |= made
    return found


class _Block:
    """A block that reads arrays in memory through the windows that its pass declares."""

    def __init__(self, pass_: Pass, number: int, arrays: dict[str, Voxels]) -> None:
        assert pass_.grid is not None
        self.grid, self.number, self._reads, self._arrays = pass_.grid, number, pass_.reads, arrays

    def read(self, name: str, halo: object = 0) -> Voxels:
        raise AssertionError(f"{name} is read part by part")

    def read_box(self, name: str, box: Box) -> Voxels:
        where = self._reads[name]
        assert callable(where)
        assert box.intersect(where(self.grid.box(self.number))) == box
        assert max(box.shape) <= 2 * PART
        return self._arrays[name][box.slices]

    def table(self, name: str) -> Voxels:
        raise AssertionError(name)


@given(st.tuples(EDGES, EDGES, st.integers(1, 700)), st.tuples(EDGES, EDGES, st.integers(1, 400)), st.integers(0, 99))
def test_levels_are_those_of_the_whole_volume_in_any_blocks(shape: Triple, block: Triple, seed: int) -> None:
    given_ = volumes_of(shape, seed)
    grids = tuple(Grid(level, block) for level in coarser(shape))
    found = levels_of(given_, grids, Grid(shape, block))
    grey, label = given_["grey"], given_["label"]
    for number in range(1, len(grids) + 1):
        grey, label = plain(grey), label[::2, ::2, ::2]
        np.testing.assert_array_equal(found[level_array("grey", number)], grey)
        np.testing.assert_array_equal(found[level_array("label", number)], label)
        step = 2**number
        np.testing.assert_array_equal(label, given_["label"][::step, ::step, ::step])
    assert max(grey.shape) <= COARSEST
    assert level_array("grey", len(grids) + 1) not in found


@pytest.mark.parametrize(
    ("shape", "count"), [((1, 1, 1), 1), ((256, 256, 256), 1), ((20, 30, 513), 2), ((20, 30, 1025), 3)]
)
def test_as_many_levels_as_bring_a_volume_onto_a_screen(shape: Triple, count: int) -> None:
    assert len(coarser(shape)) == count


def test_a_window_ends_where_the_finer_level_does() -> None:
    assert Below((5, 4, 7))(Box((2, 0, 3), (3, 2, 4))) == Box((4, 0, 6), (5, 4, 7))


@given(
    st.tuples(*[st.integers(1, 3000)] * 3),
    st.tuples(*[st.integers(1, 200)] * 3),
    st.none() | st.integers(1, 6),
    st.integers(1, 3),
)
def test_blocks_of_levels_own_whole_files_and_take_no_more_than_blocks_of_the_volume(
    shape: Triple, chunk: Triple, chunks_in_shard: int | None, files: int
) -> None:
    z, y, x = chunk
    shard = None if chunks_in_shard is None else (z * chunks_in_shard, y * chunks_in_shard, x * chunks_in_shard)
    a, b, c = shard or chunk
    layout, block = VolumeLayout(chunk, shard), (a * files, b * files, c * files)
    for grid, level in zip(level_blocks(shape, layout, block), coarser(shape), strict=True):
        cut = level_layout(layout, level)
        assert grid.shape == level
        check_single_writer(grid, cut.shard or cut.chunk)
        assert all(s % k == 0 for s, k in zip(cut.shard or cut.chunk, cut.chunk, strict=True))
        most = prod(max(2 * PART, size) for size in block)
        assert block_bytes(grid) <= 2 * most * (1 + 4)


@pytest.mark.parametrize("shard", [None, (8, 16, 128), (16, 8, 64)])
@pytest.mark.parametrize("shape", [(5, 9, 520), (1, 1, 1), (17, 4, 300)])
def test_levels_in_a_store_are_those_of_the_whole_volume(tmp_path: Path, shape: Triple, shard: Triple | None) -> None:
    """Also in shards, and of the second state."""
    store = tmp_path / "a.zarr"
    axes = Axes(("a", "b"), (3.0, 4.2), ("pristine", "charge"), (0, 1), shape, (0.5, 0.5, 0.5))
    layout = VolumeLayout((8, 8, 64), shard)
    create(store, axes, {"grey": "uint8", "label": "uint32"}, layout, {"format_version": 1})
    whole, given_ = Grid(shape, (16, 16, 128)), volumes_of(shape, 3)
    for name, voxels in given_.items():
        for box in whole:
            volume(store, name, 1).write(box, voxels[box.slices])
    grids = level_blocks(shape, layout, whole.block)
    planned = passes(grids, whole, copied=False)
    outputs = {name: volume(store, name, 1) for each in planned for name in each.writes}
    assert sorted(outputs) == sorted(level_arrays(store, shape))
    engine = Engine(Work.beside(store), Serial(), Silent(), Retries(0, ()))
    engine.run(UnitKey("levels", 1), "f" * 64, planned, whole, {n: volume(store, n, 1) for n in given_}, outputs, {})
    wanted = levels_of(given_, tuple(Grid(grid.shape, grid.shape) for grid in grids), whole)
    for name, found in outputs.items():
        np.testing.assert_array_equal(found.read(Box.whole(wanted[name].shape)), wanted[name])
