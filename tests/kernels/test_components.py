"""Components of blocks, united over the planes between them, against scipy's labels of the whole volume."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.grid import Box, Grid
from crackdask.kernels.components import (
    ABSENT,
    FACES,
    FULL,
    LARGE,
    SIDES,
    face_codes,
    inner_sides,
    join_planes,
    small_components,
)
from crackdask.kernels.union_find import roots
from tests.support.threes import three

STRUCTURE = {FULL: np.ones((3, 3, 3)), FACES: ndimage.generate_binary_structure(3, 1)}


def joined(phase, grid, connectivity):
    """Return the whole volume's components by labelling blocks and joining planes: every component waits."""
    nodes, count = np.full(phase.shape, ABSENT, np.int64), 0
    for box in grid:
        labels, n = ndimage.label(phase[box.slices], STRUCTURE[connectivity])
        nodes[box.slices] = np.where(labels, labels + count, ABSENT)
        count += n
    parent = np.arange(count + 1)
    for axis in range(3):
        for wall in range(grid.block[axis], phase.shape[axis], grid.block[axis]):
            low, high = np.take(nodes, wall - 1, axis), np.take(nodes, wall, axis)
            join_planes(parent, low, high, connectivity == FULL)
    root = roots(parent)
    return np.where(phase, root[nodes], 0)


def same_up_to_names(found, wanted):
    pairs = np.unique(np.stack([found.ravel(), wanted.ravel()]), axis=1)
    assert np.unique(pairs[0]).size == np.unique(pairs[1]).size == pairs.shape[1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(2, 12)] * 3),
    block=st.tuples(*[st.integers(1, 6)] * 3),
    share=st.sampled_from([0.05, 0.15, 0.3, 0.6]),
    connectivity=st.sampled_from([FULL, FACES]),
)
def test_joined_blocks_are_the_whole(seed, shape, block, share, connectivity):
    phase = np.random.default_rng(seed).random(shape) < share
    wanted, _ = ndimage.label(phase, STRUCTURE[connectivity])
    same_up_to_names(joined(phase, Grid(shape, block), connectivity), wanted)


def test_the_walls_of_that_test_cut_components():
    phase = np.random.default_rng(1).random((12, 12, 12)) < 0.15
    for connectivity in (FULL, FACES):
        grid = Grid(phase.shape, (4, 4, 4))
        whole = ndimage.label(phase, STRUCTURE[connectivity])[1]
        parts = sum(ndimage.label(phase[box.slices], STRUCTURE[connectivity])[1] for box in grid)
        assert whole > 1
        assert parts > whole + 10


@pytest.mark.parametrize("connectivity", [FULL, FACES])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 1), (7, 1, 1), (1, 1, 1), (1, 5, 5), (3, 3, 3)])
def test_as_many_components_as_there_can_be(shape, connectivity):
    phase = np.zeros(shape, bool)
    phase[::2, ::2, ::2] = True
    labels, verdict, _ = small_components(phase, None, 5, connectivity, (False,) * 6)
    same_up_to_names(labels, ndimage.label(phase, STRUCTURE[connectivity])[0])
    assert len(verdict) == 1 + phase.sum()


@pytest.mark.parametrize("step", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])
def test_diagonals_over_block_edges_and_corners(step):
    phase = np.zeros((4, 4, 4), bool)
    start = tuple(1 if s >= 0 else 2 for s in step)
    phase[start] = phase[tuple(a + s for a, s in zip(start, step, strict=True))] = True
    grid = Grid(phase.shape, (2, 2, 2))
    assert len({number for number, box in enumerate(grid) if phase[box.slices].any()}) == 2
    assert np.unique(joined(phase, grid, FULL)).size == 2
    assert np.unique(joined(phase, grid, FACES)).size == 3


def test_large_is_a_node_of_its_own():
    parent = np.arange(4)
    low = np.array([[1, LARGE, 2]])
    high = np.array([[3, ABSENT, LARGE]])
    join_planes(parent, low, high, False)
    assert roots(parent).tolist() == [0, 1, 0, 1]


def test_long_chains_end_in_one_root():
    parent = np.arange(1001)
    for a, b in pairwise(range(1, 1001)):
        join_planes(parent, np.array([[b]]), np.array([[a]]), False)
    assert set(roots(parent)[1:]) == {1}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    limit=st.integers(-1, 30),
    connectivity=st.sampled_from([FULL, FACES]),
    inner=st.tuples(*[st.booleans()] * 6),
    keeps=st.booleans(),
)
def test_verdicts_of_one_block(seed, shape, limit, connectivity, inner, keeps):
    rng = np.random.default_rng(seed)
    phase = rng.random(shape) < 0.4
    keep = phase & (rng.random(shape) < 0.05) if keeps else None
    labels, verdict, sizes = small_components(phase, keep, limit, connectivity, inner)
    same_up_to_names(labels, ndimage.label(phase, STRUCTURE[connectivity])[0])
    assert verdict[0] == 0
    faces = [np.take(labels, end, axis) for axis in range(3) for end in (0, -1)]
    waiting = 0
    for name in range(1, labels.max() + 1):
        own = labels == name
        large = own.sum() > limit or (keep is not None and bool((own & keep).any()))
        goes_on = any((face == name).any() for face, has in zip(faces, inner, strict=True) if has)
        if large:
            assert verdict[name] == LARGE
        elif goes_on:
            waiting += 1
            assert verdict[name] == waiting
            assert sizes[waiting - 1] == own.sum()
        else:
            assert verdict[name] == -1
    assert len(sizes) == waiting
    codes = face_codes(labels, verdict, inner)
    assert list(codes) == [side for side, has in zip(SIDES, inner, strict=True) if has]
    for side, face, has in zip(SIDES, faces, inner, strict=True):
        if has:
            assert codes[side].min() >= ABSENT
            np.testing.assert_array_equal(codes[side] == ABSENT, face == 0)
            np.testing.assert_array_equal(codes[side][face > 0], verdict[face[face > 0]])


@pytest.mark.parametrize("block", [(3, 2, 5), (1, 4, 5), (9, 9, 9)])
def test_sides_with_a_neighbour(block):
    grid = Grid((3, 4, 5), block)
    for number, box in enumerate(grid):
        for side, (axis, after) in zip(
            inner_sides(grid, number), ((a, e) for a in range(3) for e in (0, 1)), strict=True
        ):
            ends = [list(box.start), list(box.stop)]
            if after:
                ends[0][axis], ends[1][axis] = box.stop[axis], box.stop[axis] + 1
            else:
                ends[0][axis], ends[1][axis] = box.start[axis] - 1, box.start[axis]
            beyond = Box(three(ends[0]), three(ends[1]))
            assert side == (beyond.intersect(Box.whole(grid.shape)) is not None)
