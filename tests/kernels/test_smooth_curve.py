"""A robust curve through points: against lines fitted one by one, and where it is level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.kernels.smooth_curve import MAD, robust_band


def plain_line(x, y, place, count):
    """Return height, spread and error at a place, by weighted least squares with numpy's own solver."""
    near = sorted(range(len(x)), key=lambda i: abs(x[i] - place))[:count]
    run, rise = x[near] - place, y[near]
    tricube = (1 - (np.abs(run) / (1.0001 * np.abs(run).max())) ** 3) ** 3
    line, pull = np.array([np.median(rise), 0.0]), np.full(count, 1 / count)
    design = np.stack([np.ones(count), run], axis=1)
    for _ in range(5):
        off = rise - design @ line
        scale = 6 * np.median(np.abs(off))
        if scale == 0:
            break
        weight = tricube * np.where(np.abs(off) < scale, (1 - (off / scale) ** 2) ** 2, 0)
        solved = np.linalg.inv(design.T * weight @ design) @ design.T * weight
        line, pull = solved @ rise, solved[0]
    spread = MAD * np.median(np.abs(rise - design @ line))
    return line[0], spread, spread * np.sqrt((pull**2).sum())


@settings(max_examples=20)
@given(size=st.integers(12, 250), share=st.sampled_from([0.2, 0.6]), seed=st.integers(0, 99))
def test_the_curve_is_that_of_lines_fitted_one_by_one(size, share, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, size)
    y = np.sin(x) + rng.normal(0, 0.2, size)
    y[::7] += rng.uniform(3, 9)
    knots = np.unique(np.quantile(x, np.linspace(0, 1, 6)))
    wanted = [plain_line(x, y, place, min(size, max(30, int(np.ceil(share * size))))) for place in knots]
    found = robust_band(x, y, knots, share, knots=6)
    np.testing.assert_allclose(np.transpose(found), wanted, rtol=1e-6, atol=1e-9)
    # Between knots it is straight, beyond them level.
    beside = [-5.0, (knots[2] + knots[3]) / 2, 99.0]
    heights = np.transpose(wanted)
    middles = [heights[:, 0], (heights[:, 2] + heights[:, 3]) / 2, heights[:, -1]]
    found = robust_band(x, y, np.array(beside), share, knots=6)
    np.testing.assert_allclose(np.transpose(found), middles, rtol=1e-6, atol=1e-9)


def test_a_few_points_have_their_median():
    x, y = np.arange(9.0), np.array([1.0, 4, 2, 8, 5, 7, 90, 3, 6])
    level, spread, error = robust_band(x, y, np.array([-1.0, 4, 50]))
    assert level.tolist() == [5, 5, 5]
    assert spread.tolist() == [MAD * 2] * 3
    assert error.tolist() == pytest.approx([MAD * 2 * np.sqrt(np.pi / 2 / 9)] * 3)
    level, _, _ = robust_band(np.arange(10.0), np.append(y, 2 * np.arange(1)), np.array([0.0, 9.0]))
    assert level[0] != level[1], "ten have a line"


def test_points_at_one_place_have_no_slope():
    level, spread, error = robust_band(np.full(28, 3.0), np.tile([1.0, 2.0, 3.0, 4.0], 7), np.array([3.0, 8.0]))
    assert level.tolist() == pytest.approx([2.5, 2.5])
    assert (spread > 0).all()
    assert error.tolist() == pytest.approx((spread / np.sqrt(28)).tolist(), rel=0.05)


def test_what_is_straight_is_met_whatever_lies_beside_it():
    x = np.arange(60.0)
    y = np.where(x % 9 == 4, 1e6, 3 * x - 7)
    level, spread, error = robust_band(x, y, x)
    np.testing.assert_allclose(level, 3 * x - 7, atol=1e-6)
    assert spread.max() < 1e-6 > error.max()
