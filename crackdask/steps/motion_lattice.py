"""A lattice of displacements: where its nodes lie, which matches are not believed, and what stands in for them.

Plain arithmetic on the whole lattice in one fixed order, so no block and no worker has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil

import numpy as np

from crackdask.arrays import Floats, Mask
from crackdask.grid import Box, Triple, as_triple

#: A node is set aside where it differs from its neighbours by this many times what they differ among themselves.
OUTLYING = 4.0
#: Voxels by which neighbours are taken to differ at least, in that comparison.
ALIKE = 0.25
#: Nodes around that a comparison needs.
_FEWEST = 4
_STEPS = (-1, 0, 1)
_AROUND: tuple[Triple, ...] = tuple((z, y, x) for z in _STEPS for y in _STEPS for x in _STEPS if (z, y, x) != (0, 0, 0))


@dataclass(frozen=True)
class Nodes:
    """Where sub-blocks lie: the corner of the first, and even steps from one to the next, in voxels.

    Attributes
    ----------
    counts
        Nodes along z, y, x.
    first, step
        Corner of the first sub-block, and voxels from corner to corner.
    edge
        Edges of a sub-block.
    """

    counts: Triple
    first: Triple
    step: Triple
    edge: Triple

    @classmethod
    def of(cls, region: Box, spacing: int, edge: int, shift: bool = False) -> Nodes:
        """Return nodes that cover a region evenly, at most `spacing` apart where it is large enough for two.

        Parameters
        ----------
        region
            What they are to cover; sub-blocks lie inside it, at even distances from its corner.
        spacing, edge
            Wanted, in voxels.
        shift
            Return the nodes in the middles between those instead.

        >>> Nodes.of(Box.whole((100, 40, 30)), 32, 40).counts
        (3, 1, 1)
        """
        counts, first, step, edges = [], [], [], []
        for start, n in zip(region.start, region.shape, strict=True):
            own = min(edge, n) // 2 * 2
            room = n - own
            count = ceil(room / spacing) + 1 if room >= 16 else 1
            by = room // (2 * max(1, count - 1)) * 2 if count > 1 else 2
            begin = (room - by * (count - 1)) // 4 * 2
            if shift and count > 1:
                count, begin = count - 1, begin + by // 4 * 2
            counts.append(count)
            first.append(start + begin)
            step.append(by)
            edges.append(own)
        return cls(as_triple(counts), as_triple(first), as_triple(step), as_triple(edges))

    @property
    def origin(self) -> tuple[float, float, float]:
        """Middle of the first sub-block, as a voxel index."""
        z, y, x = (f + (e - 1) / 2 for f, e in zip(self.first, self.edge, strict=True))
        return (z, y, x)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxels from node to node."""
        z, y, x = (float(s) for s in self.step)
        return (z, y, x)

    def block(self, node: Triple) -> Box:
        """Return the sub-block of a node."""
        start = as_triple(f + k * s for f, k, s in zip(self.first, node, self.step, strict=True))
        return Box(start, as_triple(a + e for a, e in zip(start, self.edge, strict=True)))

    def tiles(self, most: int) -> Iterator[Box]:
        """Yield ranges of nodes, at most so many along an axis, in raster order; nodes far apart come one by one."""
        along = [most if s < 2 * e else 1 for s, e in zip(self.step, self.edge, strict=True)]
        starts = [range(0, n, m) for n, m in zip(self.counts, along, strict=True)]
        for start in product(*starts):
            yield Box(
                as_triple(start), as_triple(min(a + m, n) for a, m, n in zip(start, along, self.counts, strict=True))
            )


@dataclass(frozen=True, eq=False)
class Matched:
    """What was found at the nodes of a lattice.

    Attributes
    ----------
    displacement
        (z, y, x, axis), voxels.
    error
        Its standard error along the worst direction, (z, y, x), voxels.
    correlation
        Of grey levels there, 0 where no match was found.
    good
        Where a match was found, and is believed.
    """

    displacement: Floats
    error: Floats
    correlation: Floats
    good: Mask


