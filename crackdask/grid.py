"""Integer arithmetic of blocks: boxes, grids, halos and chunk alignment.

Nothing here touches a voxel or a file; everything is decided before work starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

Triple = tuple[int, int, int]
#: Of a voxel, along z, y and x.
Edges = tuple[float, float, float]
Halo = int | Triple
#: Voxels along the longest axis of the coarsest level of a volume, at most.
COARSEST = 256


def triple(size: Halo) -> Triple:
    """Return one number per axis (z, y, x).

    >>> triple(3)
    (3, 3, 3)
    """
    return (size, size, size) if isinstance(size, int) else size


def as_triple(numbers: Iterable[Any]) -> Triple:
    """Return three whole numbers, along z, y and x."""
    z, y, x = (int(n) for n in numbers)
    return (z, y, x)


@dataclass(frozen=True, order=True)
class Box:
    """A half-open range of voxels, `start` to `stop` along (z, y, x).

    >>> Box((0, 0, 0), (4, 4, 4)).grow(2, within=(10, 10, 5))
    Box(start=(0, 0, 0), stop=(6, 6, 5))
    """

    start: Triple
    stop: Triple

    @classmethod
    def whole(cls, shape: Triple) -> Box:
        """Return the box of a whole volume."""
        return cls((0, 0, 0), shape)

    @property
    def shape(self) -> Triple:
        """Edge lengths in voxels."""
        (z0, y0, x0), (z1, y1, x1) = self.start, self.stop
        return (z1 - z0, y1 - y0, x1 - x0)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into the whole volume."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def grow(self, halo: Halo, *, within: Triple) -> Box:
        """Return the box with a halo on every side, clipped to a volume of shape `within`."""
        z, y, x = (
            (max(0, a - h), min(n, b + h))
            for a, b, h, n in zip(self.start, self.stop, triple(halo), within, strict=True)
        )
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def shifted(self, by: Triple) -> Box:
        """Return the box moved by some voxels.

        >>> Box((0, 0, 0), (1, 2, 3)).shifted((1, 0, -1))
        Box(start=(1, 0, -1), stop=(2, 2, 2))
        """
        start, stop = (tuple(a + b for a, b in zip(end, by, strict=True)) for end in (self.start, self.stop))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def intersect(self, other: Box) -> Box | None:
        """Return the common part of two boxes, or None where there is none."""
        z, y, x = (
            (max(a, c), min(b, d)) for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True)
        )
        if z[0] >= z[1] or y[0] >= y[1] or x[0] >= x[1]:
            return None
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """Return this box as an index into an array that covers `outer`."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return (z, y, x)


@dataclass(frozen=True)
class Grid:
    """A volume cut into blocks; the last block along an axis may be smaller.

    Blocks are numbered in raster order (x fastest).

    >>> grid = Grid((5, 4, 4), (4, 4, 2))
    >>> len(grid), grid.box(3)
    (4, Box(start=(4, 0, 2), stop=(5, 4, 4)))
    """

    shape: Triple
    block: Triple

    def __post_init__(self) -> None:
        """Refuse empty volumes and blocks."""
        if min(self.shape) < 1 or min(self.block) < 1:
            raise ValueError(f"volume {self.shape} and block {self.block} must be 1 or larger")

    @cached_property
    def counts(self) -> Triple:
        """Number of blocks along (z, y, x)."""
        z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        return (z, y, x)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return prod(self.counts)

    def __iter__(self) -> Iterator[Box]:
        """Yield the boxes in raster order."""
        return (self.box(i) for i in range(len(self)))

    def position(self, number: int) -> Triple:
        """Return the place (z, y, x) of a block among the blocks."""
        _, ny, nx = self.counts
        return (number // (ny * nx), number // nx % ny, number % nx)

    def number(self, position: Triple) -> int:
        """Return the number of the block at a place among the blocks."""
        _, ny, nx = self.counts
        return (position[0] * ny + position[1]) * nx + position[2]

    def box(self, number: int) -> Box:
        """Return the voxels of one block."""
        z, y, x = (
            (p * b, min((p + 1) * b, n)) for p, b, n in zip(self.position(number), self.block, self.shape, strict=True)
        )
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def touching(self, box: Box) -> list[int]:
        """Return the numbers of the blocks that share voxels with `box`."""
        ranges = [range(a // b, -(-c // b)) for a, c, b in zip(box.start, box.stop, self.block, strict=True)]
        return [self.number((z, y, x)) for z, y, x in product(*ranges)]


def coarser(shape: Triple) -> list[Triple]:
    """Return the shapes of a volume's coarser levels, each of half as many voxels along every axis as the one before.

    The last one has at most `COARSEST` voxels along each axis; there is always one.

    >>> coarser((100, 300, 40)), coarser((5, 1, 8))
    ([(50, 150, 20)], [(3, 1, 4)])
    """
    levels = [_halved(shape)]
    while max(levels[-1]) > COARSEST:
        levels.append(_halved(levels[-1]))
    return levels


def _halved(shape: Triple) -> Triple:
    z, y, x = (-(-n // 2) for n in shape)
    return (z, y, x)


def check_single_writer(grid: Grid, chunk: Triple) -> None:
    """Assert that no chunk (or shard) is shared by two blocks.

    Two writers in one chunk lose data silently (zarr-developers/zarr-python#3682).
    """
    for axis, (block, unit, size) in enumerate(zip(grid.block, chunk, grid.shape, strict=True)):
        if block % unit and block < size:
            raise AssertionError(f"blocks of {block} voxels along {'zyx'[axis]} would share chunks of {unit}")
