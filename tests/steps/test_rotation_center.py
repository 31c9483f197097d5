"""The center of rotation: found to a tenth of a column with all that a detector does wrong, or refused with reasons."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crackdask.kernels.attenuation import References, attenuations
from crackdask.kernels.stripes import without_column_stripes
from crackdask.phantom import Phantom
from crackdask.phantom.cell_states import states
from crackdask.phantom.detector import Detector
from crackdask.phantom.ellipsoids import packed
from crackdask.phantom.projections import Projections
from crackdask.steps.rotation_center import CenterNotFoundError, find_center

WIDTH, DEGREES = 192, np.linspace(0, 180, 300, endpoint=False)
ROWS = np.array([0.0, 4.0])


def lines(seed: int, center: float, degrees: np.ndarray = DEGREES, radius: float = 84.0) -> np.ndarray:
    """Return attenuations of packed ellipsoids, with the noise of 60 000 photons and gains that flats do not see."""
    rng = np.random.default_rng(seed)
    exact = packed(seed, 120, radius, 20, (5, 11)).projections(degrees, ROWS, WIDTH, center, fine=2)
    through = rng.poisson(60_000 * np.exp(-exact * (1.5 / exact.max()))).clip(1) / 60_000
    noisy = -np.log(through) + rng.normal(0, 0.003, (len(ROWS), 1, WIDTH))
    return noisy.astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_the_center_is_found_to_a_tenth_of_a_column(seed):
    center = (WIDTH - 1) / 2 + np.random.default_rng([seed, 1]).uniform(-8, 8)
    found = find_center(lines(seed, center), DEGREES)
    assert found.center == pytest.approx(center, abs=0.1)
    assert found.opposite == pytest.approx(center, abs=0.2)
    assert found.sweep.shape == found.opposite.shape == (2,)


def test_curves_are_least_and_slices_sharpest_at_the_center():
    found = find_center(lines(0, 99.37), DEGREES)
    for curve in (found.spread, found.mismatch):
        assert curve is not None
        assert curve.centers[np.argmin(curve.values)] == pytest.approx(99.37, abs=1)
        assert curve.values.max() <= 1
    assert found.likeness is not None
    assert found.likeness.centers[np.argmax(found.likeness.values)] == pytest.approx(99.37, abs=0.5)
    assert found.strip.images.shape == (len(found.strip.centers), WIDTH, WIDTH)
    assert np.abs(found.strip.centers - found.center).min() < 0.01
    spread = (found.strip.images.astype(np.float64) ** 2).mean(axis=(1, 2))
    assert found.strip.centers[np.argmax(spread)] == pytest.approx(99.37, abs=1.01)


def seen(scan: Projections, first: int, end: int) -> np.ndarray:
    """Return attenuations of some rows as a run has them: from counts, flats and darks, rings removed."""
    (flats, darks), (late_flats, late_darks) = scan.references(0, 0.0), scan.references(0, 1.0)
    means = [np.stack([a.mean(axis=0), b.mean(axis=0)]) for a, b in ((flats, late_flats), (darks, late_darks))]
    references = References(*(mean.astype(np.float32) for mean in means)).rows(first, end)
    found, flaws = attenuations(scan.counts(0, first, end), references, np.linspace(0, 1, len(scan.degrees)))
    return np.stack([without_column_stripes(a, bad) for a, bad in zip(found, flaws.columns, strict=True)])


SURROUNDINGS: dict[str, dict[str, Any]] = {
    "in air": {},
    "embedded": {"embedded": True},
    "wider than the field": {"embedded": True, "columns": 128},
}
SEEDS = [("in air", k) for k in range(10)] + [("embedded", k) for k in range(5)]
SEEDS += [("wider than the field", k) for k in range(10)]


@pytest.mark.parametrize(("around", "seed"), SEEDS)
def test_it_is_found_from_counts_with_a_holder_in_the_beam_whatever_is_around(around, seed):
    phantom = Phantom((24, 160, 160), states(1), seed=seed, vanishing=0, leaving=0)
    degrees = tuple(np.linspace(0, 180, 241).tolist())
    scan = Projections(phantom, degrees=degrees, detector=Detector(seed=seed), **SURROUNDINGS[around])
    scan = replace(scan, center=(scan.width - 1) / 2 + np.random.default_rng([seed, 3]).uniform(-5, 5))
    alone = replace(scan, clear=None).integrals(0, 10, 11)[0, :, [0, -1]]
    assert (alone.min() > 0.2) == (around == "wider than the field")
    found = find_center(seen(scan, 10, 13), np.array(scan.degrees))
    assert found.center == pytest.approx(scan.axis, abs=0.1)
    assert np.median(found.opposite) == pytest.approx(scan.axis, abs=0.2)


def test_a_first_projection_that_tells_nothing_is_no_obstacle():
    drawn = lines(0, 99.37)
    drawn[:, 0] = np.random.default_rng(0).normal(0, 0.1, drawn[:, 0].shape)
    found = find_center(drawn, DEGREES)
    assert found.likeness is not None
    assert found.likeness.values.max() < 0.5
    assert found.center == pytest.approx(99.37, abs=0.1)
    assert found.opposite == pytest.approx(99.37, abs=1)


def test_limited_angles_need_a_yes():
    limited = np.linspace(30, 177, 300)
    drawn = lines(0, 99.37, limited)
    with pytest.raises(CenterNotFoundError, match=r"147\.5 degrees of 180.*Give center as a number.*below_180"):
        find_center(drawn, limited)
    found = find_center(drawn, limited, accept_limited=True)
    assert found.center == pytest.approx(99.37, abs=0.5)
    assert found.mismatch is None
    assert found.likeness is None
    assert found.opposite.size == 0


def test_a_whole_turn_needs_no_yes():
    turn = np.linspace(0, 360, 600, endpoint=False)
    assert find_center(lines(2, 92.6, turn)[:1], turn).center == pytest.approx(92.6, abs=0.1)


def test_a_center_at_the_end_of_the_range_is_refused():
    with pytest.raises(
        CenterNotFoundError, match=r"at the end of what was searched, 101\.0 to 110\.0: found by"
    ) as told:
        find_center(lines(0, 99.37)[:1], DEGREES, between=(101, 110))
    assert told.value.search is not None
    assert len(told.value.search.strip.images) > 5


def test_methods_that_disagree_are_both_named():
    """As where the sample slipped before the end of the scan."""
    drawn = lines(0, 99.37)[:1]
    drawn[:, 280:] = np.roll(drawn[:, 280:], 6, axis=2)
    with pytest.raises(CenterNotFoundError, match="more than 1 columns apart") as told:
        find_center(drawn, DEGREES)
    search = told.value.search
    assert search is not None
    for method, value in (("the sweep of reconstructions", search.sweep[0]), ("opposite views", search.opposite[0])):
        assert f"{method} {value:.2f}" in str(told.value)
        assert np.abs(search.strip.centers - value).min() < 0.01  # there is a slice to look at
    tried = re.search(r"preview RECIPE --set reconstruct\.center=(\S+)\), and give center", str(told.value))
    assert tried is not None
    values = [float(value) for value in tried[1].split(",")]
    for found in (search.sweep[0], search.opposite[0]):
        assert np.abs(np.array(values) - found).min() <= 0.051


def test_no_center_is_told_at_wrong_angles():
    drawn = lines(0, 99.37)[:1]
    with pytest.raises(CenterNotFoundError):
        find_center(drawn[:, np.random.default_rng(0).permutation(len(DEGREES))], DEGREES)


def test_a_beam_that_changes_is_no_obstacle():
    """Where nobody took flats: levels do not count, only edges do."""
    drawn = lines(0, 99.37)[:1]
    drawn[:, 200:] += 1
    assert find_center(drawn, DEGREES).center == pytest.approx(99.37, abs=0.1)


def test_the_logarithm_does_not_matter():
    assert find_center(np.exp(-lines(0, 99.37)[:1]), DEGREES).center == pytest.approx(99.37, abs=0.2)


def test_a_sample_wider_than_the_detector_is_no_obstacle():
    wide = lines(1, 99.37, radius=130.0)[:1]
    assert (np.median(wide[0, :, [0, -1]], axis=1) > 0.2).all()  # a fifth of the beam is gone at the edges
    assert find_center(wide, DEGREES).center == pytest.approx(99.37, abs=0.1)


def test_a_range_beyond_the_detector_is_refused():
    with pytest.raises(ValueError, match=r"centers 90 to 400 are to be searched; the detector has columns 0 to 191"):
        find_center(lines(0, 99.37)[:1], DEGREES, between=(90, 400))
