"""Medians of 8-bit voxels: against scipy where all voxels count, against a plain loop where some do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.kernels.median_filter import median


def plain(padded, size):
    """Return the lower median of the voxels of each window that are not 0, where the middle is not 0."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size,) * 3)
    medians = np.zeros(windows.shape[:3], np.uint8)
    for place in np.ndindex(medians.shape):
        window = windows[place]
        if window[size // 2, size // 2, size // 2]:
            inside = np.sort(window[window > 0])
            medians[place] = inside[(inside.size - 1) // 2]
    return medians


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([3, 5]),
    core=st.tuples(*[st.integers(1, 6)] * 3),
    levels=st.sampled_from([2, 9, 256]),
    outside=st.sampled_from([0.0, 0.2, 0.8]),
)
def test_medians_are_those_of_a_plain_loop(seed, size, core, levels, outside):
    rng = np.random.default_rng(seed)
    shape = [n + size - 1 for n in core]
    padded = rng.integers(256 - levels, 256, shape).clip(1).astype(np.uint8)
    padded[rng.random(shape) < outside] = 0
    np.testing.assert_array_equal(median(padded, size, 0), plain(padded, size))


@pytest.mark.parametrize("size", [3, 5, 9, 15])
def test_medians_are_those_of_scipy_where_all_voxels_count(size):
    voxels = np.random.default_rng(size).integers(1, 256, (17, 18, 19)).astype(np.uint8)
    wanted = ndimage.median_filter(voxels, size, mode="mirror")
    assert (wanted != voxels).mean() > 0.9
    np.testing.assert_array_equal(median(np.pad(voxels, size // 2, mode="reflect"), size, 0), wanted)


@pytest.mark.parametrize(
    ("padded", "size"),
    [(np.zeros((3, 3, 3), np.uint16), 3), (np.zeros((4, 4, 4), np.uint8), 4), (np.zeros((5, 4, 5), np.uint8), 5)],
)
def test_what_has_no_medians_is_refused(padded, size):
    with pytest.raises(ValueError, match="wanted uint8"):
        median(padded, size, 0)
