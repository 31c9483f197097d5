"""Connected components of one block, by runs of voxels along x, and their union over all blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Grid
from crackdask.kernels.compiling import compiled
from crackdask.kernels.union_find import root

FULL, FACES = 26, 6
LARGE = 0  # the component is kept whatever it is joined to
ABSENT = -1  # the voxel does not belong to the phase that is labelled
SIDES = ("z0", "z1", "y0", "y1", "x0", "x1")
#: What voxels are: neither, of the solid, or outside the scan, which no solid is.
BACKGROUND, SOLID, BEYOND = 0, 1, 2
_KEPT, _OPEN = 1, 2  # of a component: whatever its size; it goes on in a neighbour


class Settled(NamedTuple):
    """What a block knows of the components that it cannot judge alone: small ones that go on in a neighbour.

    Attributes
    ----------
    sizes
        Voxels of each, int64.
    at
        One voxel of each, as an index into the flat block, int64.
    sides
        For each side with a neighbour, by its name, the voxels' codes: k, counted from 1, of those; LARGE for the
        components that stay whatever they are joined to; ABSENT for voxels of the other phase.
    """

    sizes: Array
    at: Array
    sides: dict[str, Array]


def settle(voxels: Array, solid: bool, limit: int, connectivity: int, inner: tuple[bool, ...]) -> Settled:
    """Flip the small components of a block, in place, and tell of those that the block alone cannot judge.

    Parameters
    ----------
    voxels
        uint8, (z, y, x): BACKGROUND, SOLID or BEYOND.
    solid
        Whether the components are those of the solid, which become background; else those of all other voxels, which
        become solid unless they reach the image edge or hold a voxel beyond the scan.
    limit
        Components of at most this many voxels are small.
    connectivity
        26 or 6.
    inner
        For each of the six sides, in the order of SIDES, whether another block lies behind it.

    >>> voxels = np.array([[[1, 0, 1, 1, 0, 1]]], np.uint8)
    >>> settle(voxels, True, 1, FACES, (False, False, False, False, False, True)).sizes.tolist(), voxels.tolist()
    ([1], [[[0, 0, 1, 1, 0, 1]]])
    """
    nz, ny, nx = voxels.shape
    room = nz * ny * (nx // 2 + 1)  # of which no more is touched than there are runs
    starts, stops, parents = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int64)
    marks, rows = np.empty(room, np.uint8), np.empty(nz * ny + 1, np.int64)
    count = _find_runs(voxels, solid, np.array(inner), starts, stops, marks, rows)
    starts, stops, parents, marks = starts[:count], stops[:count], parents[:count], marks[:count]
    _join_runs(voxels.shape, starts, stops, rows, connectivity == FULL, parents)
    codes, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    waiting = _judge(starts, stops, marks, parents, limit, codes, sizes)
    at = np.empty(waiting.size, np.int64)
    sides = {
        side: np.full([n for axis, n in enumerate(voxels.shape) if axis != number // 2], ABSENT, np.int32)
        for number, side in enumerate(SIDES)
    }
    _apply(voxels, np.uint8(BACKGROUND if solid else SOLID), starts, stops, rows, codes, at, *sides.values())
    return Settled(sizes[waiting], at, {side: sides[side] for side, has in zip(SIDES, inner, strict=True) if has})


def flip(voxels: Array, at: Array, solid: bool, limit: int, connectivity: int) -> None:
    """Flip the components of a block that hold some voxels, in place; those have at most `limit` voxels.

    Parameters
    ----------
    voxels, solid, limit, connectivity
        As in :func:`settle`.
    at
        Indices into the flat block, int64.

    >>> voxels = np.array([[[1, 1, 0, 1]]], np.uint8)
    >>> flip(voxels, np.array([1]), True, 2, FULL)
    >>> voxels.tolist()
    [[[0, 0, 0, 1]]]
    """
    waiting = np.empty((min(max(limit, 1), voxels.size), 3), np.int32)
    _flip(voxels, at, solid, np.uint8(BACKGROUND if solid else SOLID), connectivity == FULL, waiting)


def inner_sides(grid: Grid, number: int) -> tuple[bool, ...]:
    """Tell for each side of a block, in the order of SIDES, whether another block lies behind it."""
    return tuple(
        flag
        for place, count in zip(grid.position(number), grid.counts, strict=True)
        for flag in (place > 0, place < count - 1)
    )


@compiled
def join_planes(parent: Array, low: Array, high: Array, diagonal: bool) -> None:
    """Unite the components that touch across one plane between blocks.

    `low` and `high` hold node numbers (0 = LARGE, negative = absent) on the two sides of
    the whole plane. With `diagonal`, the 9 neighbours count, else the 1 straight across.
    """
    rows, columns = low.shape
    reach = 1 if diagonal else 0
    for i in range(rows):
        for j in range(columns):
            here = low[i, j]
            if here < 0:
                continue
            for k in range(max(i - reach, 0), min(i + reach + 1, rows)):
                for m in range(max(j - reach, 0), min(j + reach + 1, columns)):
                    there = high[k, m]
                    if there < 0 or there == here:
                        continue
                    a, b = root(parent, here), root(parent, there)
                    if a < b:
                        parent[b] = a
                    elif b < a:
                        parent[a] = b


@compiled(error_model="numpy")
def _find_runs(voxels: Array, solid: bool, inner: Array, starts: Array, stops: Array, marks: Array, rows: Array) -> int:
    """Write the runs of a phase, and whether each reaches a neighbour or must be kept; return how many there are."""
    nz, ny, nx = voxels.shape
    shared, kept = np.uint8(_OPEN), np.uint8(0 if solid else _KEPT)
    count = 0
    for z in range(nz):
        for y in range(ny):
            line = voxels[z, y]
            rows[z * ny + y] = count
            mark = np.uint8(0)
            if z == 0:
                mark |= shared if inner[0] else kept
            if z == nz - 1:
                mark |= shared if inner[1] else kept
            if y == 0:
                mark |= shared if inner[2] else kept
            if y == ny - 1:
                mark |= shared if inner[3] else kept
            x = 0
            while x < nx:
                if (line[x] == SOLID) != solid:
                    x += 1
                    continue
                starts[count] = x
                marks[count] = mark
                if x == 0:
                    marks[count] |= shared if inner[4] else kept
                while x < nx and (line[x] == SOLID) == solid:
                    if line[x] == BEYOND:
                        marks[count] |= np.uint8(_KEPT)
                    x += 1
                stops[count] = x
                if x == nx:
                    marks[count] |= shared if inner[5] else kept
                count += 1
    rows[nz * ny] = count
    return count


@compiled(error_model="numpy", apart=True)
def _join_rows(parents: Array, starts: Array, stops: Array, i: int, i_end: int, k: int, k_end: int, reach: int) -> None:
    """Unite the runs of two rows that touch; the lower one stays a root."""
    while i < i_end and k < k_end:
        if starts[i] < stops[k] + reach and starts[k] < stops[i] + reach:
            a, b = root(parents, np.int64(i)), root(parents, np.int64(k))
            if a < b:
                parents[b] = a
            elif b < a:
                parents[a] = b
        if stops[i] < stops[k]:
            i += 1
        else:
            k += 1


@compiled(error_model="numpy")
def _join_runs(
    shape: tuple[int, int, int], starts: Array, stops: Array, rows: Array, diagonal: bool, parents: Array
) -> None:
    """Unite runs that touch; each then knows the first run of its component."""
    nz, ny, _ = shape
    reach = 1 if diagonal else 0
    for i in range(parents.size):
        parents[i] = i
    for z in range(nz):
        for y in range(ny):
            here = z * ny + y
            first, end = rows[here], rows[here + 1]
            if first == end:
                continue
            if y > 0:
                _join_rows(parents, starts, stops, first, end, rows[here - 1], first, reach)
            if z > 0:
                for other in range(max(y - reach, 0), min(y + reach + 1, ny)):
                    there = here - ny + other - y
                    _join_rows(parents, starts, stops, first, end, rows[there], rows[there + 1], reach)
    for i in range(parents.size):  # those before it know theirs
        parents[i] = parents[parents[i]]


@compiled(error_model="numpy")
def _judge(starts: Array, stops: Array, marks: Array, parents: Array, limit: int, codes: Array, sizes: Array) -> Array:
    """Write the code of every run, -1 for those to be flipped; return the first runs of the components that wait."""
    for i in range(parents.size):
        own = parents[i]
        sizes[own] += stops[i] - starts[i]
        marks[own] |= marks[i]
    count = 0
    for i in range(parents.size):
        if parents[i] == i:
            if sizes[i] > limit or marks[i] & np.uint8(_KEPT):
                codes[i] = LARGE
            elif marks[i] & np.uint8(_OPEN):
                count += 1
                codes[i] = count
            else:
                codes[i] = -1
        else:
            codes[i] = codes[parents[i]]
    waiting = np.empty(count, np.int64)
    for i in range(parents.size):
        if parents[i] == i and codes[i] > 0:
            waiting[codes[i] - 1] = i
    return waiting


@compiled(error_model="numpy")
def _apply(
    voxels: Array, other: int, starts: Array, stops: Array, rows: Array, codes: Array, at: Array,
    z0: Array, z1: Array, y0: Array, y1: Array, x0: Array, x1: Array,
) -> None:  # fmt: skip
    """Flip runs whose code is -1, and write the codes of the others to the sides of the block."""
    nz, ny, nx = voxels.shape
    for z in range(nz - 1, -1, -1):
        for y in range(ny - 1, -1, -1):
            for i in range(rows[z * ny + y], rows[z * ny + y + 1]):
                code = codes[i]
                if code < 0:
                    for x in range(starts[i], stops[i]):
                        voxels[z, y, x] = other
                    continue
                if code > 0:
                    at[code - 1] = (z * ny + y) * nx + starts[i]
                if z == 0:
                    z0[y, starts[i] : stops[i]] = code
                if z == nz - 1:
                    z1[y, starts[i] : stops[i]] = code
                if y == 0:
                    y0[z, starts[i] : stops[i]] = code
                if y == ny - 1:
                    y1[z, starts[i] : stops[i]] = code
                if starts[i] == 0:
                    x0[z, y] = code
                if stops[i] == nx:
                    x1[z, y] = code


@compiled(error_model="numpy")
def _flip(voxels: Array, at: Array, solid: bool, other: int, diagonal: bool, waiting: Array) -> None:
    nz, ny, nx = voxels.shape
    for start in at:
        waiting[0, 0], waiting[0, 1], waiting[0, 2] = start // (ny * nx), start // nx % ny, start % nx
        voxels[waiting[0, 0], waiting[0, 1], waiting[0, 2]] = other
        count = 1
        while count > 0:
            count -= 1
            z, y, x = int(waiting[count, 0]), int(waiting[count, 1]), int(waiting[count, 2])
            for to_z in range(max(z - 1, 0), min(z + 2, nz)):
                for to_y in range(max(y - 1, 0), min(y + 2, ny)):
                    for to_x in range(max(x - 1, 0), min(x + 2, nx)):
                        steps = abs(to_z - z) + abs(to_y - y) + abs(to_x - x)
                        if (diagonal or steps == 1) and (voxels[to_z, to_y, to_x] == SOLID) == solid:
                            voxels[to_z, to_y, to_x] = other
                            waiting[count, 0], waiting[count, 1], waiting[count, 2] = to_z, to_y, to_x
                            count += 1
