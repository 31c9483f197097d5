"""Stripes by one constant a column: little harm where there are none, less error where there are, in slices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crackdask.kernels.gridding import gridded
from crackdask.kernels.stripes import deviant_columns, without_column_stripes
from tests.support.reconstructed import CENTER, COLUMNS, HALF_TURN, rms, sinogram

BAD = np.random.default_rng(3).permutation(np.arange(40, COLUMNS - 40))


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return gridded(sinogram(), HALF_TURN, CENTER)[0]


def error(lines: np.ndarray, clean: np.ndarray) -> float:
    """Return how far a slice is from the one without stripes."""
    return rms(gridded(lines[None], HALF_TURN, CENTER)[0], clean)


def unit() -> float:
    """Return the line integral that takes e to the power of -1 of the beam, where the darkest ray has 1.5."""
    return float(sinogram().max()) / 1.5


def gains(rng: np.random.Generator, lines: np.ndarray) -> None:
    lines[:, BAD[:20]] -= unit() * np.log1p(rng.normal(0, 0.03, 20))


def fluctuating(rng: np.random.Generator, lines: np.ndarray) -> None:
    lines[:, BAD[:6]] += unit() * rng.normal(0, 0.1, (len(lines), 6))


def stuck(rng: np.random.Generator, lines: np.ndarray) -> None:
    lines[:, BAD[:6]] = unit() * rng.uniform(0.1, 1.4, 6)


@pytest.mark.parametrize("noisy", [False, True])
def test_clean_data_are_hardly_harmed(clean, noisy):
    lines = sinogram()[0].copy()
    if noisy:
        counts = 60_000 * np.exp(-lines / unit())
        lines += unit() / np.sqrt(counts) * np.random.default_rng(0).normal(size=lines.shape)
    before = gridded(lines[None].astype(np.float32), HALF_TURN, CENTER)[0]
    assert error(without_column_stripes(lines), before) < 0.01
    found = deviant_columns(lines)
    assert not found.stuck.any()
    assert not found.fluctuating.any()


@pytest.mark.parametrize(("harm", "left"), [(gains, 0.4), (fluctuating, 0.4), (stuck, 0.1)])
def test_stripes_are_taken_away(clean, harm, left):
    lines = sinogram()[0].copy()
    harm(np.random.default_rng(5), lines)
    before = error(lines, clean)
    assert before > 0.02
    assert error(without_column_stripes(lines), clean) < left * before


def test_what_is_wrong_with_columns_is_told():
    lines = sinogram()[0].copy()
    fluctuating(np.random.default_rng(5), lines)
    lines[:, BAD[6:8]] = unit()
    found = deviant_columns(lines)
    assert np.flatnonzero(found.fluctuating).tolist() == sorted(BAD[:6].tolist())
    assert np.flatnonzero(found.stuck).tolist() == sorted(BAD[6:8].tolist())


def test_columns_that_are_known_to_be_dead_do_not_count():
    lines = sinogram()[0].copy()
    dead = np.zeros(COLUMNS, bool)
    dead[BAD[:3]] = True
    wanted = without_column_stripes(lines, dead)
    lines[:, dead] = np.random.default_rng(0).normal(size=(len(lines), 3))
    np.testing.assert_array_equal(without_column_stripes(lines, dead), wanted)


def test_two_projections_tell_what_is_wrong_with_columns():
    lines = np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32)
    lines[1] = lines[0] + np.where(np.arange(60) % 2, 1, -1)
    lines[1, 20], lines[1, 40] = lines[0, 20], lines[0, 40] + 99
    found = deviant_columns(lines)
    assert np.flatnonzero(found.stuck).tolist() == [20]
    assert np.flatnonzero(found.fluctuating).tolist() == [40]


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 9])
def test_each_column_loses_what_its_mean_has_too_much(columns):
    lines = np.random.default_rng(columns).normal(size=(300, columns)).astype(np.float32)
    means = lines.mean(axis=0, dtype=float)
    usual = ndimage.median_filter(means, min(5, columns - 1 + columns % 2), mode="reflect")
    np.testing.assert_allclose(without_column_stripes(lines), lines - (means - usual), atol=1e-5)


def test_the_smallest_sinograms_are_left():
    for shape in ((1, 1), (2, 1), (1, 2), (3, 4)):
        lines = np.ones(shape, np.float32)
        np.testing.assert_array_equal(without_column_stripes(lines), lines)
