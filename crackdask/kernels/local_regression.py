"""Slopes of what is known at scattered points: polynomials fitted around each place to its nearest points.

Weights fall with distance (Cleveland 1979), and points far off their neighbours count little, so that what slips past
does not turn a slope. How many points, and which order, follows from how far
slopes of stiffer fits lie from those of free ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crackdask.arrays import Floats
from crackdask.kernels.weighted_polynomial import fit_slopes
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import spatial
else:
    spatial = Later("scipy.spatial")

#: Places that are fitted at once, and that a choice is made from, at most.
_AT_ONCE, _JUDGED = 256, 120
#: By how much more than noise two slopes must differ: a few dozen of them are independent.
_LUCK = 1.25
#: What the mean of a squared normal number is without the largest tenth.
_KEPT = 0.623
#: The highest order.
ORDER = 3
#: Points tried, and those that a polynomial of an order needs for each of its terms.
_POINTS, _PER_TERM = (40, 80, 160, 320, 640), 4


class Slopes(NamedTuple):
    """Gradients and the variance of their trace.

    Attributes
    ----------
    gradient
        (place, component, axis).
    variance
        (place,), of the sum over components of the slope along its own axis.
    """

    gradient: Floats
    variance: Floats


class Choice(NamedTuple):
    """Neighbours, and the mean square by which slopes may be wrong beside their variance.

    Attributes
    ----------
    how
        Which neighbours.
    bias
        What may be wrong, squared.
    """

    how: Neighbours
    bias: float


class Neighbours(NamedTuple):
    """How a slope is told: how many points around, and the order of the polynomial through them."""

    points: int
    order: int

    @property
    def freedom(self) -> tuple[float, int]:
        """Terms of the polynomial for each point; where two have as many, the order."""
        return len(powers(self.order)) / self.points, self.order


def powers(order: int) -> list[tuple[int, int, int]]:
    """Return the powers of z, y, x in a polynomial, the constant first, then the slopes.

    >>> powers(1)
    [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    >>> len(powers(2)), len(powers(3))
    (10, 20)
    """
    every = [
        (a, b, c)
        for a in range(order, -1, -1)
        for b in range(order, -1, -1)
        for c in range(order, -1, -1)
        if a + b + c <= order
    ]
    return sorted(every, key=sum)


def candidates(count: int) -> list[Neighbours]:
    """Return what may be tried with so many points, the freest first.

    >>> [tuple(each) for each in candidates(50)]
    [(40, 2), (50, 2), (40, 1), (50, 1)]
    """
    sizes = [n for n in _POINTS if n < count]
    sizes += [count] if count <= _POINTS[-1] else []
    return [Neighbours(n, order) for order in range(ORDER, 0, -1) for n in sizes if n >= _PER_TERM * len(powers(order))]


def choose(points: Floats, values: Floats) -> Choice | None:
    """Return the neighbours that leave the least error of a slope; None where there are too few points.

    Few points and a high order are right on average but noisy; what differs from them by more than their noise is
    wrong. So the error of each candidate is its variance, and what is left of its square difference to one with more
    freedom when the noise of that is taken off, whichever tells most (after Lepski 1991). The largest tenth is
    left out: beside a slip all are wild. What differences do not tell from noise may be wrong as well.

    Parameters
    ----------
    points, values
        (n, 3) each.
    """
    some = points[np.unique(np.linspace(0, len(points) - 1, _JUDGED).astype(int))]
    tried = []
    for how in candidates(len(points)):
        found = slopes(points, values, some, how)
        tried.append((_middling(found.variance), how, np.trace(found.gradient, axis1=1, axis2=2)))
    best: tuple[float, Choice] | None = None
    for own, how, strain in tried:
        bias, sure, unseen = 0.0, 0.0, np.inf  # what may be wrong, what is, and what cannot be told from noise
        for noise, other, freer in tried:
            if other.freedom > how.freedom:
                apart, explained = _middling((strain - freer) ** 2) / _KEPT, max(0.0, noise - own)
                bias, sure = max(bias, apart - explained), max(sure, apart - _LUCK * explained)
                if other.order > how.order or how.order == ORDER:
                    unseen = min(unseen, explained * np.sqrt(2 * other.points / len(points)))
        if best is None or own + sure < best[0]:
            best = own + sure, Choice(how, max(bias, 0.0 if np.isinf(unseen) else float(unseen)))
    return best[1] if best else None


def _middling(values: Floats) -> float:
    """Return the mean of all but the largest tenth."""
    return float(np.sort(values)[: -(-9 * values.size // 10)].mean())


def slopes(points: Floats, values: Floats, at: Floats, how: Neighbours) -> Slopes:
    """Return gradients at places, and how sure they are.

    Parameters
    ----------
    points, values
        (n, 3) each: values are known at the points.
    at
        (m, 3), places.
    how
        Of `choose`.
    """
    tree = spatial.cKDTree(points)
    gradient, variance = np.empty((len(at), 3, 3)), np.empty(len(at))
    terms = np.array(powers(how.order))
    for start in range(0, len(at), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        _, near = tree.query(at[part], k=how.points)
        gradient[part], variance[part] = fit_slopes(points, values, at[part], near, terms)
    return Slopes(gradient, variance)
