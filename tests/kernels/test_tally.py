"""The counting kernels against plain numpy and brute force."""

from __future__ import annotations

from itertools import product

import edt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from crackdask.kernels.depth_in_mask import square_weights
from crackdask.kernels.depth_in_particles import squared_depth
from crackdask.kernels.surface import CELL_CLASS, CELL_MEMBER, cell_areas
from crackdask.kernels.tally import tally
from tests.support.threes import three


def cells_of_particles(seed, shape=(18, 21, 24), count=12, background=0.3):
    """Voronoi cells with some background: particles that touch, cut by the image border."""
    rng = np.random.default_rng(seed)
    points = np.argwhere(np.ones(shape, bool))
    centres = rng.random((count, 3)) * shape
    nearest = cdist(points, centres).argmin(axis=1)
    label = (nearest + 1).reshape(shape).astype(np.uint32)
    label[label <= background * count] = 0
    return label


def depth_by_brute_force(label, edges):
    padded = np.pad(label, 1)
    points = np.argwhere(np.ones(padded.shape, bool))
    names = padded.ravel()
    squared = np.zeros(names.size)
    for name in np.unique(names[names > 0]):
        inside = names == name
        squared[inside] = cdist(points[inside] * edges, points[~inside] * edges, "sqeuclidean").min(1)
    return squared.reshape(padded.shape)[1:-1, 1:-1, 1:-1]


def whole_depth(label, voxel_um, deepest):
    squared, unit = square_weights(voxel_um)
    core = three(slice(0, n) for n in label.shape)
    return squared_depth(label, core, ((True, True),) * 3, squared, unit, deepest), unit


def counted(label, grey=None, deepest=30):
    grey = np.ones(label.shape, np.uint8) if grey is None else grey
    depth, unit = whole_depth(label, (1.0, 1.0, 1.0), deepest)
    return tally(np.pad(label, 1), grey, None, depth, unit, (0, 0, 0), label.shape)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("deepest", [30, 200])  # 16 and 32 bits
def test_depth_equals_edt(seed, deepest):
    label = cells_of_particles(seed)
    depth, _ = whole_depth(label, (1.0, 1.0, 1.0), deepest)
    np.testing.assert_array_equal(depth, edt.edtsq(label, black_border=True))


@pytest.mark.parametrize("voxel_um", [(2.0, 1.0, 1.0), (0.3, 0.2, 0.2), (0.5, 1.0, 1.5)])
def test_depth_of_anisotropic_voxels_equals_brute_force(voxel_um):
    label = cells_of_particles(4, (9, 11, 10), 5)
    depth, unit = whole_depth(label, voxel_um, 40)
    expected = depth_by_brute_force(label, np.array(voxel_um) / min(voxel_um))
    np.testing.assert_allclose(depth / unit, expected, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), data=st.data())
def test_depth_in_a_window_equals_depth_in_the_whole(seed, data):
    label = cells_of_particles(seed)
    expected = edt.edtsq(label, black_border=True)
    deepest = int(np.ceil(np.sqrt(expected.max())))
    core, window, edges = [], [], []
    for n in label.shape:
        start = data.draw(st.integers(0, n - 1))
        stop = data.draw(st.integers(start + 1, n))
        low, high = max(0, start - deepest), min(n, stop + deepest)
        core.append(slice(start - low, stop - low))
        window.append(slice(low, high))
        edges.append((low == 0, high == n))
    given_label = np.ascontiguousarray(label[tuple(window)])
    depth = squared_depth(given_label, three(core), three(edges), (1, 1, 1), 1, deepest)
    whole = tuple(slice(w.start + c.start, w.start + c.stop) for w, c in zip(window, core, strict=True))
    np.testing.assert_array_equal(depth, expected[whole])


def test_depths_too_large_to_square_are_refused():
    with pytest.raises(ValueError, match="50000 voxels"):
        whole_depth(np.ones((2, 2, 2), np.uint32), (1.0, 1.0, 1.0), 50_000)


def test_depth_beyond_the_bound_shows():
    label = np.ones((21, 21, 21), np.uint32)
    depth, _ = whole_depth(label, (1.0, 1.0, 1.0), 6)
    expected = edt.edtsq(label, black_border=True)
    exact = expected <= 36
    np.testing.assert_array_equal(depth[exact], expected[exact])
    assert (depth[~exact] > 36).all()


def test_configurations_of_a_class_have_the_same_number_of_differing_pairs():
    assert CELL_MEMBER.size == len(np.unique(CELL_CLASS)) == 30
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    cube = bits.reshape(256, 2, 2, 2)
    for axis in (1, 2, 3):
        differ = np.abs(np.diff(cube, axis=axis)).sum(axis=(1, 2, 3))
        np.testing.assert_array_equal(differ, differ[CELL_MEMBER[CELL_CLASS]])


