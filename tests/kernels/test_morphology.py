"""Opening and closing on bits, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import ball as ball_of_scikit_image

from crackdask.kernels.morphology import ball, opened_and_closed


def plain(phase: np.ndarray, opening: int, closing: int) -> np.ndarray:
    if opening:
        phase = ndimage.binary_opening(phase, ball_of_scikit_image(opening))
    return ndimage.binary_closing(phase, ball_of_scikit_image(closing)) if closing else phase


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 7, 8, 63, 64, 65, 120, 129])),
    opening=st.integers(0, 3),
    closing=st.integers(0, 3),
    share=st.sampled_from([0.3, 0.7, 0.95]),
)
def test_as_scipy_does_it_away_from_the_faces(
    seed: int, shape: tuple[int, int, int], opening: int, closing: int, share: float
) -> None:
    halo = 2 * (opening + closing)
    rng = np.random.default_rng(seed)
    phase = rng.random([n + 2 * halo for n in shape]) < share
    given_ = phase.copy()
    inside = tuple(slice(halo, n + halo) for n in shape)
    found, wanted = opened_and_closed(phase, opening, closing), plain(phase, opening, closing)
    assert found.dtype == bool
    assert found.shape == phase.shape
    np.testing.assert_array_equal(found[inside], wanted[inside])
    np.testing.assert_array_equal(phase, given_)


def test_that_test_opens_and_closes() -> None:
    phase = np.random.default_rng(0).random((20, 20, 130)) < 0.7
    opened, both = plain(phase, 1, 0), plain(phase, 1, 1)
    assert 0 < opened.sum() < phase.sum()
    assert opened.sum() < both.sum() < phase.size


@pytest.mark.parametrize("radius", [10, 40])
def test_large_balls(radius: int) -> None:
    phase = np.zeros((2 * radius + 3, 2 * radius + 3, 4 * radius), bool)
    phase[1:-1, 1:-1, 5 : 2 * radius + 6] = ball(radius)
    np.testing.assert_array_equal(opened_and_closed(phase, radius, 0), phase)
    phase[1, radius + 1, radius + 5] = False
    assert not opened_and_closed(phase, radius, 0).any()
