"""Passes over blocks: the lazy graph and the plain loop give a kernel the same voxels, and the same bits come out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.in_memory import MemoryBlock, compute
from crackdask.blocks.passes import (
    Ahead,
    Pass,
    Result,
    Tables,
    Tally,
    core,
    padded,
    share,
    window,
    window_ahead,
    writable,
)
from crackdask.grid import Box, Grid

SHAPE = (11, 12, 13)
BLOCK = (4, 5, 6)


def volume(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(1, 1000, shape)


# Four passes that use all there is: halo, reduction, a table of the pass before, a second volume, a rule.


def box_sum(halo, block):
    """Sum over a cube around each voxel, clipped at the image edge: any wrong window shows."""
    voxels = np.pad(block.read("a", halo), halo)
    # Where the window is not clipped the pad is never reached from the block's own voxels.
    whole = np.zeros_like(voxels)
    for z in range(-halo, halo + 1):
        for y in range(-halo, halo + 1):
            for x in range(-halo, halo + 1):
                whole += np.roll(voxels, (z, y, x), (0, 1, 2))
    inside = whole[halo:-halo, halo:-halo, halo:-halo] if halo else whole
    own = inside[core(block, halo)]
    return Result({"sum": own}, {"total": np.array(own.sum()), "block": np.array(block.number)})


def add_up(grid, tallies, tables):
    assert [int(tally["block"]) for tally in tallies] == list(range(len(grid)))
    return {"total": np.array(sum(int(tally["total"]) for tally in tallies)), "given": tables["factor"] * 1}


def shares(block):
    own = block.read("sum") * int(block.table("factor")) * 1000 // int(block.table("total"))
    return Result({"share": own}, {"highest": np.array(own.max())})


def highest(grid, tallies, tables):
    return {"highest": np.max([tally["highest"] for tally in tallies])}


def mirrored(shape, box):
    """Return the point reflection of a box: a window that is nowhere near the block."""
    return Box(
        tuple(n - b for n, b in zip(shape, box.stop, strict=True)),
        tuple(n - a for n, a in zip(shape, box.start, strict=True)),
    )


def reflect(block):
    found = block.read("share")[::-1, ::-1, ::-1] == block.table("highest")
    return Result({"top": found & (block.read("a") > 0)})


def steps(halo=2, shape=SHAPE):
    return (
        Pass("sum", partial(box_sum, halo), {"a": halo}, {"sum": "int64"}, ("factor",), ("total", "given"), 0, add_up),
        Pass("share", shares, {"sum": 0}, {"share": "int64"}, ("factor", "total"), ("highest",), 0, highest),
        Pass("top", reflect, {"share": partial(mirrored, shape), "a": 0}, {"top": "bool"}, ("highest",)),
    )


def same(found, wanted):
    for mine, yours in zip(found, wanted, strict=True):
        assert mine.keys() == yours.keys()
        for name in yours:
            assert np.asarray(mine[name]).dtype == np.asarray(yours[name]).dtype
            np.testing.assert_array_equal(mine[name], yours[name])


def plain(voxels, halo):
    """Return the three volumes without any block."""
    around = np.pad(voxels, halo)
    cubes = np.lib.stride_tricks.sliding_window_view(around, (2 * halo + 1,) * 3)
    sums = cubes.sum((-3, -2, -1))
    share = sums * 7 * 1000 // sums.sum()
    return {"sum": sums, "share": share, "top": share[::-1, ::-1, ::-1] == share.max()}


FACTOR = {"factor": np.array(7)}


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    block=st.tuples(*[st.integers(1, 12)] * 3),
    halo=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_compute_equals_the_whole_volume(shape, block, halo, seed):
    block = tuple(max(b, n // 4) for b, n in zip(block, shape, strict=True))
    voxels = volume(shape, seed)
    found, tables = compute(steps(halo, shape), {"a": voxels}, FACTOR, block)
    for name, wanted in plain(voxels, halo).items():
        np.testing.assert_array_equal(found[name], wanted)
    assert tables["total"] == found["sum"].sum()
    assert tables["highest"] == found["share"].max()
    assert tables["given"] == 7


@st.composite
def chunkings(draw, shape):
    """Draw chunks of any irregular sizes."""
    chunks = []
    for n in shape:
        walls = draw(st.lists(st.integers(1, max(n - 1, 1)), max_size=3, unique=True)) if n > 1 else []
        chunks.append(tuple(np.diff([0, *sorted(walls), n]).tolist()))
    return tuple(chunks)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), shape=st.tuples(*[st.integers(1, 9)] * 3), halo=st.integers(0, 3))
def test_lazy_equals_compute_for_any_chunks_and_blocks(data, shape, halo):
    chunks = data.draw(chunkings(shape))
    block = data.draw(st.one_of(st.none(), st.tuples(*[st.integers(3, 12)] * 3)))
    voxels = volume(shape)
    with dask.config.set(scheduler="synchronous"):
        found = dask.compute(*lazy(steps(halo, shape), {"a": da.from_array(voxels, chunks)}, FACTOR, block))
    same(found, compute(steps(halo, shape), {"a": voxels}, FACTOR))


def test_blocks_are_the_largest_chunk_unless_given():
    voxels = da.from_array(volume(), chunks=((2, 9), (12,), (6, 6, 1)))
    assert lazy(steps(), {"a": voxels}, FACTOR)[0]["sum"].chunks == ((9, 2), (12,), (6, 6, 1))
    assert lazy(steps(), {"a": voxels}, FACTOR, (4, 40, 4))[0]["sum"].chunks == ((4, 4, 3), (12,), (4, 4, 4, 1))


@pytest.fixture
def client():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "30s"}),
        LocalCluster(2, processes=False, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "distributed"])
def test_every_scheduler_gives_the_same_bits(scheduler, request):
    voxels = volume()
    wanted = compute(steps(), {"a": voxels}, FACTOR)
    chosen = request.getfixturevalue("client") if scheduler == "distributed" else scheduler
    lazily = lazy(steps(), {"a": da.from_array(voxels, (5, 7, 4))}, FACTOR, BLOCK)
    same(dask.compute(*lazily, scheduler=chosen), wanted)
    again = dask.compute(*lazy(steps(), {"a": da.from_array(voxels, SHAPE)}, FACTOR, (3, 3, 9)), scheduler=chosen)
    same(again, wanted)


def forbidden(*anything):
    raise AssertionError("building a graph must not compute")


def test_building_computes_nothing():
    source = da.map_blocks(
        forbidden, da.zeros(SHAPE, chunks=BLOCK, dtype="int64"), dtype="int64", meta=np.empty((0,) * 3)
    )
    made = lazy(
        (Pass("sum", forbidden, {"a": 2}, {"sum": "int64"}, ("factor",), ("total",), 0, forbidden),),
        {"a": source},
        {"factor": dask.delayed(forbidden)()},
    )
    assert made[0]["sum"].shape == SHAPE
    with pytest.raises(AssertionError, match="must not compute"):
        made[0]["sum"].compute(scheduler="synchronous")


def calls(work):
    """Return how many Python functions are called meanwhile: work that no other process slows down."""
    count = 0

    def noted(frame, event, arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(noted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_building_takes_no_more_for_a_block_of_many():
    def built(edge):
        source = da.zeros((edge,) * 3, chunks=(32,) * 3, dtype="int64")
        lazy(steps(2, (edge,) * 3), {"a": source}, FACTOR)

    built(64)  # what is done once
    few, many = calls(partial(built, 96)), calls(partial(built, 192))
    assert few > 27
    assert many < 1.6 * 8 * few  # blocks within have more neighbours than those at the border


def test_tables_may_be_still_to_come_whatever_their_keys_are():
    voxels = volume()
    # These keys are also names of tables and volumes: nothing may take one for the other.
    late = dask.delayed(np.array)(7, dask_key_name="factor")
    other = da.from_array(voxels, (5, 7, 4), name="sum")
    found = dask.compute(*lazy(steps(), {"a": other}, {"factor": late}, BLOCK), scheduler="synchronous")
    wanted = compute(steps(), {"a": voxels}, FACTOR)
    same(found, wanted)


def test_one_voxel():
    voxels = np.array([[[5]]])
    found, tables = compute(steps(2, (1, 1, 1)), {"a": voxels}, FACTOR, (8, 8, 8))
    assert found["top"].tolist() == [[[True]]]
    assert tables["total"] == 5
    lazily = lazy(steps(2, (1, 1, 1)), {"a": da.from_array(voxels)}, FACTOR)
    same(dask.compute(*lazily, scheduler="synchronous"), (found, tables))


def test_a_box_within_what_was_declared_may_be_read():
    grid, voxels = Grid(SHAPE, BLOCK), volume()
    block = MemoryBlock(grid, 13, {"a": (1, voxels[grid.box(13).grow(1, within=SHAPE).slices])}, {})
    ahead = window_ahead(block)
    np.testing.assert_array_equal(block.read_box("a", ahead), voxels[ahead.slices])
    with pytest.raises(AssertionError, match="exceeds the declared"):
        block.read_box("a", grid.box(13).grow(2, within=SHAPE))


@settings(deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 3), size=st.tuples(*[st.integers(1, 4)] * 3))
def test_any_two_neighbours_are_in_one_window_ahead(shape, size):
    grid = Grid(shape, size)
    met = set()
    for number in range(len(grid)):
        box = window_ahead(MemoryBlock(grid, number, {}, {}))
        inside = np.argwhere(np.ones(box.shape, bool)) + box.start
        met |= {(*a, *b) for a in inside.tolist() for b in inside.tolist()}
    voxels = np.argwhere(np.ones(shape, bool)).tolist()
    near = [(*a, *b) for a in voxels for b in voxels if max(abs(i - k) for i, k in zip(a, b, strict=True)) == 1]
    assert met.issuperset(near)


def test_a_kernel_may_not_ask_for_more_than_it_declared():
    grid = Grid(SHAPE, BLOCK)
    block = MemoryBlock(grid, 0, {"a": (1, volume()[grid.box(0).grow(1, within=SHAPE).slices])}, {})
    assert block.read("a", (1, 0, 1)).shape == (5, 5, 7)
    with pytest.raises(AssertionError, match="halo 2 of 'a' exceeds the declared 1"):
        block.read("a", 2)
    with pytest.raises(AssertionError, match="exceeds the declared 1"):
        compute((Pass("sum", partial(box_sum, 2), {"a": 1}, {"sum": "int64"}),), {"a": volume()})


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    halo=st.integers(0, 6),
    mode=st.sampled_from(["edge", "reflect"]),
)
def test_padding_of_a_block_is_that_of_the_whole(data, shape, halo, mode):
    block = data.draw(st.tuples(*[st.integers(1, n + 1) for n in shape]))
    grid, voxels = Grid(shape, block), volume(shape)
    whole = np.pad(voxels, halo, mode=mode)
    for number, own in enumerate(grid):
        at_hand = voxels[own.grow(halo, within=shape).slices]
        one = MemoryBlock(grid, number, {"a": (halo, at_hand)}, {})
        found = padded(one, "a", halo, mode=mode)
        assert found.flags.c_contiguous
        cut = tuple(slice(a, b + 2 * halo) for a, b in zip(own.start, own.stop, strict=True))
        np.testing.assert_array_equal(found, whole[cut])
        assert window(one, halo).shape == at_hand.shape
        np.testing.assert_array_equal(at_hand[core(one, halo)], voxels[own.slices])


@settings(deadline=None, max_examples=30)
@given(shape=st.tuples(*[st.integers(1, 12)] * 3), block=st.tuples(*[st.integers(1, 12)] * 3), by=st.integers(0, 9))
def test_shares_are_a_partition_and_windows_hold_them(shape, block, by):
    grid, counted, around = Grid(shape, block), np.zeros(shape, int), by // 2

    def count(each):
        own = share(each, by)
        outer = own.grow(around, within=shape)
        seen = each.read("a")
        np.testing.assert_array_equal(seen, voxels[outer.slices])
        np.testing.assert_array_equal(each.read_box("a", own) if own.size else 0, voxels[own.slices] if own.size else 0)
        counted[own.slices] += 1
        return Result(tally={"sum": np.array(seen[own.within(outer)].sum())})

    def kept(_: Grid, tallies: Sequence[Tally], __: Tables) -> Tables:
        sums.extend(tallies)
        return {}

    sums: list[Tally] = []
    voxels = volume(shape)
    passes = [Pass("count", count, {"a": Ahead(by, around)}, reduce=kept)]
    compute(passes, {"a": voxels}, block=block)
    assert len(sums) == len(grid)
    assert (counted == 1).all()
    assert sum(int(each["sum"]) for each in sums) == voxels.sum()


def test_what_is_written_over_is_never_an_input():
    voxels = volume()
    one = MemoryBlock(Grid(SHAPE, BLOCK), 0, {"a": (0, voxels[:4, :5, :6])}, {})
    writable(one.read("a"))[:] = 0
    assert voxels.min() > 0
    read = np.ascontiguousarray(voxels)
    assert writable(read) is read
    assert writable(np.asfortranarray(voxels)).flags.c_contiguous
