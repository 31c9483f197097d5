"""Ellipsoids in closed form: against points counted one by one, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.phantom.ellipsoids import Ellipsoids, packed


@pytest.fixture(scope="module")
def few() -> Ellipsoids:
    found = packed(3, 12, 20, 16, (4, 7))
    assert 6 <= len(found.centres) <= 12
    return found


def inside(few: Ellipsoids, points: np.ndarray) -> np.ndarray:
    """Return in how many ellipsoids each point (..., 3) is."""
    offsets = points[..., None, :] - few.centres
    return (np.einsum("...ei,eij,...ej->...e", offsets, few.forms, offsets) <= 1).sum(axis=-1)


def test_paths_are_those_of_points_along_each_ray(few):
    degrees, center, step = np.array([0.0, 33.0, 90.0, 150.0]), 24.3, 0.02
    seen = few.projections(degrees, np.array([1.0]), 50, center, fine=1)[0]
    along = np.arange(-25, 25, step)
    for p, angle in enumerate(np.radians(degrees)):
        across = np.arange(50) - center
        x = across[:, None] * np.cos(angle) - along * np.sin(angle)
        y = across[:, None] * np.sin(angle) + along * np.cos(angle)
        walked = inside(few, np.stack([np.ones_like(x), y, x], axis=-1)).sum(axis=1) * step
        assert walked.max() > 5
        np.testing.assert_allclose(seen[p], walked, atol=4 * step)


def test_voxels_are_the_share_of_points_inside(few):
    size = 45
    voxels = few.slices(np.array([2.0]), size, fine=2)[0]
    at = (np.arange(2 * size) + 0.5) / 2 - 0.5 - (size - 1) / 2
    points = np.stack(np.meshgrid([1.75, 2.25], at, at, indexing="ij"), axis=-1)
    wanted = inside(few, points).reshape(2, size, 2, size, 2).mean(axis=(0, 2, 4))
    assert 0.05 < wanted.mean() < 0.9
    np.testing.assert_allclose(voxels, wanted, atol=1e-6)


def test_every_projection_holds_all_of_a_slice(few):
    sums = few.projections(np.arange(0.0, 180.0, 20.0), np.array([0.0]), 60, 29.5)[0].sum(axis=1)
    np.testing.assert_allclose(sums, few.slices(np.array([0.0]), 60).sum(), rtol=0.01)


def test_packed_ellipsoids_do_not_overlap(few):
    points = np.random.default_rng(0).uniform(-20, 20, (20_000, 3))
    assert set(np.unique(inside(few, points)).tolist()) == {0, 1}


def test_a_seed_makes_the_same_again(few):
    again = packed(3, 12, 20, 16, (4, 7))
    np.testing.assert_array_equal(few.forms, again.forms)
    assert not np.array_equal(packed(4, 12, 20, 16, (4, 7)).centres[:2], few.centres[:2])
