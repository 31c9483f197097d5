"""How evenly edges are spread: against a plain loop, and what it does not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crackdask.kernels.gradient_spread import gradient_spread
from crackdask.kernels.gridding import gridded
from crackdask.phantom.ellipsoids import packed


def plain(image: np.ndarray, reach: float) -> float:
    ny, nx = image.shape
    sizes = [
        math.hypot(float(image[y, x + 1]) - float(image[y, x - 1]), float(image[y + 1, x]) - float(image[y - 1, x]))
        for y in range(1, ny - 1)
        for x in range(1, nx - 1)
        if math.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2) < reach
    ]
    return float(np.mean(np.sqrt(sizes)) ** 2 / np.mean(sizes))


@pytest.mark.parametrize(("shape", "reach"), [((9, 12), 3.7), ((9, 12), 100.0), ((3, 3), 0.5), ((31, 30), 14.0)])
def test_it_equals_a_plain_loop(shape, reach):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert gradient_spread(image, reach) == pytest.approx(plain(image, reach), rel=1e-12)


def test_one_slope_is_spread_most_and_one_step_least():
    y, x = np.mgrid[:40, :40].astype(np.float32)
    assert gradient_spread(3 * y - 2 * x, 18) == pytest.approx(1)
    assert gradient_spread(np.full((40, 40), 7.0, np.float32), 18) == 1
    step = np.where(x < 20, 0, 1).astype(np.float32)
    assert gradient_spread(step, 18) == pytest.approx(2 * 34 / 1000, rel=0.1)  # two columns of the circle's voxels
    assert gradient_spread(step * 100 + 40, 18) == pytest.approx(gradient_spread(step, 18), rel=1e-6)


def test_the_energy_of_a_slice_does_not_tell_the_axis_and_this_does():
    """Inside a wide sample nothing is negative, and a wrong axis only turns the phases of the spectrum."""
    degrees, centers = np.linspace(0, 180, 180, endpoint=False), np.arange(59.0, 72.0)
    drawn = packed(3, 60, 58, 12, (5, 9)).projections(degrees, np.zeros(1), 128, 65.0, fine=2)
    slices = gridded(np.broadcast_to(drawn[0], (len(centers), *drawn[0].shape)), degrees, centers)
    energy = (slices.astype(np.float64) ** 2).sum(axis=(1, 2))
    spread = np.array([gradient_spread(image, 50) for image in slices])
    assert centers[np.argmin(spread)] == 65
    assert np.ptp(energy) / energy.mean() < 0.2 * np.ptp(spread) / spread.mean()


def test_a_reach_without_a_voxel_is_refused():
    with pytest.raises(ValueError, match=r"no voxel of an image of \(2, 9\) lies within 3"):
        gradient_spread(np.zeros((2, 9), np.float32), 3)
