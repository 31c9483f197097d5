"""Peaks of histograms: how many phases, where, how sure; the same on any scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.kernels.histogram_peaks import peaks_of, shoulder, without_clipped

LEVELS = np.arange(256.0)


def counts(*phases: tuple[float, float, int], mixed: int = 20_000, seed: int = 0) -> np.ndarray:
    """Return the counts of phases (level, standard deviation, voxels) and of voxels that mix the outer two."""
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(level, sd, voxels) for level, sd, voxels in phases]
    drawn.append(rng.uniform(phases[0][0], phases[-1][0], mixed))
    return np.bincount(np.rint(np.concatenate(drawn)).clip(0, 255).astype(int), minlength=256)


@settings(max_examples=25, deadline=None)
@given(
    low=st.floats(40, 80),
    contrast=st.floats(60, 120),
    sd=st.floats(3, 12),
    share=st.floats(0.2, 0.8),
    seed=st.integers(0, 9),
)
def test_two_phases_are_two_and_lie_where_they_lie(low, contrast, sd, share, seed):
    solid, sd = int(200_000 * share), min(sd, 0.15 * contrast)
    found = peaks_of(LEVELS, counts((low, sd, 200_000 - solid), (low + contrast, sd, solid), seed=seed))
    assert len(found) == 2
    for peak, level in zip(found, (low, low + contrast), strict=True):
        assert peak.level == pytest.approx(level, abs=0.05 * contrast + 0.3)  # mixed voxels draw it
        assert 0 < peak.error < 0.02 * contrast
    assert sum(peak.share for peak in found) == pytest.approx(1)


@pytest.mark.parametrize("sd", [3.0, 6.0, 9.0])
@pytest.mark.parametrize("binder", [20_000, 100_000])
def test_a_third_phase_is_found(sd, binder):
    found = peaks_of(LEVELS, counts((55, sd, 60_000), (95, sd, binder), (150, sd, 120_000)))
    assert [peak.level for peak in found] == pytest.approx([55, 95, 150], abs=1.5)
    assert found[0].high == found[1].low < 95 < found[1].high == found[2].low


def test_the_error_is_that_of_many_draws():
    drawn = [peaks_of(LEVELS, counts((60, 7, 8000), (150, 7, 8000), mixed=0, seed=seed)) for seed in range(60)]
    for phase in (0, 1):
        spread = np.std([found[phase].level for found in drawn])
        # Voxels that were drawn one by one: the errors allow for eight that share a value.
        assert np.median([found[phase].error for found in drawn]) == pytest.approx(spread * 8**0.5, rel=0.4)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(1e-4, 1e4), offset=st.floats(-1e4, 1e4))
def test_peaks_follow_the_scale(gain, offset):
    seen = counts((60, 7, 50_000), (150, 7, 50_000))
    before, after = peaks_of(LEVELS, seen), peaks_of(gain * LEVELS + offset, seen)
    for one, other in zip(before, after, strict=True):
        tolerance = 1e-4 * (gain * 90 + abs(offset) * 1e-9)
        assert gain * one.level + offset == pytest.approx(other.level, abs=tolerance)
        assert gain * one.error == pytest.approx(other.error, rel=1e-2)


def test_voxels_beyond_the_detector_are_no_phase():
    seen = counts((60, 7, 50_000), (150, 7, 50_000))
    piled = np.array(seen)
    piled[[0, 255]] = 30_000
    assert len(peaks_of(LEVELS, piled)) == 2
    assert without_clipped(piled).tolist() == seen.tolist()
    assert without_clipped(seen).tolist() == seen.tolist()


def test_a_single_value_and_a_single_phase():
    assert peaks_of(LEVELS, np.where(LEVELS == 7, 99, 0)) == []
    (one,) = peaks_of(LEVELS, counts((90, 8, 90_000), mixed=0))
    assert one.level == pytest.approx(90, abs=0.5)
    assert one.share == pytest.approx(1)


@pytest.mark.parametrize("other", [(66, 5, 50_000), (65, 4, 60_000), (68, 6, 60_000)])
def test_a_phase_that_hides_in_a_peak_makes_a_shoulder(other):
    alone, hidden = (counts((60, 2, 60_000), *more, (150, 4, 90_000)) for more in ((), (other,)))
    assert len(peaks_of(LEVELS, hidden)) == 2, "it does hide"
    ratio, off = shoulder(LEVELS, alone)
    assert 0.6 < ratio < 1.1
    assert off < 0.5
    ratio, off = shoulder(LEVELS, hidden)
    assert ratio > 1.5
    assert 1 < off < 6, "about as far as the other phase lies"


def test_three_phases_and_none_have_no_shoulder():
    assert shoulder(LEVELS, counts((55, 6, 60_000), (95, 6, 60_000), (150, 6, 90_000))) == (0.0, 0.0)
    assert shoulder(LEVELS, np.where(LEVELS == 7, 99, 0)) == (0.0, 0.0)
