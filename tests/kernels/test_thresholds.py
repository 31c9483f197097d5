"""Thresholds from counts: against scikit-image, which is given the voxels; what is above a level is bright."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import filters

from crackdask.kernels.thresholds import ThresholdError, li, multiotsu, next_phase, otsu, triangle


def voxels_of(counts):
    """Return voxels with these counts of each level, those outside the scan left out."""
    return np.repeat(np.arange(256, dtype=np.uint8), np.r_[0, counts[1:]])


@st.composite
def histograms(draw):
    """Draw the counts of two or three phases with noise, some levels unoccupied, some voxels outside the scan."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    means = draw(st.lists(st.integers(5, 250), min_size=2, max_size=3, unique=True))
    sd = draw(st.sampled_from([0.5, 4.0, 25.0]))
    levels = np.concatenate([rng.normal(mean, sd, rng.integers(5, 500)) for mean in means])
    counts = np.bincount(np.rint(levels).clip(1, 255).astype(int), minlength=256)
    counts[0] = draw(st.sampled_from([0, 10**6]))
    return counts


def has_two_corners(counts: np.ndarray) -> bool:
    """Tell whether two levels lie equally far from the triangle's long side (Zack 1977)."""
    height = counts.copy()
    height[0] = 0
    occupied = np.flatnonzero(height)
    peak = int(np.argmax(height))
    if peak - occupied[0] < occupied[-1] - peak:
        height, peak = height[::-1], height.size - 1 - peak
    first = int(np.flatnonzero(height)[0])
    along = np.arange(peak - first)
    distance = height[peak] * along - (peak - first) * height[first:peak]
    return int(np.count_nonzero(distance == distance.max(initial=0))) > 1


@settings(max_examples=100, deadline=None)
@given(counts=histograms())
def test_thresholds_part_the_voxels_as_those_of_scikit_image_do(counts):
    voxels = voxels_of(counts)
    if np.unique(voxels).size < 2:
        return
    levels = np.arange(256)
    for mine, theirs in (
        (otsu, lambda _: filters.threshold_otsu(hist=(np.r_[0, counts[1:]], levels))),
        (li, filters.threshold_li),
        (triangle, filters.threshold_triangle),
    ):
        level = mine(counts)
        assert level == int(level)
        if mine is triangle and has_two_corners(counts):
            continue  # scikit-image's rounding chooses between them
        np.testing.assert_array_equal(levels > level, levels > theirs(voxels), err_msg=mine.__name__)


@settings(max_examples=20, deadline=None)
@given(counts=histograms(), classes=st.sampled_from([3, 4]))
def test_boundaries_of_classes_are_those_of_scikit_image(counts, classes):
    occupied = np.flatnonzero(counts[1:]) + 1
    if occupied.size < classes:
        with pytest.raises(ThresholdError, match=f"{classes} classes need as many grey levels, and there are"):
            multiotsu(counts, classes)
        return
    boundaries = multiotsu(counts, classes)
    first = occupied[0]  # scikit-image looks at the range of the voxels
    wanted = filters.threshold_multiotsu(
        hist=(counts[first : occupied[-1] + 1], np.arange(first, occupied[-1] + 1)), classes=classes
    )
    np.testing.assert_array_equal(boundaries, wanted)
    assert sorted(boundaries) == list(boundaries)
    assert len(boundaries) == classes - 1


def test_classes_of_a_few_levels_are_parted_best():
    counts = np.zeros(256, int)
    counts[[20, 22, 90, 93, 200, 210, 211]] = [10, 5, 8, 8, 3, 3, 3]
    assert multiotsu(counts, 3) == (22.0, 93.0)


@pytest.mark.parametrize("threshold", [otsu, li, triangle, next_phase])
def test_sums_do_not_overflow_and_the_outside_does_not_count(threshold):
    counts = np.zeros(256, np.int64)
    counts[[60, 61, 150]] = 1
    wanted = threshold(counts)
    assert 60 <= wanted < 150
    assert threshold(counts * 10**13) == wanted
    counts[0] = 10**15
    assert threshold(counts) == wanted


@pytest.mark.parametrize("threshold", [otsu, li, triangle, next_phase])
def test_histograms_of_one_level_or_none(threshold):
    counts = np.zeros(256, int)
    assert threshold(counts) == 0.0
    counts[[0, 90]] = 7
    level = threshold(counts)
    assert level in (0.0, 90.0)


@pytest.mark.parametrize("threshold", [otsu, li, triangle, next_phase])
def test_two_levels_are_parted(threshold):
    counts = np.zeros(256, int)
    counts[[0, 60, 150]] = 10**6, 100, 50
    assert 60 <= threshold(counts) < 150
    counts[[60, 150]] = 5, 500
    assert 60 <= threshold(counts) < 150


def drawn(*phases: tuple[float, int], sd: float = 5.0) -> np.ndarray:
    """Return the counts of phases (level, voxels), and of a few voxels that mix the outer two."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(level, sd, voxels) for level, voxels in phases]
    parts.append(rng.uniform(phases[0][0], phases[-1][0], 20_000))
    return np.bincount(np.rint(np.concatenate(parts)).clip(1, 255).astype(int), minlength=256)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_of_two_phases_the_next_is_the_other(share):
    counts = drawn((60, int(200_000 * share)), (150, int(200_000 * (1 - share))))
    assert next_phase(counts) == next_phase(counts, bright=False) == otsu(counts)


@pytest.mark.parametrize("binder", [84.0, 96.0, 110.0, 122.0])
def test_of_three_phases_the_sought_one_is_parted_from_the_next(binder):
    counts = drawn((60, 60_000), (binder, 120_000), (150, 120_000), sd=4.0)
    assert next_phase(counts) == pytest.approx((binder + 150) / 2, abs=6)
    assert next_phase(counts, bright=False) == pytest.approx((binder + 60) / 2, abs=6)


def test_a_next_phase_close_to_the_sought_one_is_parted_in_the_valley():
    counts = drawn((50, 60_000), (136, 60_000), (153, 60_000), sd=3.0)
    counts[60:130] += 1500
    assert 136 < next_phase(counts) < 153
