"""Draw particles with cracks, for one block of a scan.

Every voxel is computed from its own index in the scan, in one fixed order and without fast
maths, so it does not depend on the block that it is drawn in.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Integers, Singles
from crackdask.kernels.compiling import compiled
from crackdask.phantom.packing import harmonic

CRACKED = 0.6  # cracks end at this fraction of the radius
CORE = 0.5  # the inner half, over which the void fraction is programmed
MOST_VOID = 0.95  # no voxel is emptier than this
EDGE = 1.3  # voxels beyond the surface that coverage can reach


@compiled(inline="always")
def _opening(v0: float, v1: float, v2: float, square: float, sheets: Floats, sharpness: float) -> float:
    """Return how readily a point cracks, 0 to 1: the nearest sheet, strongest at the centre."""
    best = 0.0
    for k in range(sheets.shape[0]):
        along = sheets[k, 3] * v0 + sheets[k, 4] * v1 + sheets[k, 5] * v2
        d = sheets[k, 0] * v0 + sheets[k, 1] * v1 + sheets[k, 2] * v2 - sheets[k, 6]
        d = (d + along * abs(along)) * sharpness
        best = max(best, 1.0 - d * d)
    return best * best * (1.0 - square / (CRACKED * CRACKED))


@compiled(apart=True)
def _x_range(
    frame: Floats, b0: float, b1: float, b2: float, limit: float, centre: float, lo: int, hi: int
) -> tuple[int, int]:
    """Return the voxels of one row, within lo and hi, at which |v| may be below `limit`."""
    a0, a1, a2 = frame[0, 2], frame[1, 2], frame[2, 2]
    a = a0 * a0 + a1 * a1 + a2 * a2
    b = a0 * b0 + a1 * b1 + a2 * b2
    inside = b * b - a * (b0 * b0 + b1 * b1 + b2 * b2 - limit * limit)
    if inside <= 0.0:
        return lo, lo
    root = math.sqrt(inside)
    first = math.floor(centre + (-b - root) / a)
    last = math.ceil(centre + (-b + root) / a) + 1
    return max(lo, first), min(hi, last)


@compiled
def paint(
    density: Singles,
    start: Integers,
    chosen: Integers,
    centres: Floats,
    frames: Floats,
    reach: Floats,
    bumps: Floats,
    radii: Floats,
    sheets: Floats,
    sharpness: Floats,
    gains: Floats,
) -> None:
    """Draw the solid density, 0 to 1, of the chosen particles into a block of zeros.

    Coverage falls from 1 to 0 over one voxel at the surface; where particles meet, the larger
    coverage counts. Inside, the cracks take their part away.
    """
    nz, ny, nx = density.shape
    for i in chosen:
        frame, c0, c1, c2 = frames[i], centres[i, 0], centres[i, 1], centres[i, 2]
        cubic, triple = bumps[i, 0], bumps[i, 1]
        swell = abs(cubic) + abs(triple)
        edge = EDGE / radii[i]
        limit = 1.0 + swell + edge
        full = max(CRACKED, 1.0 - swell - edge) ** 2
        z0 = max(0, math.floor(c0 - reach[i, 0]) - start[0])
        z1 = min(nz, math.ceil(c0 + reach[i, 0]) + 1 - start[0])
        y0 = max(0, math.floor(c1 - reach[i, 1]) - start[1])
        y1 = min(ny, math.ceil(c1 + reach[i, 1]) + 1 - start[1])
        for z in range(z0, z1):
            dz = (z + start[0]) - c0
            for y in range(y0, y1):
                dy = (y + start[1]) - c1
                b0 = frame[0, 0] * dz + frame[0, 1] * dy
                b1 = frame[1, 0] * dz + frame[1, 1] * dy
                b2 = frame[2, 0] * dz + frame[2, 1] * dy
                x0, x1 = _x_range(frame, b0, b1, b2, limit, c2, start[2], start[2] + nx)
                row = density[z, y]
                for x in range(x0, x1):
                    dx = x - c2
                    v0 = b0 + frame[0, 2] * dx
                    v1 = b1 + frame[1, 2] * dx
                    v2 = b2 + frame[2, 2] * dx
                    square = v0 * v0 + v1 * v1 + v2 * v2
                    if square < CRACKED * CRACKED:
                        void = gains[i] * _opening(v0, v1, v2, square, sheets[i], sharpness[i])
                        row[x - start[2]] = 1.0 - min(MOST_VOID, void)
                    elif square < full:
                        row[x - start[2]] = 1.0
                    else:
                        r = math.sqrt(square)
                        size = 1.0 + harmonic(v0, v1, v2, square, cubic, triple)
                        g0 = frame[0, 0] * v0 + frame[1, 0] * v1 + frame[2, 0] * v2
                        g1 = frame[0, 1] * v0 + frame[1, 1] * v1 + frame[2, 1] * v2
                        g2 = frame[0, 2] * v0 + frame[1, 2] * v1 + frame[2, 2] * v2
                        slope = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2) / r
                        cover = 0.5 - (r - size) / slope
                        if cover > row[x - start[2]]:
                            row[x - start[2]] = min(1.0, cover)


@compiled
def paint_shells(
    cover: Singles,
    start: Integers,
    chosen: Integers,
    centres: Floats,
    frames: Floats,
    reach: Floats,
    bumps: Floats,
    rims: Floats,
    thick: float,
) -> None:
    """Draw how far shells of a thickness round the chosen particles cover a block of zeros, 0 to 1.

    Cracks are marked by -1, whatever else covers them. Distances from a surface are those of its first order.
    """
    nz, ny, nx = cover.shape
    for i in chosen:
        frame, c0, c1, c2 = frames[i], centres[i, 0], centres[i, 1], centres[i, 2]
        cubic, triple = bumps[i, 0], bumps[i, 1]
        limit = 1.0 + abs(cubic) + abs(triple) + rims[i]
        z0 = max(0, math.floor(c0 - reach[i, 0]) - start[0])
        z1 = min(nz, math.ceil(c0 + reach[i, 0]) + 1 - start[0])
        y0 = max(0, math.floor(c1 - reach[i, 1]) - start[1])
        y1 = min(ny, math.ceil(c1 + reach[i, 1]) + 1 - start[1])
        for z in range(z0, z1):
            dz = (z + start[0]) - c0
            for y in range(y0, y1):
                dy = (y + start[1]) - c1
                b0 = frame[0, 0] * dz + frame[0, 1] * dy
                b1 = frame[1, 0] * dz + frame[1, 1] * dy
                b2 = frame[2, 0] * dz + frame[2, 1] * dy
                x0, x1 = _x_range(frame, b0, b1, b2, limit, c2, start[2], start[2] + nx)
                row = cover[z, y]
                for x in range(x0, x1):
                    dx = x - c2
                    v0 = b0 + frame[0, 2] * dx
                    v1 = b1 + frame[1, 2] * dx
                    v2 = b2 + frame[2, 2] * dx
                    square = v0 * v0 + v1 * v1 + v2 * v2
                    if square < CRACKED * CRACKED:
                        row[x - start[2]] = -1.0
                    elif row[x - start[2]] >= 0.0:
                        r = math.sqrt(square)
                        size = 1.0 + harmonic(v0, v1, v2, square, cubic, triple)
                        g0 = frame[0, 0] * v0 + frame[1, 0] * v1 + frame[2, 0] * v2
                        g1 = frame[0, 1] * v0 + frame[1, 1] * v1 + frame[2, 1] * v2
                        g2 = frame[0, 2] * v0 + frame[1, 2] * v1 + frame[2, 2] * v2
                        slope = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2) / r
                        covered = min(1.0, 0.5 + thick - (r - size) / slope)
                        row[x - start[2]] = max(row[x - start[2]], covered)


@compiled
def paint_labels(
    label: NDArray[np.uint32],
    nearness: Floats,
    start: Integers,
    chosen: Integers,
    centres: Floats,
    frames: Floats,
    reach: Floats,
    bumps: Floats,
) -> None:
    """Give every voxel centre inside a particle that particle's number, from 1.

    Where particles overlap, the smaller |v| / (1 + h) wins, then the lower number. `nearness`
    is a block of ones to work in.
    """
    nz, ny, nx = label.shape
    for i in chosen:
        frame, c0, c1, c2 = frames[i], centres[i, 0], centres[i, 1], centres[i, 2]
        cubic, triple = bumps[i, 0], bumps[i, 1]
        limit = 1.0 + abs(cubic) + abs(triple)
        z0 = max(0, math.floor(c0 - reach[i, 0]) - start[0])
        z1 = min(nz, math.ceil(c0 + reach[i, 0]) + 1 - start[0])
        y0 = max(0, math.floor(c1 - reach[i, 1]) - start[1])
        y1 = min(ny, math.ceil(c1 + reach[i, 1]) + 1 - start[1])
        for z in range(z0, z1):
            dz = (z + start[0]) - c0
            for y in range(y0, y1):
                dy = (y + start[1]) - c1
                b0 = frame[0, 0] * dz + frame[0, 1] * dy
                b1 = frame[1, 0] * dz + frame[1, 1] * dy
                b2 = frame[2, 0] * dz + frame[2, 1] * dy
                x0, x1 = _x_range(frame, b0, b1, b2, limit, c2, start[2], start[2] + nx)
                for x in range(x0, x1):
                    dx = x - c2
                    v0 = b0 + frame[0, 2] * dx
                    v1 = b1 + frame[1, 2] * dx
                    v2 = b2 + frame[2, 2] * dx
                    square = v0 * v0 + v1 * v1 + v2 * v2
                    rho = 0.0
                    if square > 0.0:
                        size = 1.0 + harmonic(v0, v1, v2, square, cubic, triple)
                        rho = math.sqrt(square) / size
                    if rho < nearness[z, y, x - start[2]]:
                        nearness[z, y, x - start[2]] = rho
                        label[z, y, x - start[2]] = i + 1


@compiled
def calibrate(
    centres: Floats,
    frames: Floats,
    radii: Floats,
    sheets: Floats,
    sharpness: Floats,
    wanted: Floats,
) -> tuple[Floats, Floats]:
    """Return crack gains (state, particle) and the mean void fractions they give.

    The mean is over the voxel centres within half of the radius, in the reference frame, and
    without blur or noise. It is `wanted` to 1e-6 unless that is more than the sheets can open.
    """
    n_states, n = wanted.shape
    gains, reached = np.zeros((n_states, n)), np.zeros((n_states, n))
    for i in range(n):
        half = math.ceil(radii[i]) + 1
        z0, y0, x0 = (
            math.floor(centres[i, 0]),
            math.floor(centres[i, 1]),
            math.floor(centres[i, 2]),
        )
        values = np.empty((2 * half + 1) ** 3)
        count = 0
        frame = frames[i]
        for z in range(z0 - half, z0 + half + 1):
            for y in range(y0 - half, y0 + half + 1):
                for x in range(x0 - half, x0 + half + 1):
                    dz, dy, dx = z - centres[i, 0], y - centres[i, 1], x - centres[i, 2]
                    v0 = frame[0, 0] * dz + frame[0, 1] * dy + frame[0, 2] * dx
                    v1 = frame[1, 0] * dz + frame[1, 1] * dy + frame[1, 2] * dx
                    v2 = frame[2, 0] * dz + frame[2, 1] * dy + frame[2, 2] * dx
                    square = v0 * v0 + v1 * v1 + v2 * v2
                    if square < CORE * CORE:
                        values[count] = _opening(v0, v1, v2, square, sheets[i], sharpness[i])
                        count += 1
        values = np.sort(values[:count])
        sums = np.concatenate((np.zeros(1), np.cumsum(values)))
        for s in range(n_states):
            lo, hi = 0.0, 50.0
            for _ in range(40):
                gain = 0.5 * (lo + hi)
                free = np.searchsorted(values, MOST_VOID / gain)
                mean = (gain * sums[free] + MOST_VOID * (count - free)) / count
                if abs(mean - wanted[s, i]) < 1e-6:
                    break
                if mean < wanted[s, i]:
                    lo = gain
                else:
                    hi = gain
            gains[s, i] = gain
            reached[s, i] = mean
    return gains, reached
