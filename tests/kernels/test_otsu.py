"""Otsu's level, against scikit-image and against whole-number arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from crackdask.kernels.otsu import otsu_bin


def test_fractional_counts_are_parted_as_scikit_image_does():
    rng = np.random.default_rng(3)
    levels = np.arange(256)
    counts = 900 * np.exp(-(((levels - 70) / 20) ** 2)) + 400 * np.exp(-(((levels - 180) / 15) ** 2)) + rng.random(256)
    assert otsu_bin(counts.tolist()) == threshold_otsu(hist=(counts, levels))


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=12))
def test_no_other_bin_parts_whole_counts_better(counts):
    def between(level):
        below, above = sum(counts[: level + 1]), sum(counts[level + 1 :])
        if not below or not above:
            return Fraction(-1)
        low = Fraction(sum(i * n for i, n in enumerate(counts[: level + 1])), below)
        high = Fraction(sum(i * n for i, n in enumerate(counts) if i > level), above)
        return below * above * (high - low) ** 2

    chosen, best = between(otsu_bin(counts)), max(between(level) for level in range(len(counts)))
    assert chosen >= best * (1 - Fraction(1, 2**50)) if best > 0 else otsu_bin(counts) == 0


def test_a_histogram_of_one_value_or_none_has_bin_0():
    assert otsu_bin([0, 0, 7, 0]) == 0
    assert otsu_bin([0, 0, 0]) == 0
