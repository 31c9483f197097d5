"""Registration of two small volumes: known motions, what does not count, what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from SimpleITK import ProcessObject

from crackdask.kernels.itk_registration import Picture, register_level

SHAPE = (36, 44, 48)
OPTIONS = {"samples": 40_000, "iterations": 100, "seed": 1}


def motion(degrees, shift, spacing=(1.0, 1.0, 1.0)):
    """Return a physical turn about the middle of the field and a shift."""
    middle = (np.array(SHAPE) - 1) / 2 * spacing
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + shift
    return matrix


def pair(matrix, spacing=(1.0, 1.0, 1.0), noise=0.0):
    """Return two float volumes of one texture, the second as the matrix moves it."""
    random = np.random.default_rng(3)
    wide = 100 * ndimage.gaussian_filter(random.normal(size=np.array(SHAPE) + 40), 2 / np.array(spacing))
    edges = np.array(spacing)
    lattice = np.moveaxis(np.indices(SHAPE), 0, -1) * edges
    back = np.linalg.inv(matrix)
    places = (lattice @ back[:3, :3].T + back[:3, 3]) / edges + 20
    moved = ndimage.map_coordinates(wide, np.moveaxis(places, -1, 0), order=3)
    still = wide[20:-20, 20:-20, 20:-20]
    return tuple((v + random.normal(0, noise, SHAPE)).astype(np.float32) for v in (still, 0.6 * moved + 30))


def corner_error(found, expected, spacing=(1.0, 1.0, 1.0)):
    """Return how far apart two transforms put a corner, in voxels."""
    corners = np.array(np.meshgrid(*[(0, (n - 1) * e) for n, e in zip(SHAPE, spacing, strict=True)], [1])).reshape(
        4, -1
    )
    return np.sqrt(((((found - expected) @ corners)[:3] / np.array(spacing)[:, None]) ** 2).sum(axis=0)).max()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.8)])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (2, -1, 3)])
def test_a_known_motion_is_found(degrees, spacing):
    expected = motion(degrees, (0.7, -1.3, 0.9), spacing)
    fixed, moving = (Picture(v, spacing, (0.5, 0.0, -2.0)) for v in pair(expected, spacing, noise=1.0))
    place = np.eye(4)
    place[:3, 3] = fixed.origin
    expected = place @ expected @ np.linalg.inv(place)
    found, correlation = register_level(fixed, moving, np.eye(4), **OPTIONS)
    at_origin = np.linalg.inv(place) @ (found - expected) @ place
    assert corner_error(at_origin, 0, spacing) < 0.1
    assert correlation > 0.95
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-9)


def test_it_goes_on_from_the_turn_that_it_begins_with():
    expected, near = motion((28, -12, 16), (0.7, -1.3, 0.9)), motion((27, -11, 17), (0.2, -1.0, 0.4))
    fixed, moving = (Picture(v, (1.0,) * 3, (0.0,) * 3) for v in pair(expected, noise=1.0))
    one_step, _ = register_level(fixed, moving, near, **OPTIONS | {"iterations": 1})
    found, correlation = register_level(fixed, moving, near, **OPTIONS)
    assert 1 < corner_error(near, expected) < 4
    assert 0 < corner_error(one_step, near) < 3
    assert corner_error(found, expected) < 0.3
    assert correlation > 0.95


def test_the_same_bits_on_as_many_threads_as_others_want():
    fixed, moving = (Picture(v, (1.0,) * 3, (0.0,) * 3) for v in pair(motion((2, -1, 3), (0.7, -1.3, 0.9)), noise=1.0))
    found = []
    for threads in (1, 2, 5):
        ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        matrix, correlation = register_level(fixed, moving, np.eye(4), **OPTIONS | {"iterations": 9})
        found.append((matrix.tobytes(), correlation))
    assert found == found[:1] * 3


def test_what_does_not_count_does_not_pull():
    expected = motion((1, 2, -1), (0.5, 0.5, -0.5))
    volumes = pair(expected)
    pictures = []
    for volume in volumes:
        valid = np.ones(SHAPE, bool)
        valid[:, :12], valid[30:] = False, False  # at the same place of both detectors
        spoilt = np.where(valid, volume, volume[valid].mean())
        pictures.append(Picture(spoilt, (1.0,) * 3, (0.0,) * 3, valid))
    fixed, moving = pictures
    found, correlation = register_level(fixed, moving, np.eye(4), **OPTIONS)
    assert corner_error(found, expected) < 0.05
    assert correlation > 0.99


def test_a_start_that_leaves_nothing_to_compare_comes_back():
    fixed, moving = (Picture(v, (1.0,) * 3, (0.0,) * 3) for v in pair(np.eye(4)))
    away = motion((0, 0, 0), (60, 0, 0))
    found, correlation = register_level(fixed, moving, away, **OPTIONS)
    np.testing.assert_array_equal(found, away)
    assert correlation == 0
    flat = Picture(np.full(SHAPE, 3, np.float32), (1.0,) * 3, (0.0,) * 3)
    assert register_level(fixed, flat, np.eye(4), **OPTIONS)[1] == 0
