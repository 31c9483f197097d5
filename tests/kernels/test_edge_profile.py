"""Lines through flat surfaces: against a plain loop, and independent of the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.arrays import Array
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels.edge_profile import GROUPS, REACH, edge_profile


def plain(label: Array, grey: Array) -> Array:
    """Return the sums by the definition, one voxel and one direction after the other."""
    sums, cube = np.zeros((GROUPS, 1 + 2 * REACH), np.int64), 16

    def at(volume: Array, place: Any) -> int | None:
        inside = all(0 <= p < n for p, n in zip(place, volume.shape, strict=True))
        return int(volume[tuple(place)]) if inside else None

    for place in np.argwhere(label):
        particle = at(label, place)
        for axis in range(3):
            for side in (-1, 1):
                out = np.zeros(3, int)
                out[axis] = side
                beside = [way * np.eye(3, dtype=int)[a] for a in range(3) if a != axis for way in (-1, 1)]
                if any(at(label, place + b) != particle or at(label, place + b + out) != 0 for b in beside):
                    continue
                line = [place + k * out for k in range(1 - REACH, REACH + 1)]
                if [at(label, p) for p in line] != [particle] * REACH + [0] * REACH:
                    continue
                levels = [at(grey, p) for p in line]
                if 0 not in levels:
                    sums[sum(int(p) // cube for p in place) % GROUPS] += [1, *levels]
    return sums


def boxes(seed: int, shape: Triple) -> tuple[Array, Array]:
    """Return cuboids, touching and apart, with noisy grey levels and a corner outside the scan."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint32)
    for number in range(1, 7):
        low = [int(rng.integers(0, n - 5)) for n in shape]
        label[tuple(slice(p, p + int(rng.integers(4, 9))) for p in low)] = number
    grey = (rng.normal(60, 9, shape) + 80 * (label > 0)).clip(1, 255).astype(np.uint8)
    grey[:5, :6, :7] = 0
    return label, grey


def triple(volume: Array) -> Triple:
    return Box.whole(volume.shape).shape


def over_blocks(label: Array, grey: Array, block: Triple) -> Array:
    grid, sums = Grid(triple(label), block), np.zeros((GROUPS, 1 + 2 * REACH), np.int64)
    for box in grid:
        outer = box.grow(REACH, within=grid.shape)
        cut = label[outer.slices], grey[outer.slices]
        sums = sums + edge_profile(*cut, box.within(outer), outer.start, 0)
    return sums


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), block=st.tuples(*[st.integers(3, 30)] * 3))
def test_lines_are_those_of_a_plain_loop_in_any_blocks(seed: int, block: Triple) -> None:
    label, grey = boxes(seed, (19, 23, 34))
    expected = plain(label, grey)
    if Grid(triple(label), block).counts == (1, 1, 1):
        block = (7, 9, 11)
    np.testing.assert_array_equal(over_blocks(label, grey, block), expected)


def test_walls_of_blocks_cut_through_lines() -> None:
    label, grey = boxes(0, (19, 23, 34))
    lines = plain(label, grey)
    assert lines[:, 0].sum() > 100
    assert np.count_nonzero(lines[:, 0]) >= 3
    apart = sum(edge_profile(label[b.slices], grey[b.slices], Box.whole(b.shape).slices, b.start, 0).sum()
                for b in Grid(triple(label), (7, 9, 11)))  # fmt: skip
    assert apart < lines.sum(), "without a halo no line would be lost"


@pytest.mark.parametrize("spoil", ["outside", "other particle", "not flat", "edge"])
def test_what_makes_no_line(spoil: str) -> None:
    label = np.zeros((3, 3, 8), np.uint32)
    label[..., :4] = 1
    grey = np.full(label.shape, 50, np.uint8)
    own = Box.whole(triple(label)).slices
    assert edge_profile(label, grey, own, (0, 0, 0), 0)[:, 0].sum() == 1
    if spoil == "outside":
        grey[1, 1, 6] = 0
    elif spoil == "other particle":
        label[1, 1, 6] = 2
    elif spoil == "not flat":
        label[0, 1, 4] = 1
    else:
        label, grey, own = label[..., :6], grey[..., :6], Box.whole((3, 3, 6)).slices
    assert edge_profile(label, grey, own, (0, 0, 0), 0)[:, 0].sum() == 0
