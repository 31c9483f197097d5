"""Directions of projections, and how much of the half circle each of them stands for.

Cosines and sines are made of additions and products alone, so that they have the same bits on every machine; the
library of another machine rounds differently.
"""

from __future__ import annotations

import math

import numpy as np

from crackdask.arrays import Floats

#: A gap this many times wider than the usual step between angles is a missing wedge.
WEDGE = 4.0
_TERMS = 10


def cosines_and_sines(degrees: Floats) -> tuple[Floats, Floats]:
    """Return cosine and sine of angles in degrees, each within 2e-16, and exact at multiples of 90 degrees.

    >>> [values.tolist() for values in cosines_and_sines(np.array([0.0, 90.0, 180.0, -90.0]))]
    [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]]
    """
    quarters = np.rint(np.asarray(degrees, np.float64) / 90)
    x = (degrees - 90 * quarters) * (math.pi / 180)
    square = x * x
    cosine, sine = np.ones_like(x), np.ones_like(x)
    for k in range(_TERMS, 0, -1):  # Taylor's series; |x| is at most pi / 4
        cosine = 1 - square * cosine / ((2 * k - 1) * (2 * k))
        sine = 1 - square * sine / ((2 * k) * (2 * k + 1))
    sine = sine * x
    turn = quarters.astype(np.int64) % 4
    values = [cosine, sine, -cosine, -sine, cosine]
    turned_cosine = np.choose(turn, [values[0], values[3], values[2], values[1]])
    turned_sine = np.choose(turn, [values[1], values[0], values[3], values[2]])
    return turned_cosine + 0.0, turned_sine + 0.0  # no negative zero


def angular_weights(degrees: Floats) -> Floats:
    """Return the share of the half circle, in radians, that each projection stands for.

    Projections half a turn apart see the same, so angles count modulo 180 degrees. Each one reaches halfway to its
    neighbours on both sides, and by half a usual step into a missing wedge. Hence the shares add up to pi where the
    half circle is covered, whatever the steps and whether its end is there once or twice, and to the angle that is
    covered where a wedge is missing: what was seen keeps its contrast, and nothing is scaled up for what was not.

    >>> float(np.degrees(angular_weights(np.arange(0.0, 180.0, 45.0)).sum()))
    180.0
    >>> np.degrees(angular_weights(np.array([30.0, 40.0, 50.0]))).round(6).tolist()
    [10.0, 10.0, 10.0]

    Raises
    ------
    ValueError
        With fewer than two angles, with angles that are no numbers, or where all are the same.
    """
    degrees = np.asarray(degrees, np.float64)
    if degrees.ndim != 1 or degrees.size < 2 or not np.isfinite(degrees).all():
        raise ValueError(f"two or more finite angles in a list are needed, found {degrees.size}")
    within = degrees - 180 * np.floor(degrees / 180)
    order = np.argsort(within, kind="stable")
    gaps = np.diff(within[order], append=within[order[0]] + 180)
    step = usual_step(gaps)
    after = np.where(gaps > WEDGE * step, step, gaps) / 2
    share = np.empty_like(within)
    share[order] = after + np.roll(after, 1)
    return share * (math.pi / 180)


def usual_step(gaps: Floats) -> float:
    """Return the gap up to which half of the covered angle lies, the largest gap set aside (it may be a wedge).

    Weighed by angle, because each direction may have been seen twice: every other gap is then zero.
    """
    ordered = np.sort(gaps)[:-1]
    if not ordered.size or ordered[-1] <= 0:
        raise ValueError("all angles are the same; a slice needs projections from different directions")
    covered = np.cumsum(ordered)
    return float(ordered[np.searchsorted(covered, covered[-1] / 2)])
