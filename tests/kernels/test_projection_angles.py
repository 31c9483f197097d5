"""Directions without a library of sines, and shares of the half circle for scans of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.kernels.projection_angles import angular_weights, cosines_and_sines


def total(degrees: np.ndarray) -> float:
    return float(np.degrees(angular_weights(np.asarray(degrees, float)).sum()))


def test_cosines_and_sines_are_those_of_numpy():
    degrees = np.concatenate([np.linspace(-720, 720, 100_001), np.arange(-360.0, 361.0, 15.0)])
    for ours, theirs in zip(cosines_and_sines(degrees), (np.cos, np.sin), strict=True):
        np.testing.assert_allclose(ours, theirs(np.radians(degrees)), atol=3e-15)


@pytest.mark.parametrize(
    ("degrees", "wanted"),
    [
        (np.linspace(0, 180, 900, endpoint=False), 180),
        (np.linspace(0, 180, 901), 180),  # its last projection sees what its first does
        (np.linspace(0, 360, 1800, endpoint=False), 180),
        (np.linspace(0, 360, 1801), 180),
        (np.linspace(-90, 90, 301), 180),
        (np.linspace(180, 0, 301), 180),
        (np.linspace(30, 177, 900), 147 + 147 / 899),
        (np.linspace(0, 60, 61), 61),
        (np.linspace(10, 190 - 33, 500) + 180, 147 + 147 / 499),
        (np.arange(500) * 137.50776405, 180),  # golden angle
    ],
)
def test_shares_add_up_to_what_is_covered(degrees, wanted):
    assert total(degrees) == pytest.approx(wanted, abs=0.01)


@given(seed=st.integers(0, 10**6))
def test_the_order_of_projections_does_not_matter(seed):
    degrees = np.linspace(30, 177, 50)
    order = np.random.default_rng(seed).permutation(50)
    np.testing.assert_array_equal(angular_weights(degrees[order]), angular_weights(degrees)[order])


def test_a_dropped_projection_is_filled_by_its_neighbours():
    degrees = np.delete(np.arange(0.0, 180.0), 40)
    shares = np.degrees(angular_weights(degrees))
    assert shares.sum() == pytest.approx(180)
    assert shares[39] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("degrees", "said"), [([], "found 0"), ([3.0], "found 1"), ([1, np.nan], "finite"), ([5, 5, 5.0], "all angles are")]
)
def test_angles_that_make_no_slice_are_refused(degrees, said):
    with pytest.raises(ValueError, match=said):
        angular_weights(np.asarray(degrees, float))
