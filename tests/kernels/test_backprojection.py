"""Exact back-projection: against a plain loop over voxels and projections."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.backprojection import back_projected
from crackdask.kernels.projection_angles import angular_weights
from crackdask.kernels.ramp_filter import padded_length, response
from tests.support.reconstructed import CENTER, HALF_TURN, gain, rms, sinogram


def plain(lines, degrees, center):
    """Return one slice: each row convolved with the ramp, then read off for each voxel."""
    columns = lines.shape[1]
    length = padded_length(columns)
    right = (length - columns) // 2
    padded = np.pad(lines, ((0, 0), (length - columns - right, right)), mode="edge")
    filtered = np.fft.irfft(np.fft.rfft(padded, axis=1) * response(length, "ramp"), n=length, axis=1)
    out = np.zeros((columns, columns))
    y, x = (at - (columns - 1) / 2 for at in np.mgrid[:columns, :columns])
    for row, angle, share in zip(filtered, np.radians(degrees), angular_weights(degrees), strict=True):
        at = x * np.cos(angle) + y * np.sin(angle) + center + length - columns - right
        out += share * np.interp(at, np.arange(length), row)
    return out


@pytest.mark.parametrize("slices", [1, 3, 17])
def test_slices_are_those_of_a_plain_loop(slices):
    drawn = np.random.default_rng(slices).normal(size=(slices, 21, 33)).astype(np.float32)
    degrees = np.linspace(10, 150, 21)
    found = back_projected(drawn, degrees, 14.8)
    for image, lines in zip(found[[0, -1]], drawn[[0, -1]], strict=True):
        np.testing.assert_allclose(image, plain(lines, degrees, 14.8), atol=2e-5)


def test_ellipsoids_come_back():
    image = back_projected(sinogram()[:, ::2], HALF_TURN[::2], CENTER)[0]
    assert rms(image) < 0.06
    assert gain(image) == pytest.approx(1, abs=0.03)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="20 projections, but 21 angles"):
        back_projected(np.zeros((1, 20, 16), np.float32), np.linspace(0, 180, 21), 8.0)