@pytest.mark.parametrize("seed", range(3))
def test_cells_equal_configurations_by_numpy(seed):
    label = cells_of_particles(seed)
    found = counted(label)
    padded = np.pad(label, 1)
    for row, name in enumerate(found["ids"]):
        inside = padded == name
        configuration = np.zeros([n - 1 for n in padded.shape], int)
        for bit, corner in enumerate(product((0, 1), repeat=3)):
            at = tuple(slice(c, c + n - 1) for c, n in zip(corner, padded.shape, strict=True))
            configuration |= inside[at].astype(int) << bit
        expected = np.bincount(CELL_CLASS[configuration[configuration > 0]], minlength=30)
        # a cell that lies wholly inside has no surface, and is not counted
        expected[0] -= np.count_nonzero(configuration == 255)
        np.testing.assert_array_equal(found["cells"][row], expected)


def contacts_by_numpy(label):
    pairs: dict[tuple[int, int], list[int]] = {}
    for axis in range(3):
        low = np.moveaxis(label, axis, 0)[:-1].ravel()
        high = np.moveaxis(label, axis, 0)[1:].ravel()
        met = (low != high) & (low > 0) & (high > 0)
        for a, b in np.sort(np.stack([low[met], high[met]], axis=1), axis=1).tolist():
            pairs.setdefault((a, b), [0, 0, 0])[axis] += 1
    return dict(sorted(pairs.items()))


def assert_contacts(found, label):
    expected = contacts_by_numpy(label)
    named = zip(found["contact_a"].tolist(), found["contact_b"].tolist(), strict=True)
    assert list(named) == list(expected)
    np.testing.assert_array_equal(found["contact_faces"], list(expected.values()))


@pytest.mark.parametrize("seed", range(3))
def test_contacts_equal_differences_by_numpy(seed):
    label = cells_of_particles(seed)
    assert_contacts(counted(label), label)


def test_tables_grow_with_ids_and_pairs():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2**32, (24, 24, 24), dtype=np.uint32)  # every voxel a particle
    found = counted(label)
    np.testing.assert_array_equal(found["ids"], np.unique(label[label > 0]))
    assert_contacts(found, label)
    few = rng.integers(1, 1000, (40, 40, 40)).astype(np.uint32)  # far more pairs than particles
    assert_contacts(counted(few), few)


def test_ids_up_to_the_last():
    label = np.zeros((3, 3, 6), np.uint32)
    label[1, 1, 1:3] = 2**32 - 1
    label[1, 1, 3:5] = 7
    found = counted(label)
    assert found["ids"].tolist() == [7, 2**32 - 1]
    assert (found["contact_a"].tolist(), found["contact_b"].tolist()) == ([7], [2**32 - 1])
    assert found["contact_faces"].tolist() == [[0, 0, 1]]


def test_an_empty_block_has_an_empty_tally():
    found = counted(np.zeros((4, 5, 6), np.uint32))
    assert found["ids"].size == found["grey_level"].size == found["contact_a"].size == 0
    assert found["grey_start"].tolist() == found["shell_start"].tolist() == [0]


def test_a_tally_is_small():
    label = cells_of_particles(0, (40, 40, 40), 30)
    grey = np.random.default_rng(0).integers(1, 256, label.shape).astype(np.uint8)
    found = counted(label, grey)
    per_particle = sum(column.nbytes for column in found.values()) / found["ids"].size
    assert per_particle < 2500  # 256 different grey levels are 1280 of them


@pytest.mark.parametrize("voxel_um", [(1.0, 1.0, 1.0), (1.5, 1.0, 1.0), (2.0, 1.0, 0.7)])
def test_weights_have_no_bias_over_the_orientations_of_a_plane(voxel_um):
    areas = np.array(cell_areas(voxel_um))
    assert areas[0] == 0
    assert (areas[1:] > 0).all()
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(100_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    corners = np.array(list(product((0, 1), repeat=3))) * voxel_um
    height = normals @ corners.T
    order = np.argsort(height, axis=1)
    gaps = np.diff(np.take_along_axis(height, order, axis=1), axis=1)
    below = np.cumsum(1 << order, axis=1)[:, :-1]
    estimate = (areas[CELL_CLASS[below]] * gaps).sum(axis=1) / np.prod(voxel_um)
    assert abs(estimate.mean() - 1) < 5e-4


def test_weights_scale_with_the_voxel():
    one = np.array(cell_areas((1.0, 1.0, 1.5)))
    np.testing.assert_allclose(cell_areas((0.5, 0.5, 0.75)), one / 4, rtol=1e-9)
