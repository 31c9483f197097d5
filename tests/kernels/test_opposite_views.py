"""Opposite views: which projections make half a turn, and where its mirror image fits."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.opposite_views import half_turn, likeness, mismatch
from crackdask.phantom.ellipsoids import packed


@pytest.mark.parametrize(
    "degrees",
    [
        np.linspace(0, 180, 91),
        np.linspace(0, 180, 90, endpoint=False),
        np.linspace(-90, 270, 361),
        np.linspace(0, 180, 2000),
        np.linspace(5, 184, 180),  # the last of them is one of the half turn
        np.random.default_rng(0).permutation(np.linspace(10, 190, 91)),
    ],
)
def test_half_a_turn_is_even_and_begins_at_the_first_angle(degrees):
    chosen = degrees[half_turn(degrees)]
    step = 180 / len(chosen)
    assert 90 <= len(chosen) <= 900
    wanted = degrees.min() + step * np.arange(len(chosen))
    np.testing.assert_allclose(chosen, wanted, atol=1.01 * step)
    nearest = np.abs(degrees[:, None] - wanted).min(axis=0)
    np.testing.assert_allclose(np.abs(chosen - wanted), nearest, atol=1e-9)


@pytest.mark.parametrize("degrees", [np.linspace(30, 177, 900), np.delete(np.linspace(0, 180, 91), slice(40, 46))])
def test_less_than_half_a_turn_is_refused(degrees):
    with pytest.raises(ValueError, match="do not cover half a turn"):
        half_turn(degrees)


@pytest.mark.parametrize("center", [60.25, 66.0])
def test_the_mirror_image_fits_about_the_true_axis_even_where_the_sample_is_wider(center):
    degrees = np.linspace(0, 180, 180, endpoint=False)
    wide = packed(0, 200, 100, 12, (4, 8))
    lines = wide.projections(degrees, np.zeros(1), 128, center, fine=2)[0]
    assert lines[:, [0, -1]].max() > 4  # it reaches beyond the detector
    centers = np.arange(50, 78, 0.5)
    assert centers[np.argmin(mismatch(lines, centers))] == pytest.approx(center, abs=1)


def test_how_bright_the_brightest_quarter_is_does_not_matter():
    lines = packed(0, 40, 100, 12, (4, 8)).projections(np.linspace(0, 180, 60, endpoint=False), np.zeros(1), 48, 23.5)[
        0
    ]
    brightest = np.sort(lines, axis=None)[int(0.75 * lines.size) + 1]
    centers = np.arange(20, 28, 0.5)
    dazzling = np.where(lines > brightest, 50 + 9 * lines, lines)
    assert np.mean(dazzling > lines) > 0.2
    np.testing.assert_array_equal(mismatch(dazzling, centers), mismatch(lines, centers))


@pytest.mark.parametrize(
    "degrees",
    [
        np.linspace(0, 180, 181),
        np.linspace(0, 180, 180, endpoint=False),
        np.linspace(-10, 220, 300),
        np.random.default_rng(0).permutation(np.linspace(0, 180, 181)),
    ],
    ids=["closed", "half-open", "between neighbours", "in any order"],
)
@pytest.mark.parametrize("radius", [50, 100])
def test_two_opposite_views_are_alike_about_the_true_axis(degrees, radius):
    lines = packed(0, 200, radius, 12, (4, 8)).projections(degrees, np.zeros(1), 128, 60.25, fine=2)[0]
    centers = np.arange(50, 78, 0.5)
    found = likeness(lines, degrees, centers)
    best = int(np.argmax(found))
    before, most, after = found[best - 1 : best + 2]
    assert centers[best] + (before - after) / (before - 2 * most + after) / 4 == pytest.approx(60.25, abs=0.15)
    assert 0.9 < most <= 1


def test_views_of_nothing_are_not_alike():
    assert (
        likeness(np.ones((19, 30), np.float32), np.linspace(0, 180, 19), np.arange(10.0, 20.0)).tolist() == [0.0] * 10
    )
