"""What is counted of every particle in one block.

Integers only, so blocks add up exactly in any order.

A tally is a table of small arrays, sorted by particle id; particles appear once a voxel of theirs
lies in the block or in the 2x2x2 cells that the block owns. A cell belongs to the block of its
upper corner voxel; cells beyond the far image border belong to the last block. A face between two
voxels belongs to the block of its upper voxel.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.hash_table import slot
from crackdask.kernels.renumbering import distinct, renumber
from crackdask.kernels.surface import CELL_CLASS, CELL_MEMBER

FAR = np.iinfo(np.int32).max  # the low corner of a particle without a voxel, so that minima merge


def tally(
    label: Array, grey: Array, invalid: Array | None, depth: Array, unit: int, origin: Triple, shape: Triple
) -> dict[str, Array]:
    """Count everything that the measurements of a block's particles need.

    Parameters
    ----------
    label
        Labels of the block and one voxel around it, 0 beyond the image border.
    grey, depth
        Grey levels (uint8) and squared depths (integers) of the block's own voxels.
    invalid
        True where the voxel or one of its 26 neighbours is outside the scan; None where there is
        none.
    unit
        The squared depth that stands for one smallest voxel edge.
    origin, shape
        The block's first voxel, and the shape of the whole image.

    Returns
    -------
    dict
        Rows for `ids` (uint32, sorted): `voxels`, coordinate sums (`sums`: z, y, x) and products
        (`products`: zz, yy, xx, zy, zx, yx) from the image's first voxel, `low` and `high` corner
        (half open), `depth` (largest squared), `cells` (by configuration class), `border`,
        `invalid`; ragged `grey_*` (from `grey_start`) and `shell_*` (shells 1.. from
        `shell_start`); and `contact_a`, `contact_b`, `contact_faces` (normal to z, y, x).
    """
    label = np.ascontiguousarray(label)
    ids = distinct(label)
    near = renumber(label, ids)
    z, y, x = (o + n == s for o, n, s in zip(origin, grey.shape, shape, strict=True))
    cells, pairs, faces = _count_cells(near, ids.size, (z, y, x))
    shells = round(float(np.sqrt(int(depth.max(initial=0)) / unit))) + 1
    counts = _count_voxels(near, np.ascontiguousarray(grey), depth, unit, ids.size, shells)
    voxels, sums, products, low, high, deepest, levels, rings = counts
    touching = np.zeros(ids.size + 1, bool)
    if invalid is not None:
        _invalid(near, invalid, touching)
    start = np.array(origin, np.int64)
    border = ((low + start == 0) | (high + start == np.array(shape))).any(axis=1) & (voxels > 0)
    rows = np.flatnonzero(cells[1:].any(axis=1) | (voxels[1:] > 0)) + 1
    sums, products = _shift(voxels[rows], sums[rows], products[rows], start)
    return {
        "ids": ids[rows - 1],
        "voxels": voxels[rows],
        "sums": sums,
        "products": products,
        "low": np.where(voxels[rows, None] > 0, low[rows] + start, FAR).astype(np.int32),
        "high": np.where(voxels[rows, None] > 0, high[rows] + start, 0).astype(np.int32),
        "depth": deepest[rows],
        "cells": cells[rows],
        "border": border[rows],
        "invalid": touching[rows],
        **_ragged_grey(levels[rows]),
        **_ragged_shells(rings[rows]),
        **_sorted_contacts(pairs, faces, ids),
    }


def _shift(voxels: Array, sums: Array, products: Array, by: Array) -> tuple[Array, Array]:
    n = voxels[:, None]
    moved = sums + n * by
    i, j = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
    turned = products + sums[:, i] * by[j] + sums[:, j] * by[i] + n * (by[i] * by[j])
    return moved, turned


def _ragged_grey(levels: Array) -> dict[str, Array]:
    row, grey = np.nonzero(levels)
    start = np.zeros(levels.shape[0] + 1, np.int64)
    np.cumsum(np.count_nonzero(levels, axis=1), out=start[1:])
    return {
        "grey_start": start,
        "grey_level": grey.astype(np.uint8),
        "grey_voxels": levels[row, grey].astype(np.uint32),
    }


def _ragged_shells(rings: Array) -> dict[str, Array]:
    present = rings[:, 1:, 0] > 0
    count = (present * np.arange(1, present.shape[1] + 1)).max(axis=1, initial=0)
    start = np.zeros(count.size + 1, np.int64)
    np.cumsum(count, out=start[1:])
    kept = rings[:, 1:][np.arange(present.shape[1]) < count[:, None]]
    return {
        "shell_start": start,
        "shell_voxels": kept[:, 0].astype(np.uint32),
        "shell_grey_sum": kept[:, 1].copy(),
        "shell_grey_sumsq": kept[:, 2].copy(),
    }


def _sorted_contacts(pairs: Array, faces: Array, ids: Array) -> dict[str, Array]:
    slots = np.flatnonzero(pairs)
    slots = slots[np.argsort(pairs[slots])]
    keys = pairs[slots]
    return {
        "contact_a": ids[(keys >> np.uint64(32)).astype(np.int64) - 1],
        "contact_b": ids[(keys & np.uint64(0xFFFFFFFF)).astype(np.int64) - 1],
        "contact_faces": faces[slots],
    }


def _count_cells(near: Array, particles: int, last: tuple[bool, bool, bool]) -> tuple[Array, Array, Array]:
    """Count each particle's 2x2x2 configurations, and the faces between particles by axis."""
    size = 1 << (32 * particles + 1024).bit_length()
    mixed, corner = np.empty(near.shape[2], np.uint8), np.empty(8, np.int32)
    while True:
        cells = np.zeros((particles + 1, CELL_MEMBER.size), np.uint32)
        pairs = np.zeros(size, np.uint64)
        faces = np.zeros((size, 3), np.uint32)
        if _cells(near, last, CELL_CLASS, cells, pairs, faces, mixed, corner):
            return cells, pairs, faces
        size *= 4


