"""Slopes of what is known at scattered points: polynomials fitted around each place to its nearest points.

Weights fall with distance (Cleveland 1979), and points far off their neighbours count little, so that what slips past
does not turn a slope. How many points, and which order, follows from how far
slopes of stiffer fits lie from those of free ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.grid import Box, as_triple
from crackdask.kernels.weighted_polynomial import fit_slopes
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import spatial
else:
    spatial = Later("scipy.spatial")

#: Places that are fitted in one task, and whose neighbours are asked for at once; those that a choice is made from, at
#: most; and parts along each axis of a task in which it is told how far neighbours lie.
_AT_ONCE, _QUERIED, _JUDGED, _CELLS = 8192, 256, 120, 8
#: By how much more than noise two slopes must differ: a few dozen of them are independent.
_LUCK = 1.25
#: What the mean of a squared normal number is without the largest tenth.
_KEPT = 0.623
#: The highest order.
ORDER = 3
#: Runs a function over regions and returns its results in their order.
Apply = Callable[[Callable[["Region"], "Slopes"], Sequence["Region"]], Iterable["Slopes"]]
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
    tree, tried = spatial.cKDTree(points), []
    for how in candidates(len(points)):
        found = _fitted(tree, values, some, how)
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


def slopes(points: Floats, values: Floats, at: Floats, how: Neighbours, apply: Apply = map) -> Slopes:
    """Return gradients at places, and how sure they are.

    Places are dealt with region by region, each with the points that can be near: which regions there are follows from
    the points alone, so it does not show who has which.

    Parameters
    ----------
    points, values
        (n, 3) each: values are known at the points.
    at
        (m, 3), places.
    how
        Of `choose`.
    apply
        Runs a function over regions and returns its results in their order: `map`, or one that hands them to workers.
    """
    regions = Regions.of(points, values, at, how)
    found = Slopes(np.empty((len(at), 3, 3)), np.empty(len(at)))
    for rows, each in zip(regions.rows, apply(partial(fit_region, how), regions), strict=True):
        found.gradient[rows], found.variance[rows] = each
    return found


class Region(NamedTuple):
    """Places and all points that can be among the nearest of one of them; `box` is where the places lie, for people."""

    box: Box
    places: Floats
    points: Floats
    values: Floats


@dataclass(frozen=True, eq=False)
class Regions(Sequence[Region]):
    """Regions of about `_AT_ONCE` places, that are made when they are asked for."""

    points: Floats
    values: Floats
    at: Floats
    nearest: int
    rows: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, points: Floats, values: Floats, at: Floats, how: Neighbours) -> Regions:
        """Return regions that hold all places: halves of halves along their longest axis."""
        rows = [part for part in _halved(at, np.arange(len(at))) if part.size]
        return cls(points, values, at, how.points, rows)

    @cached_property
    def tree(self) -> Any:
        """All points, which only several regions have to be parted from."""
        return spatial.cKDTree(self.points)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        places, points, values = self.at[self.rows[number]], self.points, self.values
        low, high = places.min(axis=0), places.max(axis=0)
        if len(self.rows) > 1:
            # A place has as many points within the reach of the middle of its cell, and the way there.
            cell = np.maximum(high - low, 1e-9) / _CELLS
            middles = np.unique(np.minimum((places - low) // cell, _CELLS - 1), axis=0) * cell + low + cell / 2
            far = self.tree.query(middles, k=[self.nearest])[0].max() + np.sqrt((cell**2).sum()) / 2
            inside = np.all((points >= low - 1.001 * far) & (points <= high + 1.001 * far), axis=1)
            points, values = points[inside], values[inside]
        box = Box(as_triple(np.floor(low)), as_triple(np.floor(high) + 1))
        return Region(box, places, points, values)


def _halved(at: Floats, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows of places in compact parts of at most `_AT_ONCE`."""
    if rows.size <= _AT_ONCE:
        yield rows
        return
    axis = int(np.argmax(np.ptp(at[rows], axis=0)))
    order = rows[np.argsort(at[rows, axis], kind="stable")]
    yield from _halved(at, order[: rows.size // 2])
    yield from _halved(at, order[rows.size // 2 :])


def fit_region(how: Neighbours, region: Region) -> Slopes:
    """Return slopes at the places of a region: the task of a worker."""
    return _fitted(spatial.cKDTree(region.points), region.values, region.places, how)


def _fitted(tree: Any, values: Floats, places: Floats, how: Neighbours) -> Slopes:
    """Return slopes at places, from the points of a tree."""
    points, terms = tree.data, np.array(powers(how.order))
    found = Slopes(np.empty((len(places), 3, 3)), np.empty(len(places)))
    for start in range(0, len(places), _QUERIED):
        part = slice(start, start + _QUERIED)
        _, near = tree.query(places[part], k=how.points)
        found.gradient[part], found.variance[part] = fit_slopes(points, values, places[part], near, terms)
    return found
