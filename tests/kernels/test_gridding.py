"""Gridding: on ellipsoids in closed form, against exact back-projection, and bit by bit in other company."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crackdask.kernels.backprojection import back_projected
from crackdask.kernels.gridding import gridded
from crackdask.phantom.ellipsoids import Ellipsoids
from tests.support.reconstructed import CENTER, HALF_TURN, LIMITED, gain, rms, sinogram


def test_half_a_turn_gives_the_slice():
    image = gridded(sinogram(), HALF_TURN, CENTER)[0]
    assert rms(image) < 0.04
    assert gain(image) == pytest.approx(1, abs=0.02)


def test_limited_angles_give_what_exact_back_projection_gives():
    image = gridded(sinogram(limited=True), LIMITED, CENTER)[0]
    exact = back_projected(sinogram(limited=True), LIMITED, CENTER)[0]
    assert 0.15 < rms(exact) < 0.25  # the missing wedge
    assert rms(image) == pytest.approx(rms(exact), abs=0.005)
    assert gain(image) == pytest.approx(1, abs=0.02)


def test_a_voxel_is_where_the_convention_says():
    """One ball at (y, x) from the middle of the slice, on a detector of even and of odd width, about any axis."""
    for columns, center in ((64, 33.25), (63, 28.5)):
        ball = Ellipsoids(np.array([[0.0, 9.0, -14.0]]), np.eye(3)[None] / 16, np.ones(1))
        degrees = np.linspace(0, 180, 90, endpoint=False)
        lines = ball.projections(degrees, np.zeros(1), columns, center)
        wanted = ball.slices(np.zeros(1), columns)[0]
        y, x = (at - (columns - 1) / 2 for at in np.ogrid[:columns, :columns])
        near = np.hypot(y - 9, x + 14) < 7
        for image in (gridded(lines, degrees, center)[0], back_projected(lines, degrees, center)[0]):
            for axis, place in ((y, 9), (x, -14)):
                assert (image * axis)[near].sum() / image[near].sum() == pytest.approx(place, abs=0.02)
            assert image[near].sum() == pytest.approx(wanted.sum(), rel=0.02)
            assert abs(image[~near].mean()) < 0.002


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """Return 32 sinograms that all differ."""
    drawn = np.random.default_rng(0).normal(size=(32, 45, 40)).astype(np.float32)
    assert len(np.unique(drawn[:, 0, 0])) == 32
    return drawn


def test_bits_do_not_depend_on_other_slices(many):
    degrees, centers = np.linspace(30, 177, 45), 19.5 + np.arange(32) / 16
    whole = gridded(many, degrees, centers)
    for size in (1, 7):
        for first in range(0, 32, size):
            part = slice(first, first + size)
            np.testing.assert_array_equal(gridded(many[part], degrees, centers[part]), whole[part])
    turned = gridded(many[::-1], degrees, centers[::-1])
    np.testing.assert_array_equal(turned[::-1], whole)


def test_bits_do_not_depend_on_threads(many):
    degrees = np.linspace(0, 180, 45)
    alone = gridded(many[:8], degrees, 20.0)
    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(lambda _: gridded(many[:8], degrees, 20.0), range(6)):
            np.testing.assert_array_equal(result, alone)


def test_bits_are_the_same_on_every_machine():
    """Made of whole numbers, so that nothing but gridding can differ."""
    whole = np.arange(2 * 50 * 60, dtype=np.uint32).reshape(2, 50, 60) * np.uint32(2654435761)
    lines = (whole >> np.uint32(16)).astype(np.float32) / np.float32(65536)
    found = [gridded(lines, np.linspace(30, 177, 50), [29.5, 33.27]), gridded(lines, np.arange(50) * 3.6, 31.0, "hann")]
    digests = [hashlib.sha256(image.astype("<f4").tobytes()).hexdigest()[:16] for image in found]
    assert digests == ["9523c0eca1a871e1", "2100309765b5eede"]


def test_turning_the_scan_turns_nothing_but_the_signs(many):
    """Angles beyond half a turn see the same from the other side: the row mirrored about the axis."""
    degrees, center = np.linspace(0, 170, 45), 19.5
    there = gridded(many[:1], degrees, center)
    mirrored = np.ascontiguousarray(many[:1, :, ::-1])
    np.testing.assert_allclose(gridded(mirrored, degrees + 180, center), there, atol=1e-5)
    np.testing.assert_allclose(gridded(many[:1], degrees - 360, center), there, atol=1e-5)


def test_a_sample_beyond_the_detector_leaves_no_bright_ring():
    """A disc four times as wide as the detector is flat within; without padding by its edges its border shines."""
    disc = Ellipsoids(np.zeros((1, 3)), np.diag([1e-4, 128.0**-2, 128.0**-2])[None], np.ones(1))
    degrees = np.linspace(0, 180, 100, endpoint=False)
    image = gridded(disc.projections(degrees, np.zeros(1), 64, 31.5), degrees, 31.5)[0]
    at = np.hypot(*np.ogrid[-31.5:32, -31.5:32])
    assert np.ptp(image[at < 28]) < 0.25
    assert image[(at > 26) & (at < 30)].mean() == pytest.approx(image[at < 8].mean(), abs=0.12)


def test_hann_is_smoother():
    ramp, hann = (gridded(sinogram(), HALF_TURN, CENTER, kind)[0] for kind in ("ramp", "hann"))
    assert np.abs(np.diff(hann)).mean() < 0.8 * np.abs(np.diff(ramp)).mean()
    assert hann.mean() == pytest.approx(ramp.mean(), rel=0.01)


def test_what_does_not_fit_is_refused(many):
    with pytest.raises(ValueError, match="45 projections, but 44 angles"):
        gridded(many[:1], np.linspace(0, 180, 44), 20.0)
    with pytest.raises(ValueError, match="'ramp', 'hann' is needed"):
        gridded(many[:1], np.linspace(0, 180, 45), 20.0, "shepp")  # type: ignore[arg-type]
