from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from crackdask.kernels.block_matching import (
    MARGIN,
    settle,
    shrink,
    smooth,
    whole_shift,
)
from crackdask.kernels.consensus import affine, agree, rigid
from crackdask.kernels.masked_correlation import correlate, padded_shape, spectra


def texture(shape, seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return (100 * ndimage.gaussian_filter(noise, 1.5)).astype(np.float32)


def test_shrink_is_the_mean_of_the_valid_voxels_of_a_bin():
    random = np.random.default_rng(0)
    grey = random.integers(0, 60000, (7, 8, 9)).astype(np.uint16)
    valid = random.random(grey.shape) < 0.6
    factor = (2, 3, 4)
    found, kept = shrink(grey, valid, factor)
    assert found.shape == (3, 2, 2)
    assert 0 < kept.sum() < kept.size
    for index in np.ndindex(found.shape):
        part = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))
        assert kept[index] == (valid[part].mean() >= 0.5)
        wanted = grey[part][valid[part]].mean() if kept[index] else 0
        assert found[index] == pytest.approx(wanted, rel=1e-6)


def test_smooth_keeps_away_from_invalid_voxels():
    grey, valid = texture((12, 12, 12)), np.ones((12, 12, 12), bool)
    valid[:, :, 8:] = False
    spoilt = np.where(valid, grey, np.float32(1e6))
    blurred, kept = smooth(spoilt, valid)
    assert 0 < kept.sum() < valid.sum()
    expected = ndimage.gaussian_filter(grey, 1.0, truncate=3.0, mode="nearest")
    np.testing.assert_allclose(blurred[kept], expected[kept], atol=0.1 * grey.std())
    assert not kept[..., 8:].any()


@pytest.mark.parametrize(
    ("low", "high"), [((-1, -2, -1), (3, 2, 2)), ((-1, -2, -1), (1, 2, 2)), ((-1, 2, -1), (3, 3, 2))]
)
def test_masked_correlation_is_that_of_a_plain_loop(low, high):
    """The best shift is one of those that may be, also where a better one lies just beside them."""
    random = np.random.default_rng(2)
    fixed, moving = texture((6, 7, 8), 1), texture((8, 9, 9), 2)
    moving[2:, 1:8, :8] = 3 * fixed[:6, :7, :8] + 20
    fixed_valid, moving_valid = (random.random(v.shape) < 0.8 for v in (fixed, moving))
    padded = padded_shape((11, 11, 11))
    found, score = correlate(
        spectra(fixed, fixed_valid, padded), spectra(moving, moving_valid, padded), padded, low, high, 60
    )
    scores = {}
    for shift in np.ndindex(*(b - a + 1 for a, b in zip(low, high, strict=True))):
        shift = tuple(np.add(shift, low).tolist())
        here, there = [], []
        for index in np.ndindex(fixed.shape):
            at = np.add(index, shift)
            if (at < 0).any() or (at >= moving.shape).any():
                continue
            if fixed_valid[index] and moving_valid[tuple(at)]:
                here.append(fixed[index])
                there.append(moving[tuple(at)])
        if len(here) >= 60:
            scores[shift] = np.corrcoef(here, there)[0, 1]
    best = max(scores, key=scores.__getitem__)
    assert found == best
    assert (best == (2, 1, 0)) == (low[1] < 1 and high[0] > 1)
    assert score == pytest.approx(scores[best], abs=1e-5)


