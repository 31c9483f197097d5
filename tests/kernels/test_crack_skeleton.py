"""Crack voxels, their skeletons and graphs against plain loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import skeletonize

from crackdask.analysis.cracks import trace
from crackdask.kernels import crack_skeleton

UNIT = (1, 1, 1), 1


EDGES = (0.5, 0.5, 0.5)


def plain_graph(skeleton):
    """Return steps by direction, branch points and end points, voxel by voxel."""
    there = {tuple(p) for p in np.argwhere(skeleton).tolist()}
    steps, degree = np.zeros(len(crack_skeleton.STEPS), int), dict.fromkeys(there, 0)
    known = {tuple(step): k for k, step in enumerate(crack_skeleton.STEPS.tolist())}
    for p in there:
        for move in product((-1, 0, 1), repeat=3):
            q = tuple(a + b for a, b in zip(p, move, strict=True))
            if move == (0, 0, 0) or q not in there:
                continue
            box = set(product(*(sorted({a, b}) for a, b in zip(p, q, strict=True))))
            if (box & there) == {p, q}:
                degree[p] += 1
                steps[known.get(move, 0)] += move in known
    count = list(degree.values())
    return steps, sum(d >= 3 for d in count), sum(d == 1 for d in count)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.02, 0.4))
def test_graph_is_that_of_a_plain_loop(seed, share):
    skeleton = np.pad(np.random.default_rng(seed).random((5, 6, 7)) < share, 1)
    steps, branches, ends = crack_skeleton.graph(skeleton)
    wanted = plain_graph(skeleton)
    np.testing.assert_array_equal(steps, wanted[0])
    assert (branches, ends) == wanted[1:]


def test_a_line_a_corner_and_a_fork():
    line = np.zeros((3, 3, 12), bool)
    line[1, 1, 1:11] = True
    steps, branches, ends = crack_skeleton.graph(line)
    assert (int(steps[2]), int(steps.sum()), branches, ends) == (9, 9, 0, 2)
    corner = np.zeros((3, 4, 4), bool)
    corner[1, 1, 1] = corner[1, 1, 2] = corner[1, 2, 2] = True
    steps, branches, ends = crack_skeleton.graph(corner)
    assert (int(steps[1]), int(steps[2]), int(steps.sum()), ends) == (1, 1, 2, 2)  # the corner is not cut
    line[1, 2, 5] = True
    assert crack_skeleton.graph(np.pad(line, 1))[1:] == (1, 3)


@pytest.mark.parametrize("bright", [True, False])
def test_crack_voxels_are_those_of_a_plain_loop(bright):
    rng = np.random.default_rng(3)
    grid = np.indices((15, 17, 16)) - 7.5
    mine = (grid**2).sum(axis=0) <= 49
    grey = rng.integers(1, 255, mine.shape).astype(np.uint8)
    grey[7, 8, 8] = 0  # outside the scan
    depth = np.rint(ndimage.distance_transform_edt(np.pad(mine, 1))[1:-1, 1:-1, 1:-1]).astype(int)
    limits = np.where(np.arange(depth.max() + 1) * 2 > depth.max(), 120.0 + np.arange(depth.max() + 1), np.nan)
    found = crack_skeleton.cracks(grey, mine, limits, bright, *UNIT)
    wanted = np.zeros(mine.shape, bool)
    for p in np.argwhere(mine & (grey > 0)).tolist():
        near = [grey[tuple(p)]] * 2
        for axis, side in product(range(3), (-1, 1)):
            q = list(p)
            q[axis] += side
            if all(0 <= a < n for a, n in zip(q, mine.shape, strict=True)) and mine[tuple(q)] and grey[tuple(q)]:
                near.append(grey[tuple(q)])
        mean, limit = np.mean(near, dtype=float), limits[depth[tuple(p)]]
        wanted[tuple(p)] = mean < limit if bright else mean > limit
    assert 0 < wanted.sum() < mine.sum() / 2
    np.testing.assert_array_equal(found.crack, wanted)
    exact = ndimage.distance_transform_edt(np.pad(wanted, 1))[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(np.sqrt(found.squared), exact)
    assert (found.skeleton <= found.crack).all()
    assert found.skeleton.any()


def cracks_of_mask(mask: np.ndarray) -> crack_skeleton.Cracks:
    """Return the cracks of a block with dark voxels, of which those alone among bright ones are none."""
    mine = np.ones(mask.shape, bool)
    grey = np.where(mask, 10, 200).astype(np.uint8)
    return crack_skeleton.cracks(grey, mine, np.full(max(mask.shape), 115.0), True, *UNIT)


def test_a_crack_that_thinning_takes_away_keeps_its_deepest_voxel():
    mask = np.zeros((20, 21, 24), bool)
    mask[8:12, 8:12, 8:12] = True  # of a cube of four, nothing is left
    found = cracks_of_mask(mask)
    np.testing.assert_array_equal(found.crack, mask)
    assert not skeletonize(np.pad(found.crack, 1), method="lee").any()
    assert [tuple(p) for p in np.argwhere(found.skeleton).tolist()] == [(9, 9, 9)]  # the first of eight
    row, _ = trace(np.where(mask, 10, 200).astype(np.uint8), np.ones(mask.shape, bool), np.full(24, 115.0), True, EDGES)
    depth = ndimage.distance_transform_edt(found.crack).max()
    assert (row["skeleton_voxels"], row["skeleton_length_um"], row["end_points"]) == (1, 0.0, 0)
    assert row["thickness_mean_um"] == row["thickness_max_um"] == pytest.approx((2 * depth - 1) * 0.5)
    mask[8:12, 8:12, 15:20] = True  # another beside it, and a sheet that keeps its own
    mask[15:18, 3:18, 3:20] = True
    both = cracks_of_mask(mask)
    part, count = ndimage.label(both.crack, np.ones((3, 3, 3)))
    assert count == 3
    assert set(part[both.skeleton]) == {1, 2, 3}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.7))
def test_every_crack_has_a_skeleton_and_none_is_joined(seed, share):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(9, 8, 10)), 0.8)
    found = cracks_of_mask(field > np.quantile(field, 1 - share))
    part, count = ndimage.label(found.crack, np.ones((3, 3, 3)))
    assert (found.skeleton <= found.crack).all()
    assert [ndimage.label(found.skeleton & (part == k), np.ones((3, 3, 3)))[1] for k in range(1, count + 1)] == (
        [1] * count
    )


def test_the_rim_is_that_of_a_blurred_ball():
    radius, spread = 12.0, 2.0
    z, y, x = np.ogrid[:50, :49, :49]
    away = np.sqrt((z - 24.5) ** 2 + (y - 24) ** 2 + (x - 24) ** 2)
    blurred = ndimage.gaussian_filter(np.clip(radius + 0.5 - away, 0, 1), spread)
    missing = crack_skeleton.rim_shape(13, np.array([radius]), spread)[0]
    along = 1 - blurred[12:25, 24, 24]
    np.testing.assert_allclose(missing[3:], along[3:], atol=0.01)
    assert missing[3] > 0.1
