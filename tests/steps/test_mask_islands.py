"""Islands and holes of a mask are judged by their whole size, however many blocks they go through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from crackdask.steps.mask import MaskParams
from tests.support.masked import FACES, cut, found, grey


@pytest.mark.parametrize("block", [None, (4, 5, 6)])
def test_islands_and_holes_are_those_of_scikit_image(block):
    from skimage.measure import label as skimage_label

    phase = grey((18, 20, 22), 5, sd=0.8, noise=0.0, outside=False) > 125
    voxels = np.where(phase, 200, 50).astype(np.uint8)
    labels = skimage_label(phase, connectivity=3)
    wanted = phase & (np.bincount(labels.ravel())[labels] >= 12)
    assert 0 < wanted.sum() < phase.sum()
    bare: dict[str, Any] = {"opening": 0, "closing": 0}
    got = found(voxels, MaskParams(min_island=12, max_hole=0, **bare), block=block)
    np.testing.assert_array_equal(got, wanted)
    background = skimage_label(~phase, connectivity=1)
    small = ~phase & (np.bincount(background.ravel())[background] <= 9)
    rim = np.ones(phase.shape, bool)
    rim[1:-1, 1:-1, 1:-1] = False
    enclosed = small & ~np.isin(background, np.unique(background[rim]))
    assert 0 < enclosed.sum() < small.sum()
    got = found(voxels, MaskParams(min_island=0, max_hole=9, **bare), block=block)
    np.testing.assert_array_equal(got, phase | enclosed)


def snake(shape, bright=True):
    """Return a tube of one voxel that winds through the whole volume, and its length."""
    phase = np.zeros(shape, bool)
    for z in range(1, shape[0] - 1, 2):
        phase[z, 1:-1:2, 1:-1] = True
        for place, y in enumerate(range(2, shape[1] - 2, 2)):
            phase[z, y, -2 if place % 2 == 0 else 1] = True
    for place, z in enumerate(range(2, shape[0] - 2, 2)):
        phase[z, 1 if place % 2 == 0 else -2, 1] = True
    return phase


@pytest.mark.parametrize("block", [None, (3, 3, 3), (1, 15, 4), (5, 2, 15)])
def test_snakes_through_many_blocks_are_judged_by_their_whole_size(block):
    tube = snake((15, 15, 15))
    assert ndimage.label(tube, FACES)[1] == 1
    length = int(tube.sum())
    if block:
        assert cut(tube, block)
        assert (
            sum(ndimage.label(tube[z : z + 3, y : y + 3], FACES)[1] for z in range(0, 15, 3) for y in range(0, 15, 3))
            > 20
        )
    bare: dict[str, Any] = {"opening": 0, "closing": 0}
    island = np.where(tube, 200, 50).astype(np.uint8)
    for smallest, kept in ((length, True), (length + 1, False)):
        got = found(island, MaskParams(min_island=smallest, max_hole=0, **bare), block=block)
        np.testing.assert_array_equal(got, tube if kept else np.zeros_like(tube))
    hole = np.where(tube, 50, 200).astype(np.uint8)
    for largest, filled in ((length, True), (length - 1, False)):
        got = found(hole, MaskParams(min_island=0, max_hole=largest, **bare), block=block)
        np.testing.assert_array_equal(got, np.ones_like(tube) if filled else ~tube)


@pytest.mark.parametrize("block", [None, (3, 3, 3), (2, 9, 4)])
def test_a_hole_is_enclosed(block):
    params = MaskParams(opening=0, closing=0, min_island=0, max_hole=500)
    voxels = np.full((9, 9, 9), 200, np.uint8)
    voxels[4, 4, 2:7] = 50
    assert found(voxels, params, block=block).all()
    to_the_edge = voxels.copy()
    to_the_edge[4, 4, :3] = 50
    np.testing.assert_array_equal(found(to_the_edge, params, block=block), to_the_edge == 200)
    to_the_outside = voxels.copy()
    to_the_outside[4, 4, 7] = 0
    np.testing.assert_array_equal(found(to_the_outside, params, block=block), to_the_outside == 200)
    diagonal = voxels.copy()
    diagonal[4, 5, 7] = 0  # an edge is no way out: holes are 6-connected
    wanted = np.ones_like(diagonal, bool)
    wanted[4, 5, 7] = False
    np.testing.assert_array_equal(found(diagonal, params, block=block), wanted)


def test_islands_join_over_edges_and_corners():
    voxels = np.full((6, 6, 6), 50, np.uint8)
    voxels[2, 2, 2] = voxels[3, 3, 3] = voxels[4, 4, 3] = 200
    params: dict[str, Any] = {"opening": 0, "closing": 0, "max_hole": 0}
    assert found(voxels, MaskParams(min_island=3, **params), block=(3, 3, 3)).sum() == 3
    assert found(voxels, MaskParams(min_island=4, **params), block=(3, 3, 3)).sum() == 0


@pytest.mark.parametrize("other", [(3, 3, 2), (3, 2, 3), (2, 3, 3), (3, 1, 3), (3, 3, 1), (2, 3, 1), (3, 1, 1)])
def test_islands_join_over_every_edge_where_walls_meet(other):
    voxels = np.full((6, 6, 6), 50, np.uint8)
    voxels[2, 2, 2] = voxels[other] = 200
    params: dict[str, Any] = {"opening": 0, "closing": 0, "max_hole": 0}
    for block in ((3, 3, 3), (3, 2, 2), (1, 1, 1)):
        assert found(voxels, MaskParams(min_island=2, **params), block=block).sum() == 2
        assert found(voxels, MaskParams(min_island=3, **params), block=block).sum() == 0
