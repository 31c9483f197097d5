"""Levels on a window against numpy, and what lies beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.quantisation import LAST, quantised


@pytest.mark.parametrize(("low", "high"), [(-0.002, 0.011), (0.0, 1.0), (-3.5, 1e4)])
def test_levels_are_the_nearest_and_what_is_beyond_is_counted(low, high):
    rng = np.random.default_rng(0)
    slices = rng.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), (3, 40, 50)).astype(np.float32)
    levels, beyond = quantised(slices, low, high)
    assert levels.dtype == np.uint16
    exact = np.clip((slices.astype(float) - low) / (high - low) * LAST, 0, LAST)
    assert np.abs(levels - exact).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(beyond, ((slices < low) | (slices > high)).sum(axis=(1, 2)))
    assert beyond.all()
    back = low + levels * ((high - low) / LAST)
    inside = (slices >= low) & (slices <= high)
    assert np.abs(back - slices)[inside].max() < 0.51 * (high - low) / LAST + 1e-7 * abs(high)


def test_rows_do_not_depend_on_each_other():
    slices = np.random.default_rng(1).normal(0, 1, (5, 30, 30)).astype(np.float32)
    whole, beyond = quantised(slices, -1.0, 1.0)
    for row in range(5):
        one, some = quantised(slices[row : row + 1], -1.0, 1.0)
        np.testing.assert_array_equal(one[0], whole[row])
        assert some[0] == beyond[row]
