"""Boxes and grids: arithmetic against sets of voxels and painted arrays."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crackdask.grid import Box, Grid, check_single_writer, triple

triples = st.tuples(*[st.integers(1, 9)] * 3)


@st.composite
def boxes(draw, shape):
    """Draw a box with voxels inside a volume."""
    ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in shape]
    return Box(tuple(a for a, _ in ends), tuple(b for _, b in ends))


def voxels(box):
    return set(product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))


@given(shape=triples, block=triples)
def test_boxes_tile_the_volume_exactly_once(shape, block):
    grid = Grid(shape, block)
    painted = np.zeros(shape, int)
    for number, box in enumerate(grid):
        assert grid.number(grid.position(number)) == number
        assert all(0 < n <= b for n, b in zip(box.shape, block, strict=True))
        assert painted[box.slices].size == box.size
        painted[box.slices] += 1
    assert (painted == 1).all()
    assert len(grid) == np.prod(grid.counts) == number + 1


@given(shape=triples, block=triples)
def test_blocks_are_numbered_in_raster_order(shape, block):
    starts = [box.start for box in Grid(shape, block)]
    assert starts == sorted(starts)


@given(data=st.data(), shape=triples, halo=st.one_of(st.integers(0, 5), st.tuples(*[st.integers(0, 5)] * 3)))
def test_a_box_grows_up_to_the_edge_and_not_beyond(data, shape, halo):
    box = data.draw(boxes(shape))
    reach = triple(halo)
    near = {
        at
        for at in product(*map(range, shape))
        if all(a - h <= i < b + h for i, a, b, h in zip(at, box.start, box.stop, reach, strict=True))
    }
    assert voxels(box.grow(halo, within=shape)) == near
    assert box.grow(0, within=shape) == box


@given(data=st.data(), shape=triples)
def test_the_common_part_of_two_boxes(data, shape):
    one, other = data.draw(boxes(shape)), data.draw(boxes(shape))
    common = one.intersect(other)
    assert common == other.intersect(one)
    assert (voxels(common) if common else set()) == voxels(one) & voxels(other)


@given(data=st.data(), shape=triples)
def test_a_box_within_another(data, shape):
    outer = data.draw(boxes(shape))
    inner = data.draw(boxes(shape)).intersect(outer)
    assume(inner is not None)
    volume = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(volume[outer.slices][inner.within(outer)], volume[inner.slices])


@given(data=st.data(), shape=triples, block=triples)
def test_touching_blocks_are_those_that_share_voxels(data, shape, block):
    grid, box = Grid(shape, block), data.draw(boxes(shape))
    assert grid.touching(box) == [n for n, own in enumerate(grid) if own.intersect(box)]


@given(shape=triples, block=triples, chunk=triples)
def test_a_chunk_has_one_writer(shape, block, chunk):
    grid = Grid(shape, block)
    writers: dict[tuple[int, ...], set[int]] = {}
    for number, box in enumerate(grid):
        for at in voxels(box):
            writers.setdefault(tuple(i // c for i, c in zip(at, chunk, strict=True)), set()).add(number)
    shared = any(len(numbers) > 1 for numbers in writers.values())
    if shared:
        with pytest.raises(AssertionError, match="would share chunks"):
            check_single_writer(grid, chunk)
    elif all(b % c == 0 or b >= n for b, c, n in zip(block, chunk, shape, strict=True)):
        check_single_writer(grid, chunk)


@pytest.mark.parametrize(("shape", "block"), [((0, 4, 4), (2, 2, 2)), ((4, 4, 4), (2, 0, 2)), ((4, -1, 4), (1, 1, 1))])
def test_empty_volumes_and_blocks_are_refused(shape, block):
    with pytest.raises(ValueError, match="must be 1 or larger"):
        Grid(shape, block)


def test_the_whole_volume_is_a_box():
    assert Box.whole((3, 4, 5)) == Box((0, 0, 0), (3, 4, 5))
    assert Grid((3, 4, 5), (9, 9, 9)).box(0) == Box.whole((3, 4, 5))
    assert Box.whole((3, 4, 5)).slices == (slice(0, 3), slice(0, 4), slice(0, 5))
