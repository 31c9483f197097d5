"""A smooth curve through a cloud of points that outliers do not move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats

#: Times the median absolute deviation this is the standard deviation of a normal variable.
MAD = 1.4826
_FEWEST = 10  # points that a slope is fitted to
_ROUNDS = 5


def robust_band(
    x: NDArray[Any], y: NDArray[Any], at: NDArray[Any], share: float = 0.2, knots: int = 64
) -> tuple[Floats, Floats, Floats]:
    """Return the typical y at given x, the robust spread of the points about it, and its standard error.

    Local lines, robust against outliers (Cleveland 1979): around each of a number of knots, which lie at quantiles of
    x, a line is fitted to the nearest share of the points with tricube weights, five times with bisquare weights of
    the residuals. Between knots the curve is straight, outside the points it is level. Fewer than 10 points have their
    median at every x.

    The spread is 1.4826 times the median distance of the points around a knot, which is the standard deviation where
    they are normal. The error is that spread times the norm of the weights that the points have in the line's height.

    Parameters
    ----------
    x, y
        The points, finite, in any order.
    at
        Where the curve is wanted.
    share
        Of the points that a line is fitted to (but at least 30 of them, or all).
    knots
        Number of lines.

    Examples
    --------
    >>> x = np.arange(40.0)
    >>> y = 2 * x
    >>> y[7] = 900
    >>> robust_band(x, y, np.array([7.0, 20.5]))[0].round(3).tolist()
    [14.0, 41.0]
    >>> x, y = np.arange(1000.0), np.random.default_rng(0).normal(size=1000)
    >>> _, spread, error = robust_band(x, y, np.array([500.0]))
    >>> spread.round(1).tolist(), error.round(2).tolist()
    ([1.0], [0.09])
    """
    if x.size < _FEWEST:
        middle = float(np.median(y))
        apart = MAD * float(np.median(np.abs(y - middle)))
        error = apart * np.sqrt(np.pi / 2 / x.size)
        return np.full(at.shape, middle), np.full(at.shape, apart), np.full(at.shape, error)
    order = np.argsort(x, kind="stable")
    x, y = x[order].astype(np.float64), y[order].astype(np.float64)
    places = np.unique(np.quantile(x, np.linspace(0, 1, min(knots, x.size))))
    window = min(x.size, max(30, int(np.ceil(share * x.size))))
    lines = np.array([_line(x, y, place, window) for place in places])
    level, spread, error = (np.interp(at, places, column) for column in lines.T)
    return level, spread, error


def _line(x: Floats, y: Floats, place: float, window: int) -> tuple[float, float, float]:
    """Return the height at one place of a line through the nearest points, their spread, and the height's error."""
    distance = np.abs(x - place)
    near = np.argpartition(distance, window - 1)[:window]
    reach = float(distance[near].max()) * 1.0001
    tricube = (1 - (distance[near] / reach) ** 3) ** 3 if reach > 0 else np.ones(window)
    run, rise = x[near] - place, y[near]
    level, slope, pull = float(np.median(rise)), 0.0, np.full(window, 1 / window)
    for _ in range(_ROUNDS):
        residual = rise - level - slope * run
        scale = 6 * float(np.median(np.abs(residual)))
        if scale == 0:
            break
        weight = tricube * np.clip(1 - (residual / scale) ** 2, 0, None) ** 2
        total = weight.sum()
        middle = float((weight * run).sum() / total)
        width = float((weight * (run - middle) ** 2).sum() / total)
        mean = float((weight * rise).sum() / total)
        slope = float((weight * (run - middle) * rise).sum() / total) / width if width > 0 else 0.0
        level = mean - slope * middle
        pull = weight / total * (1 - middle * (run - middle) / width if width > 0 else 1.0)
    spread = MAD * float(np.median(np.abs(rise - level - slope * run)))
    return level, spread, spread * float(np.sqrt((pull**2).sum()))
