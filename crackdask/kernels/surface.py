"""Surface area from counts of 2x2x2 configurations.

After Lindblad (2005), Image and Vision Computing 23:111-122, with weights for any voxel edges.
Marching cubes on a mask is 8% too high, because it follows the steps of the voxels. Here every
configuration of eight voxels has a weight in um2, and the weights are those that best give the area
of planes of all orientations.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Edges

_CORNERS = tuple(product((0, 1), repeat=3))
_DIVISIONS = 48
_DIGITS = 6


def _classes() -> tuple[Array, Array]:
    """Return the class of each of the 256 configurations, and one member of each class.

    Bit ``4 z + 2 y + x`` is the corner (z, y, x). A class holds what reflections and the exchange
    of inside and outside turn into each other: all of it has the same surface, also where voxels
    are not cubes.
    """
    lowest = np.full(256, 255)
    for configuration in range(256):
        for flip in _CORNERS:
            image = 0
            for bit, corner in enumerate(_CORNERS):
                if configuration >> bit & 1:
                    z, y, x = (a ^ b for a, b in zip(corner, flip, strict=True))
                    image |= 1 << (4 * z + 2 * y + x)
            lowest[configuration] = min(lowest[configuration], image, 255 - image)
    members, classes = np.unique(lowest, return_inverse=True)
    return classes.astype(np.uint8), members.astype(np.uint8)


CELL_CLASS, CELL_MEMBER = _classes()


@lru_cache(maxsize=8)
def cell_areas(voxel_um: Edges) -> tuple[float, ...]:
    """Return the surface area in um2 that one 2x2x2 cell of each class stands for.

    Classes that a plane can cut have weights by least squares over all orientations of a plane,
    with no bias over a sphere. Planes leave some of these weights open (only their sums matter);
    they go half way from the smallest weights, which are 0.3% too high on balls of radius 6, to
    Crofton's, which are 0.3% too low. The other classes (necks, points that touch) get Crofton's
    estimate, from the cell's 28 pairs of voxels in 13 directions.

    >>> areas = cell_areas((1.0, 1.0, 1.0))
    >>> [round(areas[CELL_CLASS[corners]], 3) for corners in (0b0, 0b1, 0b11, 0b1111)]
    [0.0, 0.622, 0.669, 0.927]
    """
    scale = float(np.prod(voxel_um)) ** (1 / 3)
    edges = np.array(voxel_um) / scale
    normals, share = _orientations()
    met = _configurations_of_planes(edges, normals)
    planar = np.flatnonzero(met.any(axis=0))
    met = met[:, planar]
    mean = share @ met
    spread = (met * share[:, None]).T @ met
    areas = _crofton(edges, normals, share)
    ridge = 1e-6 * np.trace(spread)
    solve = np.linalg.inv(spread + ridge * np.eye(planar.size))
    free = solve @ (mean + ridge * areas[planar] / 2)
    pull = solve @ mean
    areas[planar] = free + pull * (1.0 - mean @ free) / (mean @ pull)
    # What a processor's linear algebra, or the number of its threads, may change lies far behind these digits.
    return tuple(float(area) * scale**2 for area in np.round(areas, _DIGITS))


def _orientations() -> tuple[Array, Array]:
    """Return unit vectors over one octant, symmetric in the axes, and the share of each."""
    centres = (np.arange(_DIVISIONS) + 0.5) / _DIVISIONS
    u, v = (grid.ravel() for grid in np.meshgrid(centres, centres, indexing="ij"))
    face = np.stack([np.ones_like(u), u, v], axis=1)
    normals = np.concatenate([np.roll(face, turn, axis=1) for turn in range(3)])
    length = np.sqrt((normals**2).sum(axis=1))
    share = length**-3
    return normals / length[:, None], share / share.sum()


def _configurations_of_planes(edges: Array, normals: Array) -> Array:
    """Return the number of cells of each class that a plane of unit area meets (normal, class)."""
    height = (np.array(_CORNERS) * edges) @ normals.T
    order = np.argsort(height, axis=0, kind="stable")
    gaps = np.diff(np.take_along_axis(height, order, axis=0), axis=0)
    met = np.zeros((len(normals), CELL_MEMBER.size))
    below = np.zeros(len(normals), np.int64)
    for corner, gap in zip(order[:-1], gaps, strict=True):
        below |= 1 << corner
        met[np.arange(len(normals)), CELL_CLASS[below]] += gap
    return met / float(edges.prod())


def _crofton(edges: Array, normals: Array, share: Array) -> Array:
    """Return Crofton's estimate of the area in a cell of each class (13 directions)."""
    steps = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
    lengths = np.sqrt(((np.array(steps) * edges) ** 2).sum(axis=1))
    directions = np.abs(np.array(steps) * edges / lengths[:, None])
    nearest = np.argmax(normals @ directions.T, axis=1)
    _, same, members = np.unique(directions, axis=0, return_inverse=True, return_counts=True)
    kinds = members[same]
    by_kind = np.bincount(same[nearest], weights=share, minlength=members.size)[same]
    areas = np.zeros(CELL_MEMBER.size)
    for step, length, part, alike in zip(steps, lengths, by_kind, kinds, strict=True):
        shared_by = 2 ** sum(s == 0 for s in step)  # cells that have this pair of voxels
        weight = 2 * part / alike * edges.prod() / length / shared_by
        for configuration in range(CELL_MEMBER.size):
            areas[configuration] += weight * _crossings(int(CELL_MEMBER[configuration]), step)
    return areas


def _crossings(configuration: int, step: tuple[int, ...]) -> int:
    crossings = 0
    for corner in _CORNERS:
        z, y, x = (a + b for a, b in zip(corner, step, strict=True))
        if all(c in (0, 1) for c in (z, y, x)):
            here = configuration >> (4 * corner[0] + 2 * corner[1] + corner[2]) & 1
            crossings += here != (configuration >> (4 * z + 2 * y + x) & 1)
    return crossings
