"""Polynomials through scattered points around a place, in one compiled loop over the places.

Sums run over the points, and then over the terms, in one fixed order without fastmath: each place is the same bits
whichever others are asked for with it, and whoever asks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.kernels.compiling import compiled
from crackdask.kernels.smooth_curve import MAD

#: Rounds in which what lies far off loses weight, and from how many deviations on.
_ROUNDS, _FAR = 2, 2.5
#: Points in a plane leave slopes open, which this, of the trace of the normal equations, keeps small.
_RIDGE = 1e-9


@compiled(apart=True)
def _gather(points, values, at, near, powers, terms, known, nearness) -> float:  # type: ignore[no-untyped-def]
    """Fill in the terms of each point, in units of the radius around the place, its values and nearness.

    Return the radius.
    """
    farthest = 0.0
    for p in range(near.size):
        square = 0.0
        for axis in range(3):
            apart = points[near[p], axis] - at[axis]
            known[p, axis] = values[near[p], axis]
            square += apart * apart
        nearness[p] = np.sqrt(square)
        farthest = max(farthest, nearness[p])
    radius = max(farthest, 1e-9) * 1.01
    for p in range(near.size):
        share = nearness[p] / radius
        kept = 1 - share * share * share
        nearness[p] = kept * kept * kept
        for t in range(powers.shape[0]):
            terms[p, t] = 1.0
            for axis in range(3):
                apart = (points[near[p], axis] - at[axis]) / radius
                for _ in range(powers[t, axis]):
                    terms[p, t] *= apart
    return radius


@compiled(apart=True)
def _add_up(terms, weight, known, normal, right) -> None:  # type: ignore[no-untyped-def]
    """Add up the lower half of the normal equations, and their three right sides."""
    normal[:] = 0.0
    right[:] = 0.0
    for p in range(weight.size):
        row = terms[p]
        for t in range(row.size):
            own = weight[p] * row[t]
            for u in range(t + 1):
                normal[t, u] += own * row[u]
            for axis in range(3):
                right[t, axis] += own * known[p, axis]


@compiled(apart=True)
def _factorise(normal, lower) -> None:  # type: ignore[no-untyped-def]
    """Factorise the normal equations (Cholesky), with a ridge; what rounding makes negative counts as a part of it."""
    n = normal.shape[0]
    ridge = 0.0
    for t in range(n):
        ridge += normal[t, t]
    ridge *= _RIDGE
    for t in range(n):
        for u in range(t + 1):
            value = normal[t, u]
            for v in range(u):
                value -= lower[t, v] * lower[u, v]
            lower[t, u] = value / lower[u, u] if u < t else np.sqrt(max(value + ridge, 0.5 * ridge, 1e-300))


@compiled(apart=True)
def _solve(lower, answer) -> None:  # type: ignore[no-untyped-def]
    """Solve for each column of the right sides, in place."""
    n = lower.shape[0]
    for column in range(answer.shape[1]):
        for t in range(n):
            value = answer[t, column]
            for u in range(t):
                value -= lower[t, u] * answer[u, column]
            answer[t, column] = value / lower[t, t]
        for t in range(n - 1, -1, -1):
            value = answer[t, column]
            for u in range(t + 1, n):
                value -= lower[u, t] * answer[u, column]
            answer[t, column] = value / lower[t, t]


@compiled(apart=True)
def _residuals(terms, known, fitted, rest) -> None:  # type: ignore[no-untyped-def]
    for p in range(terms.shape[0]):
        for axis in range(3):
            value = known[p, axis]
            for t in range(terms.shape[1]):
                value -= terms[p, t] * fitted[t, axis]
            rest[p, axis] = value


@compiled(apart=True)
def _reweigh(rest, nearness, size, weight) -> None:  # type: ignore[no-untyped-def]
    """Give points weight by how near they are, and little where they lie far off."""
    for p in range(size.size):
        size[p] = np.sqrt(rest[p, 0] * rest[p, 0] + rest[p, 1] * rest[p, 1] + rest[p, 2] * rest[p, 2])
    scale = _FAR * MAD * np.median(size) / 1.6 + 1e-6
    for p in range(size.size):
        far = size[p] / scale
        less = 1 + far * far
        weight[p] = nearness[p] / (less * less)


@compiled(apart=True)
def _variance(terms, weight, nearness, squares, inverse, rest) -> float:  # type: ignore[no-untyped-def]
    """Return the variance of the sum of the three slopes of each component along its own axis, in units of radii.

    What was given little weight counts here in full, or the error would be that of the points that agree.
    """
    count, n = terms.shape
    total, fitted, spread = 0.0, 0.0, 0.0
    for p in range(count):
        total += nearness[p]
    for t in range(n):
        fitted += inverse[t, t] * squares[t, t]
        for u in range(t):
            fitted += 2 * inverse[t, u] * squares[t, u]
    for axis in range(3):
        lever, deviation = 0.0, 0.0
        for p in range(count):
            slope = 0.0
            for t in range(n):
                slope += inverse[axis + 1, t] * terms[p, t]
            lever += (weight[p] * slope) * (weight[p] * slope)
            deviation += nearness[p] * rest[p, axis] * rest[p, axis]
        spread += lever * deviation
    return spread / max(total - fitted, 0.1 * total)


@compiled
def _fit(points, values, at, near, powers, gradient, variance) -> None:  # type: ignore[no-untyped-def]
    count, n = near.shape[1], powers.shape[0]
    terms, known, rest = np.empty((count, n)), np.empty((count, 3)), np.empty((count, 3))
    nearness, weight, size = np.empty(count), np.empty(count), np.empty(count)
    normal, squares, lower = np.empty((n, n)), np.empty((n, n)), np.zeros((n, n))
    fitted, unused, inverse = np.empty((n, 3)), np.empty((n, 3)), np.empty((n, n))
    for place in range(at.shape[0]):
        radius = _gather(points, values, at[place], near[place], powers, terms, known, nearness)
        weight[:] = nearness
        for turn in range(_ROUNDS + 1):
            _add_up(terms, weight, known, normal, fitted)
            _factorise(normal, lower)
            _solve(lower, fitted)
            _residuals(terms, known, fitted, rest)
            if turn < _ROUNDS:
                _reweigh(rest, nearness, size, weight)
        for component in range(3):
            for axis in range(3):
                gradient[place, component, axis] = fitted[1 + axis, component] / radius
        inverse[:] = 0.0
        for t in range(n):
            inverse[t, t] = 1.0
        _solve(lower, inverse)
        for p in range(count):
            size[p] = nearness[p] * nearness[p]
        _add_up(terms, size, known, squares, unused)
        variance[place] = _variance(terms, weight, nearness, squares, inverse, rest) / (radius * radius)


def fit_slopes(
    points: Floats, values: Floats, at: Floats, near: NDArray[np.int64], powers: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the slopes of a polynomial fitted around each place, and the variance of the sum of those along own axes.

    Weights fall with distance (Cleveland 1979); what lies far off its neighbours loses weight, round by round.

    Parameters
    ----------
    points, values
        (n, 3) each: values are known at the points.
    at, near
        (m, 3) places, and the points around each, (m, k) row numbers.
    powers
        Of z, y, x in each term, (term, 3): the constant first, then the slopes.

    Returns
    -------
    tuple
        Gradients (m, component, axis), and variances (m,).
    """
    gradient, variance = np.empty((len(at), 3, 3)), np.empty(len(at))
    whole = np.ascontiguousarray
    _fit(whole(points), whole(values), whole(at), whole(near), whole(powers), gradient, variance)
    return gradient, variance
