"""A running median down columns: against numpy, for windows longer than the column too, where scipy 1.17.1 errs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from crackdask.kernels.running_median import running_median


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 60), st.sampled_from([1, 5, 130])),
    size=st.sampled_from([1, 3, 5, 21, 51]),
    levels=st.sampled_from([2, 10**6]),
)
def test_medians_are_those_of_each_window(seed, shape, size, levels):
    drawn = np.random.default_rng(seed).integers(-levels, levels, shape).astype(np.float32)
    padded = np.pad(drawn, ((size // 2,) * 2, (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=0)
    found = running_median(drawn, size)
    np.testing.assert_array_equal(found, np.median(windows, axis=-1))
    if size <= len(drawn):
        np.testing.assert_array_equal(found, median_filter(drawn, (size, 1), mode="reflect"))


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="window is 4"):
        running_median(np.zeros((3, 3), np.float32), 4)
