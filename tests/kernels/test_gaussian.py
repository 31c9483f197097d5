"""Gaussian means in whole numbers: against a plain loop in Python's own integers, and against scipy's floats."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.kernels.gaussian import LARGEST_SIGMA, TOP, gaussian, radius, weights


def plain(padded, sigma):
    """Return the rounded mean of each window, in Python's integers, without the voxels that are 0."""
    reach, law = radius(sigma), weights(sigma)
    means = np.zeros([n - 2 * reach for n in padded.shape], np.uint8)
    for place in np.ndindex(means.shape):
        if padded[tuple(p + reach for p in place)]:
            grey = norm = 0
            for step in np.ndindex((2 * reach + 1,) * 3):
                level = int(padded[tuple(p + s for p, s in zip(place, step, strict=True))])
                weight = law[step[0]] * law[step[1]] * law[step[2]]
                grey += weight * level
                norm += weight if level else 0
            means[place] = (2 * grey + norm) // (2 * norm)
    return means


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from([0.3, 0.5, 0.7]),
    core=st.tuples(*[st.integers(1, 4)] * 3),
    outside=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_means_are_those_of_a_plain_loop(seed, sigma, core, outside):
    rng = np.random.default_rng(seed)
    shape = [n + 2 * radius(sigma) for n in core]
    padded = rng.integers(1, 256, shape).astype(np.uint8)
    padded[rng.random(shape) < outside] = 0
    np.testing.assert_array_equal(gaussian(padded, sigma, 0), plain(padded, sigma))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_means_are_those_of_scipy_but_for_rounding(sigma):
    voxels = np.random.default_rng(1).integers(1, 256, (20, 21, 22)).astype(np.uint8)
    wanted = ndimage.gaussian_filter(voxels.astype(float), sigma, mode="mirror", radius=radius(sigma))
    means = gaussian(np.pad(voxels, radius(sigma), mode="reflect"), sigma, 0)
    assert means.std() < 0.6 * voxels.std()
    assert np.abs(means - wanted).max() < 0.54


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.7, LARGEST_SIGMA])
def test_weights_are_a_bell_of_whole_numbers(sigma):
    law, reach = weights(sigma), radius(sigma)
    assert law == law[::-1]
    assert law[reach] == TOP
    for k in range(reach + 1):
        assert law[reach + k] == pytest.approx(TOP * exp(-(k * k) / (2 * sigma * sigma)), abs=0.5 + 1e-9)


def test_no_sum_overflows():
    assert (2 * 255 + 1) * sum(weights(LARGEST_SIGMA)) ** 3 < 2**63
    reach = radius(LARGEST_SIGMA)
    white = np.full((2 * reach + 1, 2 * reach + 1, 2 * reach + 2), 255, np.uint8)
    assert gaussian(white, LARGEST_SIGMA, 0).tolist() == [[[255, 255]]]


@pytest.mark.parametrize("sigma", [0.0, -1.0, LARGEST_SIGMA + 0.1])
def test_impossible_sigmas(sigma):
    with pytest.raises(ValueError, match="sigma must be above 0"):
        gaussian(np.ones((9, 9, 9), np.uint8), sigma, 0)


def test_blocks_without_a_core_are_refused():
    with pytest.raises(ValueError, match="at least 9 voxels"):
        gaussian(np.ones((9, 8, 9), np.uint8), 1.0, 0)
