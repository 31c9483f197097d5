"""The transform that most of a set of point pairs agree on.

Positions are physical, so that a rotation stays one when voxels are not cubes. Random draws are
seeded and sums run in one fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.kernels.smooth_curve import MAD

Matrix = NDArray[np.float64]
Numbers = NDArray[np.float64]
Kind = Literal["rigid", "affine"]

DRAWS = 200  # small samples tried
TUKEY = 4.685  # scales: points further off than this do not count (95% efficiency)


class Agreement(NamedTuple):
    """A transform, every point's distance to it in voxels, and its final weight."""

    matrix: Matrix
    distance: Numbers
    weight: Numbers


def rigid(source: Matrix, goal: Matrix, weights: Numbers) -> Matrix:
    """Return the weighted rigid transform of points (Kabsch 1976).

    >>> corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> rigid(corner, corner + [1, 2, 3], np.ones(4))[:3, 3].round(9).tolist()
    [1.0, 2.0, 3.0]
    """
    share = (weights / weights.sum())[:, None]
    start, end = (share * source).sum(axis=0), (share * goal).sum(axis=0)
    covariance = np.einsum("ni,nj->ij", share * (goal - end), source - start)
    left, _, right = np.linalg.svd(covariance)
    mirror = np.diag([1.0, 1.0, -1.0 if np.linalg.det(left @ right) < 0 else 1.0])
    return _about(left @ mirror @ right, start, end)


def affine(source: Matrix, goal: Matrix, weights: Numbers) -> Matrix:
    """Return the weighted affine transform of points by least squares."""
    share = (weights / weights.sum())[:, None]
    start, end = (share * source).sum(axis=0), (share * goal).sum(axis=0)
    inner = np.einsum("ni,nj->ij", share * (source - start), source - start)
    cross = np.einsum("ni,nj->ij", share * (goal - end), source - start)
    return _about(cross @ np.linalg.pinv(inner), start, end)


SOLVERS: dict[str, Callable[[Matrix, Matrix, Numbers], Matrix]] = {
    "rigid": rigid,
    "affine": affine,
}
LEAST = {"rigid": 3, "affine": 4}  # points that settle a transform


def _about(linear: Matrix, start: Numbers, end: Numbers) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = end - linear @ start
    return matrix


def distances(matrix: Matrix, source: Matrix, goal: Matrix, edges: Numbers) -> Numbers:
    """Return how far each point lands from its goal, in voxels of edge lengths `edges`."""
    error = (source @ matrix[:3, :3].T + matrix[:3, 3] - goal) / edges
    return np.asarray(np.sqrt((error**2).sum(axis=1)))


def weigh(distance: Numbers, weights: Numbers, least_scale: float) -> Numbers:
    """Return weights in which points far from the rest count little or nothing (Tukey)."""
    scale = max(least_scale, MAD * weighted_median(distance, weights))
    return np.asarray(weights * np.clip(1 - (distance / (TUKEY * scale)) ** 2, 0, None) ** 2)


def agree(
    source: Matrix,
    goal: Matrix,
    weights: Numbers,
    edges: Numbers,
    *,
    kind: Kind,
    least_scale: float,
    seed: int,
) -> Agreement:
    """Return the transform that most points agree on.

    The least median of distances over small samples (Rousseeuw 1984) finds the agreement, however
    wild up to half of the points are; weighted least squares with Tukey's biweight settle it.

    Parameters
    ----------
    source, goal
        Positions, one row a point, at least `LEAST` of them.
    weights
        Above 0.
    edges
        Edge lengths of a voxel.
    kind
        "rigid" or "affine".
    least_scale
        In voxels: points closer than about this are never cast out.
    seed
        Of the samples.
    """
    solve, least = SOLVERS[kind], LEAST[kind]
    random = np.random.default_rng(seed)
    matrix = solve(source, goal, weights)
    lowest = weighted_median(distances(matrix, source, goal, edges), weights)
    for _ in range(DRAWS):
        chosen = random.choice(len(source), size=least, replace=False)
        trial = solve(source[chosen], goal[chosen], weights[chosen])
        median = weighted_median(distances(trial, source, goal, edges), weights)
        if median < lowest:
            matrix, lowest = trial, median
    distance = distances(matrix, source, goal, edges)
    robust = weigh(distance, weights, least_scale)
    for _ in range(30):
        if np.count_nonzero(robust) < least:
            break
        matrix, last = solve(source, goal, robust), distance
        distance = distances(matrix, source, goal, edges)
        robust = weigh(distance, weights, least_scale)
        if np.abs(last - distance).max() < 1e-6:
            break
    return Agreement(matrix, distance, robust)


def weighted_median(numbers: Numbers, weights: Numbers) -> float:
    """Return the lower weighted median.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0]))
    2.0
    """
    order = np.argsort(numbers, kind="stable")
    total = np.cumsum(weights[order])
    return float(numbers[order][np.searchsorted(total, total[-1] / 2)])
