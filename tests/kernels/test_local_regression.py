"""Slopes among scattered points."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crackdask.kernels import local_regression
from crackdask.kernels.local_regression import Neighbours, Regions, candidates, choose, powers, slopes

POINTS = np.random.default_rng(0).uniform(0, 100, (700, 3))
GRADIENT = np.array([[0.01, -0.02, 0.015], [0.03, -0.01, 0.0], [0.0, 0.02, 0.02]])
MIDDLE = np.array([[50.0, 50.0, 50.0], [30.0, 60.0, 40.0]])


@pytest.mark.parametrize("how", candidates(700))
def test_what_is_straight_comes_back(how: Neighbours) -> None:
    found = slopes(POINTS, POINTS @ GRADIENT.T + 2, MIDDLE, how)
    np.testing.assert_allclose(found.gradient, np.broadcast_to(GRADIENT, (2, 3, 3)), atol=1e-6)
    assert (found.variance < 1e-10).all()


def test_one_place_is_the_weighted_polynomial_of_a_plain_loop() -> None:
    values = np.sin(POINTS / 30) + np.random.default_rng(1).normal(0, 0.01, POINTS.shape)
    found = slopes(POINTS, values, MIDDLE[:1], Neighbours(80, 2))
    distance = np.linalg.norm(POINTS - MIDDLE[0], axis=1)
    near = np.argsort(distance)[:80]
    radius = 1.01 * distance[near].max()
    rows = np.array([[np.prod(((POINTS[n] - MIDDLE[0]) / radius) ** p) for p in powers(2)] for n in near])
    nearness = (1 - (distance[near] / radius) ** 3) ** 3
    weight = nearness
    for turn in range(3):
        root = np.sqrt(weight)[:, None]
        fitted = np.linalg.lstsq(rows * root, values[near] * root, rcond=None)[0]
        size = np.linalg.norm(values[near] - rows @ fitted, axis=1)
        if turn < 2:
            weight = nearness / (1 + (size / (2.5 * 1.4826 * np.median(size) / 1.6 + 1e-6)) ** 2) ** 2
    np.testing.assert_allclose(found.gradient[0], fitted[1:4].T / radius, rtol=1e-4, atol=1e-6)


def test_regions_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    points = np.concatenate([random.uniform(0, 100, (900, 3)), random.normal(20, 3, (600, 3))])  # a dense part, too
    values = np.sin(points / 30) + random.normal(0, 0.1, points.shape)
    how = Neighbours(80, 2)
    whole = slopes(points, values, points, how)
    monkeypatch.setattr(local_regression, "_AT_ONCE", 100)
    regions = Regions.of(points, values, points, how)
    assert len(regions) == 16
    assert sorted(np.concatenate(regions.rows).tolist()) == list(range(1500))
    assert all(len(each.points) >= 80 for each in regions)
    assert min(len(each.points) for each in regions) < 750
    with ThreadPoolExecutor(2) as pool:
        cut = slopes(points, values, points, how, pool.map)
    np.testing.assert_array_equal(cut.gradient, whole.gradient)
    np.testing.assert_array_equal(cut.variance, whole.variance)


def test_errors_are_those_of_drawn_noise() -> None:
    random, how = np.random.default_rng(2), Neighbours(80, 1)
    off = []
    for _ in range(40):
        found = slopes(POINTS, POINTS @ GRADIENT.T + random.normal(0, 0.5, POINTS.shape), MIDDLE, how)
        strain = np.trace(found.gradient, axis1=1, axis2=2) - np.trace(GRADIENT)
        off.append(strain / np.sqrt(found.variance))
    assert 0.75 < np.std(off) < 1.3


def test_what_is_stiff_is_chosen_for_noise_and_what_is_free_for_waves() -> None:
    noise = np.random.default_rng(3).normal(0, 0.5, POINTS.shape)
    straight = choose(POINTS, POINTS @ GRADIENT.T + noise)
    wavy = choose(POINTS, 4 * np.sin(POINTS / 15) + noise / 50)
    assert straight is not None
    assert wavy is not None
    assert straight.how.order == 1
    assert straight.how.points >= 160
    assert wavy.how.order == 3
    assert wavy.how.points <= 80


def test_a_slip_beside_turns_no_slope() -> None:
    values = POINTS @ GRADIENT.T + np.where(POINTS[:, :1] > 75, [0.0, 2.0, 0.0], 0.0)
    found = slopes(POINTS, values, np.array([[55.0, 50.0, 50.0]]), Neighbours(160, 1))
    assert np.abs(found.gradient - GRADIENT).max() < 1e-3


def test_few_points_are_too_few() -> None:
    assert choose(POINTS[:15], POINTS[:15]) is None
    flat = POINTS * (0, 1, 1)
    assert np.isfinite(slopes(flat, flat @ GRADIENT.T, MIDDLE, Neighbours(40, 1)).gradient).all()