@compiled
def _cells(
    near: Array,
    last: tuple[bool, bool, bool],
    classes: Array,
    cells: Array,
    pairs: Array,
    faces: Array,
    mixed: Array,
    corner: Array,
) -> bool:
    """Fill the counts; False where the table of pairs is too small."""
    nz, ny, nx = near.shape
    z1 = nz if last[0] else nz - 1
    y1 = ny if last[1] else ny - 1
    x1 = nx if last[2] else nx - 1
    used = 0
    for z in range(1, z1):
        for y in range(1, y1):
            a, b = near[z - 1, y - 1], near[z - 1, y]
            c, d = near[z, y - 1], near[z, y]
            for x in range(1, x1):
                mixed[x] = (
                    (a[x] ^ d[x]) | (b[x] ^ d[x]) | (c[x] ^ d[x]) | (a[x - 1] ^ d[x])
                    | (b[x - 1] ^ d[x]) | (c[x - 1] ^ d[x]) | (d[x - 1] ^ d[x])
                ) != 0  # fmt: skip
            for x in range(1, x1):
                if not mixed[x]:
                    continue
                corner[0], corner[1], corner[2], corner[3] = a[x - 1], a[x], b[x - 1], b[x]
                corner[4], corner[5], corner[6], corner[7] = c[x - 1], c[x], d[x - 1], d[x]
                seen = 0
                for i in range(8):
                    if seen >> i & 1:
                        continue
                    particle = corner[i]
                    inside = 0
                    for j in range(8):
                        inside |= int(corner[j] == particle) << j
                    seen |= inside
                    if particle != 0:
                        cells[particle, classes[inside]] += np.uint32(1)
                own = corner[7]
                if own == 0:
                    continue
                for axis in range(3):
                    other = corner[7 - (4 >> axis)]
                    if other != 0 and other != own:
                        key = np.uint64(min(own, other)) << np.uint64(32) | np.uint64(max(own, other))
                        place = np.uint64(slot(pairs, key))
                        if pairs[place] == 0:
                            used += 1
                            if 2 * used > pairs.size:
                                return False
                            pairs[place] = key
                        faces[place, axis] += np.uint32(1)
    return True


