"""Stripes the paper's way: against the program of its authors, and on what theirs leaves open."""

from __future__ import annotations

import algotom.prep.removal as peer
import numpy as np
import pytest

from crackdask.kernels.fitted_stripes import _parabolas, without_fitted_stripes
from crackdask.kernels.sorting_stripes import (
    interpolate_columns,
    without_all_stripes,
    without_dead_stripes,
    without_large_stripes,
    without_sorted_stripes,
)
from crackdask.phantom.ellipsoids import packed

WITHIN = 1e-6


def striped(projections: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return a sinogram of packed ellipsoids with noise, air beside them, and stripes of all kinds."""
    rng = np.random.default_rng(seed)
    balls = packed(seed, 60, 0.42 * columns, 12, (0.02 * columns, 0.05 * columns))
    degrees = np.linspace(0, 180, projections, endpoint=False)
    lines = balls.projections(degrees, np.zeros(1), columns, columns / 2 + 3.2, fine=1)[0]
    lines *= 1.5 / lines.max()
    lines += rng.normal(0, 0.01, lines.shape) + rng.normal(0, 0.002, columns)
    chosen = rng.permutation(np.arange(8, columns - 8))
    lines[:, chosen[:6]] *= rng.uniform(0.9, 1.1, 6)
    lines[:, chosen[6:8]] = 0.3
    lines[:, chosen[8:10]] += rng.normal(0, 0.3, (projections, 2))
    return lines.astype(np.float32)


@pytest.mark.parametrize("shape", [(120, 160), (181, 201)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (without_sorted_stripes, peer.remove_stripe_based_sorting),
        (without_large_stripes, peer.remove_large_stripe),
        (without_dead_stripes, lambda lines: peer.remove_dead_stripe(lines, residual=False)),
        (without_all_stripes, peer.remove_all_stripe),
        (
            lambda lines: without_fitted_stripes(lines + 0.5),
            lambda lines: peer.remove_stripe_based_fitting(lines + 0.5),
        ),
    ],
    ids=["sorting", "large", "dead", "all", "fitting"],
)
def test_sinograms_are_those_of_the_authors_program(shape, ours, theirs):
    lines = striped(*shape)
    wanted = theirs(lines.copy())
    assert np.abs(wanted - lines).max() > 0.02
    given = lines.copy()
    np.testing.assert_allclose(ours(lines), wanted, atol=WITHIN)
    np.testing.assert_array_equal(lines, given)


@pytest.mark.parametrize("seed", range(2))
def test_noise_alone_is_what_the_authors_program_makes_of_it(seed):
    """The mean of a column is as often below 0 as above, and a negative quotient turns its order round."""
    lines = np.random.default_rng(seed).normal(0, 0.01, (120, 160)).astype(np.float32)
    np.testing.assert_allclose(without_all_stripes(lines), peer.remove_all_stripe(lines.copy()), atol=1e-8)


@pytest.mark.parametrize("length", [1, 3, 5, 9])
def test_short_parabolas_are_those_of_numpy(length):
    """Without what blurs afterwards; of one and of three values the parabola is the value itself."""
    lines = np.random.default_rng(length).normal(3, 1, (14, 6)).astype(np.float32)
    reach = length // 2
    wide = np.pad(lines.astype(float), ((reach, reach), (0, 0)), mode="reflect")
    wanted = (
        [
            np.polynomial.polynomial.polyfit(np.arange(-reach, reach + 1), wide[row : row + length], 2)[0]
            for row in range(len(lines))
        ]
        if length > 1
        else lines
    )
    found = _parabolas(np.ascontiguousarray(lines.T), reach).T
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_equal_values_keep_their_order():
    """Projections that all see the same stay in their places; a sort that is not stable would mix them up."""
    lines = np.repeat(np.linspace(0, 1, 60, dtype=np.float32)[None], 50, axis=0)
    lines[20:30] += 1
    wanted = np.sort(lines, axis=0)
    assert (without_sorted_stripes(lines)[20:30] > without_sorted_stripes(lines)[:20].max(axis=0)).all()
    np.testing.assert_allclose(np.sort(without_sorted_stripes(lines), axis=0)[:, 15:-15], wanted[:, 15:-15], atol=1e-6)


def test_all_that_differs_from_the_authors_program_is_the_order_of_equal_values(monkeypatch):
    """Theirs leaves it to the sort of the machine; once that is stable nothing differs."""
    lines = striped(181, 201, seed=3)
    tied = np.array([[np.count_nonzero(column == value) > 1 for value in column] for column in lines.T]).T
    assert 0 < np.count_nonzero(tied.any(axis=0) & ~tied.all(axis=0)) < 10  # and columns that are stuck at one value
    found, theirs = without_sorted_stripes(lines), peer.remove_stripe_based_sorting(lines.copy())
    assert not (np.abs(found - theirs) > WITHIN)[~tied].any()
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(theirs, axis=0), atol=WITHIN)

    def stable(matrix, axis):
        order = np.argsort(matrix, axis=axis, kind="stable")
        return np.take_along_axis(matrix, order, axis), order

    monkeypatch.setattr(peer.util, "sort_forward", stable)
    np.testing.assert_allclose(found, peer.remove_stripe_based_sorting(lines.copy()), atol=WITHIN)
    np.testing.assert_allclose(without_all_stripes(lines), peer.remove_all_stripe(lines.copy()), atol=WITHIN)


def test_data_without_noise_and_nothing_at_all_are_left():
    for lines in (np.zeros((30, 40), np.float32), np.ones((30, 40), np.float32), np.ones((3, 2), np.float32)):
        np.testing.assert_array_equal(without_all_stripes(lines), lines)


def test_columns_between_and_beyond_sound_ones():
    columns = np.array([[9.0], [1.0], [9.0], [9.0], [4.0], [9.0]], np.float32)
    interpolate_columns(columns, np.array([True, False, True, True, False, True]))
    np.testing.assert_allclose(columns[:, 0], [1, 1, 2, 3, 4, 4])