def believed(matched: Matched) -> Matched:
    """Return matches without those that fit none of their neighbours.

    That is the normalised median test (Westerweel and Scarano 2005): the neighbours' own differences are the measure,
    so a slip, which divides them, stays.
    """
    held = np.where(matched.good[..., None], matched.displacement, np.nan)
    around = np.stack([_moved(held, step) for step in _AROUND])
    few = np.isfinite(around[..., 0]).sum(axis=0) < _FEWEST
    around = np.where(few[None, ..., None], 0.0, around)
    with np.errstate(invalid="ignore"):
        middle = np.nanmedian(around, axis=0)
        spread = np.nanmedian(np.abs(around - middle), axis=0)
        off = np.abs(matched.displacement - middle) / (spread + ALIKE + 3 * matched.error[..., None])
    outlying = (np.sqrt((off**2).sum(axis=-1)) > OUTLYING) & ~few
    return replace(matched, good=matched.good & ~outlying)


def filled(matched: Matched) -> Matched:
    """Return matches with a displacement at every node: where none is believed, the mean of the nearest around.

    Its error is how much these differ, and half a voxel. Where nothing was matched at all, it is 0.
    """
    displacement = np.where(matched.good[..., None], matched.displacement, 0.0)
    error, known = np.where(matched.good, matched.error, 0.0), matched.good.copy()
    if not known.any():
        return replace(matched, displacement=displacement, error=np.full(known.shape, np.inf))
    while not known.all():
        weight = np.zeros(known.shape)
        total, square = np.zeros(displacement.shape), np.zeros(known.shape)
        for step in _AROUND:
            here = _moved(known.astype(float), step, 0.0) / sum(map(abs, step))
            near = _moved(displacement, step, 0.0)
            weight += here
            total += here[..., None] * near
            square += here * (near**2).sum(axis=-1)
        reached = ~known & (weight > 0)
        mean = total[reached] / weight[reached][:, None]
        differ = np.maximum(square[reached] / weight[reached] - (mean**2).sum(axis=-1), 0)
        displacement[reached], error[reached] = mean, np.sqrt(differ) + 0.5
        known |= reached
    return replace(matched, displacement=displacement, error=error)


def smoothed(matched: Matched) -> Matched:
    """Return displacements drawn to what their neighbours say, as far as the difference is no more than its error.

    A node is compared with the middle between its two neighbours along each axis, so what is straight stays as it is;
    a difference d with variance v is kept to the part 1 - v / d^2 and is 0 below v: a slip stays a slip.
    """
    value, variance = matched.displacement, matched.error**2
    middle, doubt, axes = np.zeros(value.shape), np.zeros(variance.shape), np.zeros(variance.shape)
    for axis in range(3):
        if value.shape[axis] < 3:
            continue
        inner = [slice(None)] * 3
        low, high = list(inner), list(inner)
        inner[axis], low[axis], high[axis] = slice(1, -1), slice(None, -2), slice(2, None)
        here, below, above = tuple(inner), tuple(low), tuple(high)
        middle[here] += (value[below] + value[above]) / 2
        doubt[here] += (variance[below] + variance[above]) / 4
        axes[here] += 1
    has = axes > 0
    n = np.where(has, axes, 1.0)
    away = value - middle / n[..., None]
    expected = 3 * (variance + doubt / n**2)
    size = (away**2).sum(axis=-1)
    kept = np.where(has, np.maximum(0.0, 1 - expected / np.where(size > 0, size, 1.0)), 1.0)
    drawn = value - (1 - kept)[..., None] * away
    return replace(matched, displacement=np.where(has[..., None], drawn, value))


def _moved(values: Floats, step: Triple, outside: float = np.nan) -> Floats:
    """Return the values of the nodes a step away."""
    out = np.full(values.shape, outside)
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, values.shape, strict=False))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, values.shape, strict=False))
    out[here] = values[there]
    return out
