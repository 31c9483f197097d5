"""Histograms of grey levels and of their bends, and where a level is near, against numpy and scipy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.kernels.level_counts import bend_counts, level_counts, near_level


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(1, 9)] * 3), most=st.sampled_from([1, 2, 9, 256]))
def test_as_numpy_counts(seed: int, shape: tuple[int, int, int], most: int) -> None:
    grey = np.random.default_rng(seed).integers(0, most, shape, np.uint8)
    np.testing.assert_array_equal(level_counts(grey), np.bincount(grey.ravel(), minlength=256))
    for outside in (0, 7):
        left, middle, right = (grey[..., k : grey.shape[2] - 2 + k].astype(int) for k in range(3))
        inside = (left != outside) & (middle != outside) & (right != outside)
        wanted = np.bincount(np.abs(2 * middle - left - right)[inside], minlength=1024)
        found = bend_counts(grey[:, ::-1], outside) if seed % 2 else bend_counts(grey, outside)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, wanted)


def test_the_largest_bend_is_counted() -> None:
    assert bend_counts(np.array([[[1, 255, 1]]], np.uint8), 0)[508] == 1
    assert bend_counts(np.array([[[255, 0, 255]]], np.uint8), 7)[510] == 1


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(3, 12)] * 3), most=st.sampled_from([2, 9, 256]))
def test_where_a_level_is_near_as_scipy_dilates(seed: int, shape: tuple[int, int, int], most: int) -> None:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, most, shape, np.uint8)
    lows = rng.integers(0, 2, 3)
    z, y, x = (slice(int(a), n - int(b)) for a, b, n in zip(lows, rng.integers(0, 2, 3), shape, strict=True))
    for level in (0, 7):
        wanted = ndimage.binary_dilation(grey == level, np.ones((3, 3, 3)))[z, y, x]
        found = near_level(grey, (z, y, x), level)
        assert (found is not None) == wanted.any()
        np.testing.assert_array_equal(wanted if found is None else found, wanted)