def test_whole_shift_of_a_template_cut_from_a_wider_volume():
    wide, reach = texture((40, 42, 44), 4), 6
    template = 0.5 * wide[8:32, 4:30, 9:35] + 7
    template += np.random.default_rng(0).normal(size=template.shape).astype(np.float32) * template.std()
    held = np.ones((36, 38, 38), bool)
    held[:, :, 30:] = False  # part of the scan is missing
    around = np.where(held, wide[4:40, 2:40, 4:42], 0)
    found = whole_shift(template, np.ones(template.shape, bool), around, held, reach)
    np.testing.assert_array_equal(found, (8 - 4 - reach, 4 - 2 - reach, 9 - 4 - reach))


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.3, -0.4, 0.5), (1.25, -1.5, 0.75), (-2.6, 0.1, 2.7)])
def test_settled_shift_of_a_fourier_shifted_texture(shift):
    wide = texture((64, 64, 64), 4)
    template = wide[16:48, 16:48, 16:48]
    spectrum = ndimage.fourier_shift(np.fft.fftn(wide), shift)
    moved = (0.5 * np.fft.ifftn(spectrum).real + 7).astype(np.float32)
    part = (slice(16 - MARGIN, 48 + MARGIN),) * 3
    around, valid = moved[part], np.ones(moved[part].shape, bool)
    valid[:, :, 32:] = False  # part of the scan is missing
    found = settle(template, np.ones(template.shape, bool), np.where(valid, around, 0), valid)
    assert found is not None
    np.testing.assert_allclose(found.shift, shift, atol=0.01)
    assert found.correlation > 0.99
    assert found.variance < 0.01
    assert 14 < found.middle[0] < 17
    assert 10 < found.middle[2] < 14, "of the voxels that were used"


def test_a_shift_that_runs_away_is_not_believed():
    wide = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(64, 64, 64)), 4).astype(np.float32) * 1000
    part = (slice(12, 56),) * 3
    template, valid = wide[21:57, 16:52, 16:52], np.ones((44, 44, 44), bool)
    assert settle(template, np.ones(template.shape, bool), wide[part], valid) is None


def test_a_wall_leaves_its_own_plane_unsettled():
    wall = np.zeros((40, 40, 40), np.float32)
    wall[:, :, 20:] = 100
    wall += np.random.default_rng(0).normal(size=wall.shape).astype(np.float32)
    template = wall[4:36, 4:36, 4:36] + np.random.default_rng(1).normal(size=(32, 32, 32))
    valid = np.ones(wall.shape, bool)
    found = settle(template.astype(np.float32), valid[4:36, 4:36, 4:36], ndimage.shift(wall, (0, 0, 1)), valid)
    # The variance says so, or the step ran away along the wall.
    assert found is None or found.variance > 1e-3


def test_rigid_and_affine_recover_points_exactly():
    random = np.random.default_rng(0)
    source, weights = random.uniform(0, 50, (12, 3)), random.uniform(0.2, 1, 12)
    turn = Rotation.from_euler("zyx", (4, -3, 2), degrees=True).as_matrix()
    goal = source @ turn.T + (1, 2, 3)
    for solve in (rigid, affine):
        found = solve(source, goal, weights)
        np.testing.assert_allclose(found[:3, :3], turn, atol=1e-10)
        np.testing.assert_allclose(found[:3, 3], (1, 2, 3), atol=1e-8)
    stretched = rigid(source, goal * (1, 1, -1), weights)  # a mirror is no rotation
    assert np.linalg.det(stretched[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize(("kind", "least"), [("rigid", 3), ("affine", 4)])
def test_as_few_points_as_settle_a_transform_do(kind, least):
    source = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])[:least]
    found = agree(
        source, np.add(source, (1, 2, 3)), np.ones(len(source)), np.ones(3), kind=kind, least_scale=0.1, seed=1
    )
    np.testing.assert_allclose(found.matrix @ (2, 3, 4, 1), (3, 5, 7, 1), atol=1e-9)
    assert (found.weight > 0.99).all()


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_agreement_outvotes_wild_points(kind):
    random = np.random.default_rng(1)
    source = random.uniform(0, 100, (40, 3))
    edges = np.array([2.0, 1.0, 1.0])
    goal = np.add(source, (1, -2, 3)) + random.normal(0, 0.01, source.shape)
    goal[:12] += random.uniform(3, 9, (12, 3))
    found = agree(source, goal, np.ones(40), edges, kind=kind, least_scale=0.02, seed=1)
    assert (found.weight[:12] == 0).all()
    assert (found.weight[12:] > 0).all()
    np.testing.assert_allclose(found.distance[:12] > 1, True)
    landed = source @ found.matrix[:3, :3].T + found.matrix[:3, 3]
    np.testing.assert_allclose(landed, np.add(source, (1, -2, 3)), atol=0.05)
