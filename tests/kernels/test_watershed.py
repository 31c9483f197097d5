"""Pointers, paths, saddles and table work against plain loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.kernels import basin_merging, union_find, watershed
from crackdask.kernels.saddles import saddles as highest_saddles

STEPS = [step for step in product((-1, 0, 1), repeat=3) if step != (0, 0, 0)]
shapes = st.tuples(*[st.integers(1, 8)] * 3)


def heights(seed, shape, levels):
    """Heights with many ties, and holes."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, levels + 1, shape).astype(np.uint16) * (rng.random(shape) < 0.85)


def neighbours(at, shape):
    for step in STEPS:
        to = tuple(a + s for a, s in zip(at, step, strict=True))
        if all(0 <= a < n for a, n in zip(to, shape, strict=True)):
            yield to


def plain_pointers(depth):
    """Return for every voxel of the mask the voxel it points to."""
    rank = {at: (int(depth[at]), at) for at in product(*map(range, depth.shape)) if depth[at] > 0}
    return {
        at: max([at, *(to for to in neighbours(at, depth.shape) if to in rank)], key=rank.__getitem__) for at in rank
    }


def some_part(seed, shape):
    """Return a random box within a shape."""
    rng = np.random.default_rng(seed)
    start = tuple(int(rng.integers(0, n)) for n in shape)
    size = tuple(int(rng.integers(1, n - a + 1)) for n, a in zip(shape, start, strict=True))
    return start, size


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shape=shapes, levels=st.sampled_from([1, 2, 5, 60000]))
def test_steepest_points_to_the_highest_neighbour(seed, shape, levels):
    depth = heights(seed, shape, levels)
    start, size = some_part(seed, shape)
    pointers = watershed.steepest(depth, start, size)
    wanted = plain_pointers(depth)
    for at in product(*map(range, size)):
        here = tuple(a + s for a, s in zip(at, start, strict=True))
        code = int(pointers[at])
        if depth[here] == 0:
            assert code == 255
        else:
            step = (code >> 4, code >> 2 & 3, code & 3)
            assert tuple(a + s - 1 for a, s in zip(here, step, strict=True)) == wanted[here]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shape=shapes, levels=st.sampled_from([1, 3, 60000]))
def test_follow_ends_in_peaks_or_in_the_halo(seed, shape, levels):
    depth = heights(seed, shape, levels)
    whole = plain_pointers(depth)
    inner, size = some_part(seed, shape)
    outer = tuple(max(0, a - 1) for a in inner)
    reach = tuple(min(n, a + s + 1) - o for n, a, s, o in zip(shape, inner, size, outer, strict=True))
    start = tuple(a - o for a, o in zip(inner, outer, strict=True))
    pointers = watershed.steepest(depth, outer, reach)
    codes, ends, entered, entered_codes = watershed.follow(pointers, start, size)

    def own(at):
        return all(a <= i < a + s for i, a, s in zip(at, inner, size, strict=True))

    def in_window(at):
        return np.ravel_multi_index(tuple(i - o for i, o in zip(at, outer, strict=True)), reach)

    used = set()
    for at in product(*map(range, size)):
        here = tuple(a + s for a, s in zip(at, inner, strict=True))
        if depth[here] == 0:
            assert codes[at] == 0
            continue
        while own(here) and whole[here] != here:
            here = whole[here]
        assert ends[codes[at] - 1] == in_window(here)
        used.add(int(codes[at]))
    assert used == set(range(1, ends.size + 1))
    into = {
        whole[at]
        for at in whole
        if not own(at) and own(whole[at]) and all(o <= i < o + r for i, o, r in zip(at, outer, reach, strict=True))
    }
    assert sorted(in_window(at) for at in into) == entered.tolist()
    for at in into:
        code = entered_codes[np.searchsorted(entered, in_window(at))]
        assert code == codes[tuple(i - a for i, a in zip(at, inner, strict=True))]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shape=shapes, names=st.sampled_from([1, 3, 4000]))
def test_saddles_are_the_highest_of_the_lower(seed, shape, names):
    depth = heights(seed, shape, 50)
    rng = np.random.default_rng(seed)
    nodes = rng.integers(1, names + 1, shape).astype(np.uint32) * (depth > 0)
    start, size = some_part(seed, shape)
    wanted: dict[int, int] = {}
    for at in product(*map(range, shape)):
        if not all(a <= i < a + s for i, a, s in zip(at, start, size, strict=True)):
            continue
        for to in neighbours(at, shape):
            a, b = sorted((int(nodes[at]), int(nodes[to])))
            if to > at and 0 < a < b:
                key = a << 32 | b
                wanted[key] = max(wanted.get(key, 0), int(min(depth[at], depth[to])))
    pairs, saddles = highest_saddles(nodes.astype(np.uint32), depth, start, size)
    assert pairs.dtype == np.uint64
    assert saddles.dtype == np.uint16
    assert pairs.tolist() == sorted(wanted)
    assert saddles.tolist() == [wanted[key] for key in sorted(wanted)]


def test_saddles_table_grows():
    nodes = np.arange(1, 22**3 + 1, dtype=np.uint32).reshape(22, 22, 22)
    depth = nodes.astype(np.uint16)
    pairs, saddles = highest_saddles(nodes, depth, (0, 0, 0), nodes.shape)
    assert pairs.size == (20**3 * 26 + 6 * 400 * 17 + 12 * 20 * 11 + 8 * 7) // 2
    np.testing.assert_array_equal(saddles, pairs >> np.uint64(32))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 6), batch=st.sampled_from([1, 10, 1 << 20]))
def test_fold_does_not_depend_on_the_batches(seed, parts, batch):
    rng = np.random.default_rng(seed)
    tables = []
    wanted: dict[int, int] = {}
    for _ in range(parts):
        keys = np.unique(rng.integers(1, 30, 20).astype(np.uint64))
        values = rng.integers(0, 99, keys.size).astype(np.int64)
        tables.append((keys, values))
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            wanted[key] = wanted.get(key, 0) + value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basin_merging, "_FOLD", batch)
        keys, sums = basin_merging.fold(tables, how=np.add)
    assert dict(zip(keys.tolist(), sums.tolist(), strict=True)) == wanted
    assert keys.tolist() == sorted(wanted)


def test_fold_keeps_the_dtype():
    empty = np.zeros(0, np.uint64), np.zeros(0, np.uint16)
    keys, values = basin_merging.fold([empty, empty], how=np.maximum)
    assert (keys.dtype, values.dtype, keys.size) == (np.dtype(np.uint64), np.dtype(np.uint16), 0)


def test_jump_follows_long_chains():
    chain = np.maximum(np.arange(1000) - 1, 0)
    assert (union_find.jump(chain, chain) == 0).all()


def test_equal_saddles_are_taken_in_the_order_of_the_nodes():
    # 2 is open to both sides at the same height; 1 comes first.
    pairs = np.array([1 << 32 | 2, 2 << 32 | 3], np.uint64)
    saddles = np.array([4, 4], np.uint16)
    assert basin_merging.merge_by_label(pairs, saddles, np.array([5, 0, 7], np.uint32)).tolist() == [5, 5, 7]


def test_a_peak_that_rises_by_exactly_the_least_rise_stays():
    pair = np.array([1 << 32 | 2], np.uint64)
    saddle, tops = np.array([10], np.uint16), np.array([20, 13], np.uint16)
    assert basin_merging.merge_by_height(pair, saddle, tops, 3).tolist() == [1, 2]
    assert basin_merging.merge_by_height(pair, saddle, tops, 4).tolist() == [1, 1]
