"""Exact squared depth of every voxel in its own particle, for many touching particles at once.

The separable distance transform of Saito and Toriwaki (1994), in integers: along z the distance to
the next other label, then along y and x the lower envelope of parabolas. Distances along an axis to
the next other label bound the search, so a parabola of another particle can never win and labels
need not be compared. All rows run side by side.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled


def squared_depth(
    label: Array,
    core: tuple[slice, slice, slice],
    edges: tuple[tuple[bool, bool], ...],
    squared: Triple,
    unit: int,
    deepest: int,
) -> Array:
    """Return the squared distance to the nearest voxel of another label, 0 on background.

    The result has the shape of the core and an unsigned integer type.

    `label` is a window around `core`. `edges` tells for each axis whether the window's low and high
    end are the image border, beyond which everything is outside; beyond any other end nothing is
    known. `squared` and `unit` are what :func:`crackdask.kernels.depth_in_mask.square_weights` returns.
    Depths up to `deepest` (in smallest edges) are exact where the window's halo is at least as
    wide; greater ones come out greater than `deepest`.
    """
    bound = unit * (deepest + 1) ** 2
    caps = [isqrt(bound // weight) + 1 for weight in squared]
    largest = 2 * max(weight * cap * cap for weight, cap in zip(squared, caps, strict=True))
    if largest > np.iinfo(np.uint32).max:
        raise ValueError(f"a particle depth of {deepest} voxels is more than 32 bits can square")
    dtype = np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32
    (z0, z1), (y0, y1), (x0, x1) = ((s.start, s.stop) for s in core)
    along = np.empty((z1 - z0, *label.shape[1:]), dtype)
    ny, nx = label.shape[1:]
    _along_z(label, z0, edges[0], caps[0], squared[0], np.empty((ny, nx), np.uint16), along)
    depth = np.empty((z1 - z0, y1 - y0, x1 - x0), dtype)
    _planes(
        label[z0:z1],
        along,
        (y0, x0),
        edges[1:],
        (caps[1], caps[2]),
        (squared[1], squared[2]),
        np.empty(nx, np.uint16),
        np.empty((y1 - y0, nx), dtype),
        np.full(nx + 2 * caps[2], squared[2] * caps[2] * caps[2], dtype),
        np.empty(nx, dtype),
        depth,
    )
    return depth


@compiled
def _along_z(label: Array, z0: int, edges: tuple[bool, bool], cap: int, weight: int, run: Array, along: Array) -> None:
    nz, ny, nx = label.shape
    z1 = z0 + along.shape[0]
    for y in range(ny):
        for x in range(nx):
            run[y, x] = 1 if edges[0] else cap
    for z in range(z1):
        for y in range(ny):
            if z > 0:
                for x in range(nx):
                    run[y, x] = np.uint16(run[y, x] * np.uint16(label[z, y, x] == label[z - 1, y, x]) + 1)
            if z >= z0:
                for x in range(nx):
                    along[z - z0, y, x] = run[y, x]
    for y in range(ny):
        for x in range(nx):
            run[y, x] = 1 if edges[1] else cap
    for z in range(nz - 1, z0 - 1, -1):
        for y in range(ny):
            if z < nz - 1:
                for x in range(nx):
                    run[y, x] = np.uint16(run[y, x] * np.uint16(label[z, y, x] == label[z + 1, y, x]) + 1)
            if z < z1:
                for x in range(nx):
                    near = min(min(run[y, x], along[z - z0, y, x]), cap)
                    along[z - z0, y, x] = weight * near * near


@compiled
def _planes(
    label: Array,
    along: Array,
    first: tuple[int, int],
    edges: tuple[tuple[bool, bool], ...],
    caps: tuple[int, int],
    weights: tuple[int, int],
    run: Array,
    rows: Array,
    line: Array,
    lower: Array,
    depth: Array,
) -> None:
    nz, ny, nx = along.shape
    y0, x0 = first
    cy, cx = depth.shape[1:]
    margin = caps[1]
    for z in range(nz):
        _edge_distance_y(label[z], y0, edges[0], caps[0], weights[0], run, rows)
        for y in range(cy):
            best = rows[y]
            top = _start(best, along[z, y + y0], label[z, y + y0])
            k = 1
            while weights[0] * k * k < top:
                up, down = y + y0 - k, y + y0 + k
                if up < 0 and down >= ny:
                    break
                cost = weights[0] * k * k
                top = _lower(
                    best,
                    along[z, up if up >= 0 else down],
                    along[z, down if down < ny else up],
                    lower,
                    cost,
                )
                k += 1
            for x in range(nx):
                line[margin + x] = best[x]
            out = depth[z, y]
            names = label[z, y + y0]
            _edge_distance_x(names, edges[1], caps[1], weights[1], x0, run, out)
            top = _start(out, best[x0 : x0 + cx], names[x0 : x0 + cx])
            k = 1
            while weights[1] * k * k < top:
                low = margin + x0 - k
                high = margin + x0 + k
                top = _lower(out, line[low : low + cx], line[high : high + cx], lower, weights[1] * k * k)
                k += 1


@compiled
def _edge_distance_y(
    label: Array, y0: int, edges: tuple[bool, bool], cap: int, weight: int, run: Array, rows: Array
) -> None:
    ny, nx = label.shape
    y1 = y0 + rows.shape[0]
    for x in range(nx):
        run[x] = 1 if edges[0] else cap
    for y in range(y1):
        if y > 0:
            for x in range(nx):
                run[x] = np.uint16(run[x] * np.uint16(label[y, x] == label[y - 1, x]) + 1)
        if y >= y0:
            for x in range(nx):
                rows[y - y0, x] = run[x]
    for x in range(nx):
        run[x] = 1 if edges[1] else cap
    for y in range(ny - 1, y0 - 1, -1):
        if y < ny - 1:
            for x in range(nx):
                run[x] = np.uint16(run[x] * np.uint16(label[y, x] == label[y + 1, x]) + 1)
        if y < y1:
            for x in range(nx):
                near = min(min(run[x], rows[y - y0, x]), cap)
                rows[y - y0, x] = weight * near * near


@compiled
def _edge_distance_x(
    label: Array, edges: tuple[bool, bool], cap: int, weight: int, x0: int, run: Array, out: Array
) -> None:
    nx = label.size
    x1 = x0 + out.size
    near = 1 if edges[0] else cap
    run[0] = near
    for x in range(1, x1):
        near = min(near + 1, cap) if label[x] == label[x - 1] else 1
        run[x] = near
    near = 1 if edges[1] else cap
    for x in range(nx - 1, x0 - 1, -1):
        if x < nx - 1:
            near = min(near + 1, cap) if label[x] == label[x + 1] else 1
        if x < x1:
            nearest = min(near, run[x])
            out[x - x0] = weight * nearest * nearest


@compiled
def _start(best: Array, other: Array, label: Array) -> int:
    top = best.dtype.type(0)
    for x in range(best.size):
        value = min(best[x], other[x])
        value = value if label[x] != 0 else best.dtype.type(0)
        best[x] = value
        top = max(top, value)
    return int(top)


@compiled(apart=True)
def _lower(best: Array, low: Array, high: Array, lower: Array, cost: int) -> int:
    for x in range(best.size):
        lower[x] = min(low[x], high[x])
    for x in range(best.size):
        lower[x] += cost
    top = best.dtype.type(0)
    for x in range(best.size):
        best[x] = min(best[x], lower[x])
        top = max(top, best[x])
    return int(top)
