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
    BACKGROUND,
    BEYOND,
    FACES,
    FULL,
    LARGE,
    SIDES,
    SOLID,
    flip,
    inner_sides,
    join_planes,
    settle,
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
    voxels = np.zeros(shape, np.uint8)
    voxels[::2, ::2, ::2] = SOLID
    for limit, left in ((1, 0), (0, np.count_nonzero(voxels))):
        settled = voxels.copy()
        settle(settled, True, limit, connectivity, (False,) * 6)
        assert np.count_nonzero(settled) == left


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


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    limit=st.integers(-1, 30),
    connectivity=st.sampled_from([FULL, FACES]),
    inner=st.tuples(*[st.booleans()] * 6),
    solid=st.booleans(),
    share=st.sampled_from([0.2, 0.4, 0.8]),
)
def test_what_one_block_judges(seed, shape, limit, connectivity, inner, solid, share):
    rng = np.random.default_rng(seed)
    voxels = (rng.random(shape) < share).astype(np.uint8)
    voxels[rng.random(shape) < 0.03] = BEYOND
    phase = (voxels == SOLID) == solid
    labels, count = ndimage.label(phase, STRUCTURE[connectivity])
    faces = [np.take(labels, end, axis) for axis in range(3) for end in (0, -1)]
    found, wanted = voxels.copy(), voxels.copy()
    settled = settle(found, solid, limit, connectivity, inner)
    assert list(settled.sides) == [side for side, has in zip(SIDES, inner, strict=True) if has]
    codes = {}
    for name in range(1, count + 1):
        own = labels == name
        at_edge = any((face == name).any() for face, has in zip(faces, inner, strict=True) if not has)
        goes_on = any((face == name).any() for face, has in zip(faces, inner, strict=True) if has)
        if own.sum() > limit or (not solid and (at_edge or (voxels[own] == BEYOND).any())):
            codes[name] = LARGE
        elif goes_on:
            (place,) = np.flatnonzero(own.reshape(-1)[settled.at]).tolist()
            codes[name] = place + 1
            assert settled.sizes[codes[name] - 1] == own.sum()
        else:
            wanted[own] = BACKGROUND if solid else SOLID
    np.testing.assert_array_equal(found, wanted)
    assert sorted(code for code in codes.values() if code) == list(range(1, settled.sizes.size + 1))
    for side, face, has in zip(SIDES, faces, inner, strict=True):
        if has:
            told = [[codes[name] if name else ABSENT for name in line] for line in face]
            np.testing.assert_array_equal(settled.sides[side], told)
    for name, code in codes.items():
        if code:
            wanted[labels == name] = BACKGROUND if solid else SOLID
    flip(found, settled.at, solid, limit, connectivity)
    np.testing.assert_array_equal(found, wanted)


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