def _count_voxels(
    near: Array, grey: Array, depth: Array, unit: int, particles: int, shells: int
) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
    """Count each particle's own voxels: number, sums and products of coordinates, box, depth, grey levels, shells."""
    voxels = np.zeros(particles + 1, np.int64)
    sums = np.zeros((particles + 1, 3), np.int64)
    products = np.zeros((particles + 1, 6), np.int64)
    low = np.full((particles + 1, 3), FAR, np.int64)
    high = np.zeros((particles + 1, 3), np.int64)
    deepest = np.zeros(particles + 1, np.int64)
    levels = np.zeros((particles + 1, 256), np.uint32)
    rings = np.zeros((particles + 1, shells, 3), np.uint64)
    shell = np.empty(grey.shape[2], np.uint16)
    _voxels(near, grey, depth, unit, shell, voxels, sums, products, low, high, deepest, levels, rings)
    return voxels, sums, products, low, high, deepest, levels, rings


@compiled
def _voxels(
    near: Array,
    grey: Array,
    depth: Array,
    unit: int,
    shell: Array,
    voxels: Array,
    sums: Array,
    products: Array,
    low: Array,
    high: Array,
    deepest: Array,
    levels: Array,
    rings: Array,
) -> None:
    """Count run by run."""
    nz, ny, nx = grey.shape
    for z in range(nz):
        for y in range(ny):
            names, values, squares = near[z + 1, y + 1, 1 : nx + 1], grey[z, y], depth[z, y]
            for x in range(nx):
                shell[x] = np.uint16(np.rint(np.sqrt(float(squares[x]) / float(unit))))
            x = 0
            while x < nx:
                particle = names[x]
                begin = x
                if particle == 0:
                    while x < nx and names[x] == 0:
                        x += 1
                    continue
                level, ring = levels[particle], rings[particle]
                top = np.int64(0)
                while x < nx and names[x] == particle:
                    value = np.uint64(values[x])
                    level[value] += np.uint32(1)
                    k = shell[x]
                    ring[k, 0] += np.uint64(1)
                    ring[k, 1] += value
                    ring[k, 2] += value * value
                    top = max(top, np.int64(squares[x]))
                    x += 1
                n = x - begin
                along = n * (begin + x - 1) // 2
                voxels[particle] += n
                deepest[particle] = max(deepest[particle], top)
                _add_run(sums[particle], products[particle], z, y, n, along, _squares(begin, x))
                _extend(low[particle], high[particle], z, y, begin, x)


@compiled
def _squares(begin: int, end: int) -> int:
    """Return the sum of squares of the integers from `begin` to `end` - 1."""
    return (end - 1) * end * (2 * end - 1) // 6 - (begin - 1) * begin * (2 * begin - 1) // 6


@compiled
def _add_run(sums: Array, products: Array, z: int, y: int, n: int, along: int, squares: int) -> None:
    sums[0] += n * z
    sums[1] += n * y
    sums[2] += along
    products[0] += n * z * z
    products[1] += n * y * y
    products[2] += squares
    products[3] += n * z * y
    products[4] += along * z
    products[5] += along * y


@compiled
def _extend(low: Array, high: Array, z: int, y: int, begin: int, end: int) -> None:
    low[0], low[1], low[2] = min(low[0], z), min(low[1], y), min(low[2], begin)
    high[0], high[1], high[2] = max(high[0], z + 1), max(high[1], y + 1), max(high[2], end)


@compiled
def _invalid(near: Array, invalid: Array, touching: Array) -> None:
    nz, ny, nx = invalid.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if invalid[z, y, x]:
                    touching[near[z + 1, y + 1, x + 1]] = True
