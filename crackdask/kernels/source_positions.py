"""Where a voxel of the store lies in a scan: a matrix, and before it what a lattice of displacements says.

A position comes from the voxel's global index by one fixed expression of IEEE operations without fastmath, so blocks
cannot show. Between its nodes the lattice is interpolated by Keys's cubic along z, y and x in turn, which goes through
the nodes and keeps straight what is straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.grid import Box, Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.interpolation import cubic_weights

Ends = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
Vector = tuple[float, float, float]


class Lattice(NamedTuple):
    """Displacements on a regular lattice.

    Attributes
    ----------
    values
        (z, y, x, axis) in voxels; of no node where nothing bends.
    origin, spacing
        Voxel index of the node with number 0, and voxels from node to node, along z, y and x.
    first
        Number of the first of the values along each axis: not 0 in a part of a lattice.
    """

    values: NDArray[np.float64]
    origin: Vector
    spacing: Vector
    first: Triple = (0, 0, 0)

    def near(self, box: Box) -> Lattice:
        """Return the part that bends the voxels of a box, to the same bits: what a task needs of a large lattice."""
        if not self.values.size:
            return self
        taps = _taps(self, [(float(a), float(b - 1)) for a, b in zip(box.start, box.stop, strict=True)])
        z, y, x = (max(0, t.start) for t in taps)
        first = (self.first[0] + z, self.first[1] + y, self.first[2] + x)
        return self._replace(
            values=self.values[z : taps[0].stop, y : taps[1].stop, x : taps[2].stop].copy(), first=first
        )


#: What bends nothing.
STRAIGHT = Lattice(np.zeros((0, 0, 0, 3)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@compiled
def row_positions(matrix, lattice, z: float, y: float, x0: float, line, out) -> None:  # type: ignore[no-untyped-def]
    """Write the source positions (axis, x) of a row of voxels that begins at (z, y, x0).

    `line` is room for the lattice's nodes along x, (node, axis).
    """
    sz = matrix[0, 0] * z + matrix[0, 1] * y
    sy = matrix[1, 0] * z + matrix[1, 1] * y
    sx = matrix[2, 0] * z + matrix[2, 1] * y
    if lattice.values.shape[0] == 0:
        for i in range(out.shape[1]):
            x = x0 + i
            out[0, i] = (sz + matrix[0, 2] * x) + matrix[0, 3]
            out[1, i] = (sy + matrix[1, 2] * x) + matrix[1, 3]
            out[2, i] = (sx + matrix[2, 2] * x) + matrix[2, 3]
        return
    origin, spacing, width = lattice.origin[2], lattice.spacing[2], out.shape[1]
    _nodes_of_row(lattice, z, y, x0, x0 + (width - 1), line)
    for i in range(width):
        place = ((x0 + i) - origin) / spacing
        out[0, i], out[1, i] = place, np.floor(place)
    start = 0
    while start < width:
        stop = start + 1
        while stop < width and out[1, stop] == out[1, start]:
            stop += 1
        node = int(out[1, start])
        first = node - 1 - lattice.first[2]
        _between_nodes(matrix, line[first : first + 4], node, z, y, x0 + start, out[:, start:stop])
        start = stop


@compiled
def _between_nodes(matrix, line, node: int, z: float, y: float, x0: float, out) -> None:  # type: ignore[no-untyped-def]
    """Write the source positions of voxels between the same two nodes; `out` begins with their places among nodes."""
    for i in range(out.shape[1]):
        x = x0 + i
        w = cubic_weights(out[0, i] - node)
        bz = z + ((w[0] * line[0, 0] + w[1] * line[1, 0]) + (w[2] * line[2, 0] + w[3] * line[3, 0]))
        by = y + ((w[0] * line[0, 1] + w[1] * line[1, 1]) + (w[2] * line[2, 1] + w[3] * line[3, 1]))
        bx = x + ((w[0] * line[0, 2] + w[1] * line[1, 2]) + (w[2] * line[2, 2] + w[3] * line[3, 2]))
        out[0, i] = ((matrix[0, 0] * bz + matrix[0, 1] * by) + matrix[0, 2] * bx) + matrix[0, 3]
        out[1, i] = ((matrix[1, 0] * bz + matrix[1, 1] * by) + matrix[1, 2] * bx) + matrix[1, 3]
        out[2, i] = ((matrix[2, 0] * bz + matrix[2, 1] * by) + matrix[2, 2] * bx) + matrix[2, 3]


@compiled
def _nodes_of_row(lattice, z: float, y: float, first: float, last: float, line) -> None:  # type: ignore[no-untyped-def]
    """Interpolate the lattice along z and y at those of its nodes along x that a row from `first` to `last` needs."""
    pz = (z - lattice.origin[0]) / lattice.spacing[0]
    py = (y - lattice.origin[1]) / lattice.spacing[1]
    nz, ny = int(np.floor(pz)), int(np.floor(py))
    wz, wy = cubic_weights(pz - nz), cubic_weights(py - ny)
    iz, iy = nz - 1 - lattice.first[0], ny - 1 - lattice.first[1]
    begin = int(np.floor((first - lattice.origin[2]) / lattice.spacing[2])) - 1 - lattice.first[2]
    end = int(np.floor((last - lattice.origin[2]) / lattice.spacing[2])) + 3 - lattice.first[2]
    for n in range(begin, end):
        for axis in range(3):
            value = 0.0
            for a in range(4):
                plane = 0.0
                for b in range(4):
                    plane += wy[b] * lattice.values[iz + a, iy + b, n, axis]
                value += wz[a] * plane
            line[n, axis] = value


def line_of(lattice: Lattice) -> NDArray[np.float64]:
    """Return room for the nodes of a row."""
    return np.empty((lattice.values.shape[2], 3))


def bent_ends(lattice: Lattice, box: Box) -> Ends:
    """Return how far the bent voxels of a box reach along each axis, from below to above."""
    ends = [(float(a), float(b - 1)) for a, b in zip(box.start, box.stop, strict=True)]
    if not lattice.values.size:
        return (ends[0], ends[1], ends[2])
    near = lattice.values[_taps(lattice, ends)].reshape(-1, 3)
    low, high = near.min(axis=0), near.max(axis=0)
    # A cubic overshoots: its weights add up to 1.25 in size along an axis, so to less than 2 over all three.
    over = (high - low) / 2
    reach = [(a + float(u - o), b + float(v + o)) for (a, b), u, v, o in zip(ends, low, high, over, strict=True)]
    return (reach[0], reach[1], reach[2])


def _taps(lattice: Lattice, ends: Sequence[tuple[float, float]]) -> tuple[slice, slice, slice]:
    """Return where the nodes around voxels lie among the values, from the first voxel to the last along each axis."""
    z, y, x = (
        slice(floor((low - o) / s) - 1 - n, floor((high - o) / s) + 3 - n)
        for (low, high), o, s, n in zip(ends, lattice.origin, lattice.spacing, lattice.first, strict=True)
    )
    return z, y, x


def padded(values: Floats, origin: Vector, spacing: Vector, box: Box) -> Lattice:
    """Return a lattice with nodes enough for every voxel of a box; outside, it goes on as straight as it ends.

    Parameters
    ----------
    values, origin, spacing
        As measured, see :class:`Lattice`.
    box
        What is to be bent by it.
    """
    first = list(origin)
    for axis in range(3):
        count, s = values.shape[axis], spacing[axis]
        before = max(0, 1 - floor((box.start[axis] - origin[axis]) / s))
        after = max(0, floor((box.stop[axis] - 1 - origin[axis]) / s) + 3 - count)
        values = _extended(values, axis, before, after)
        first[axis] = origin[axis] - before * s
    return Lattice(np.ascontiguousarray(values, np.float64), (first[0], first[1], first[2]), spacing)


def _extended(values: Floats, axis: int, before: int, after: int) -> Floats:
    """Add nodes along an axis, on the line through the last two."""
    lines = np.moveaxis(values, axis, 0)
    slopes = (lines[0] - lines[1], lines[-1] - lines[-2]) if len(lines) > 1 else (0 * lines[0], 0 * lines[0])
    head = [lines[0] + k * slopes[0] for k in range(before, 0, -1)]
    tail = [lines[-1] + k * slopes[1] for k in range(1, after + 1)]
    return np.moveaxis(np.stack([*head, *lines, *tail]), 0, axis)


@compiled
def _displacements(lattice, points, line, row, out) -> None:  # type: ignore[no-untyped-def]
    still = np.eye(4)
    for n in range(points.shape[0]):
        row_positions(still, lattice, points[n, 0], points[n, 1], points[n, 2], line, row)
        for axis in range(3):
            out[n, axis] = row[axis, 0] - points[n, axis]


def displacements(lattice: Lattice, points: Floats) -> Floats:
    """Return the displacement at points, (point, axis), voxels; the nodes must reach around them all."""
    out = np.zeros(points.shape)
    if lattice.values.size:
        _displacements(lattice, np.ascontiguousarray(points), line_of(lattice), np.empty((3, 1)), out)
    return out
