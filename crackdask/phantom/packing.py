"""Pack touching particles of many sizes and shapes into a box.

Every particle is an ellipsoid with two low harmonics on its surface. In its own coordinates
v = A (p - centre), A being its `frame`, the ellipsoid is |v| < 1, and the surface lies at
|v| = 1 + h(v / |v|).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Floats, Integers
from crackdask.kernels.compiling import compiled


@compiled(inline="always")
def harmonic(v0: float, v1: float, v2: float, square: float, cubic: float, triple: float) -> float:
    """Return h at v: `cubic` bulges along the axes, `triple` along alternate octants.

    Both are scaled so that h stays within -(|cubic| + |triple|) and |cubic| + |triple|.
    """
    a, b, c = v0 * v0, v1 * v1, v2 * v2
    quartic = 2.5 * (a * a + b * b + c * c) / (square * square) - 1.5
    return cubic * quartic + triple * 5.196152422706632 * v0 * v1 * v2 / (square * math.sqrt(square))


@compiled(apart=True)
def _toward(frame: Floats, bumps: Floats, n0: float, n1: float, n2: float) -> float:
    """Return the distance from a particle's centre to its surface along a unit vector."""
    v0 = frame[0, 0] * n0 + frame[0, 1] * n1 + frame[0, 2] * n2
    v1 = frame[1, 0] * n0 + frame[1, 1] * n1 + frame[1, 2] * n2
    v2 = frame[2, 0] * n0 + frame[2, 1] * n1 + frame[2, 2] * n2
    square = v0 * v0 + v1 * v1 + v2 * v2
    return (1.0 + harmonic(v0, v1, v2, square, bumps[0], bumps[1])) / math.sqrt(square)


@compiled(apart=True)
def _sort_into_cells(centres: Floats, size: Floats, counts: Integers) -> tuple[Integers, Integers, Integers]:
    """Return each particle's cell, the particles sorted by cell and where each cell starts."""
    n = centres.shape[0]
    cell = np.empty(n, np.int64)
    start = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    for i in range(n):
        c = 0
        for axis in range(3):
            k = int(centres[i, axis] / size[axis] * counts[axis])
            c = c * counts[axis] + min(max(k, 0), counts[axis] - 1)
        cell[i] = c
        start[c + 1] += 1
    for c in range(start.size - 1):
        start[c + 1] += start[c]
    fill = start[:-1].copy()
    order = np.empty(n, np.int64)
    for i in range(n):
        order[fill[cell[i]]] = i
        fill[cell[i]] += 1
    return cell, order, start


@compiled(apart=True)
def _span(home: int, reach: float, edge: float, count: int) -> tuple[int, int]:
    """Return the cells, first and number, along one axis that a distance can touch."""
    side = int(reach / edge) + 1
    if 2 * side + 1 >= count:
        return 0, count
    return home - side, 2 * side + 1


@compiled
def _neighbours(centres: Floats, reach: Floats, size: Floats, skin: float) -> tuple[Integers, Integers]:
    """Return, as (first, partner), the particles that may come to touch each particle.

    Each particle looks for smaller ones only, so few look far; a pair is then noted for both.
    """
    n = centres.shape[0]
    counts, edge = np.empty(3, np.int64), np.empty(3)
    for axis in range(3):
        counts[axis] = max(1, int(size[axis] / (2.0 * np.median(reach) + skin)))
        edge[axis] = size[axis] / counts[axis]
    cell, order, start = _sort_into_cells(centres, size, counts)
    first = np.zeros(n + 1, np.int64)
    fill, partner = first.copy(), np.empty(0, np.int64)
    for noting in range(2):
        for i in range(n):
            most = 2.0 * reach[i] + skin
            za, zn = _span(cell[i] // (counts[1] * counts[2]), most, edge[0], counts[0])
            ya, yn = _span(cell[i] // counts[2] % counts[1], most, edge[1], counts[1])
            xa, xn = _span(cell[i] % counts[2], most, edge[2], counts[2])
            for z in range(za, za + zn):
                for y in range(ya, ya + yn):
                    for x in range(xa, xa + xn):
                        q = z % counts[0] * counts[1] + y % counts[1]
                        q = q * counts[2] + x % counts[2]
                        for k in range(start[q], start[q + 1]):
                            j = order[k]
                            if reach[j] > reach[i] or (reach[j] == reach[i] and j >= i):
                                continue
                            square = 0.0
                            for axis in range(3):
                                d = abs(centres[j, axis] - centres[i, axis])
                                d = min(d, size[axis] - d)
                                square += d * d
                            limit = reach[i] + reach[j] + skin
                            if square < limit * limit:
                                if noting:
                                    partner[fill[i]] = j
                                    partner[fill[j]] = i
                                fill[i] += 1
                                fill[j] += 1
        if not noting:
            first[1:] = np.cumsum(fill[:-1])
            fill = first.copy()
            partner = np.empty(first[n], np.int64)
    return first, partner


@compiled
def _push_apart(
    centres: Floats,
    frames: Floats,
    bumps: Floats,
    radii: Floats,
    reach: Floats,
    size: Floats,
    sink: float,
    first: Integers,
    partner: Integers,
) -> tuple[float, float]:
    """Move every particle once, away from those it overlaps; return the worst overlap."""
    n = centres.shape[0]
    move = np.zeros((n, 3))
    worst = 0.0
    d = np.empty(3)
    for i in range(n):
        for k in range(first[i], first[i + 1]):
            j = partner[k]
            square = 0.0
            for axis in range(3):
                d[axis] = centres[j, axis] - centres[i, axis]
                d[axis] -= size[axis] * math.floor(d[axis] / size[axis] + 0.5)
                square += d[axis] * d[axis]
            limit = reach[i] + reach[j]
            if square >= limit * limit or square == 0.0:
                continue
            gap = math.sqrt(square)
            n0, n1, n2 = d[0] / gap, d[1] / gap, d[2] / gap
            touch = _toward(frames[i], bumps[i], n0, n1, n2)
            touch += _toward(frames[j], bumps[j], -n0, -n1, -n2)
            overlap = touch - 2.0 * sink * min(radii[i], radii[j]) - gap
            if overlap > 0.0:
                worst = max(worst, overlap / min(radii[i], radii[j]))
                share = 0.8 * overlap * radii[j] / (radii[i] + radii[j])
                move[i, 0] -= share * n0
                move[i, 1] -= share * n1
                move[i, 2] -= share * n2
    farthest = 0.0
    for i in range(n):
        square = 0.0
        for axis in range(3):
            square += move[i, axis] * move[i, axis]
            p = centres[i, axis] + move[i, axis]
            centres[i, axis] = p - size[axis] * math.floor(p / size[axis])
        farthest = max(farthest, square)
    return worst, math.sqrt(farthest)


def relax(
    centres: Floats,
    frames: Floats,
    bumps: Floats,
    radii: Floats,
    reach: Floats,
    size: Floats,
    sink: float,
    rounds: int = 400,
    tolerance: float = 0.02,
) -> float:
    """Push overlapping particles apart, in place, until they only touch.

    Two particles touch where their surfaces, along the line between the centres, overlap by
    `sink` of the smaller radius each. The box repeats in every direction. Everything is summed
    in one fixed order, so the same start gives the same packing.

    Parameters
    ----------
    centres
        Voxels, (n, 3), within `size`.
    frames, bumps
        Frame (n, 3, 3) and harmonics (n, 2) of every particle.
    radii, reach
        Equivalent radius, and the largest distance from centre to surface, in voxels.
    size
        Edges of the box in voxels.
    sink
        Overlap that counts as touching, as a fraction of the smaller radius.
    rounds, tolerance
        Stop after so many moves, or once no overlap exceeds this fraction of a radius.

    Returns
    -------
    float
        The worst overlap left, as a fraction of the smaller radius.
    """
    skin = float(radii.min())
    travelled, worst = math.inf, math.inf
    for _ in range(rounds):
        if travelled > skin / 2:
            first, partner = _neighbours(centres, reach, size, skin)
            travelled = 0.0
        worst, step = _push_apart(centres, frames, bumps, radii, reach, size, sink, first, partner)
        travelled += step
        if worst < tolerance:
            break
    return float(worst)


@dataclass(frozen=True, eq=False)
class Packing:
    """Where particles are and what they look like."""

    centres: Floats
    frames: Floats
    bumps: Floats
    overlap: float


def place(
    rng: np.random.Generator,
    radii: Floats,
    size: Floats,
    asphericity: float,
    roughness: float,
    sink: float,
) -> Packing:
    """Draw shapes and directions for these radii and pack them into a repeating box."""
    n = len(radii)
    stretch = np.exp(rng.uniform(-asphericity, asphericity, (n, 3)))
    axes = radii[:, None] * stretch / np.cbrt(stretch.prod(axis=1, keepdims=True))
    frames = _rotations(rng.normal(size=(n, 4))) / axes[:, :, None]
    bumps = rng.uniform(-roughness / 2, roughness / 2, (n, 2))
    centres = rng.random((n, 3)) * size
    reach = axes.max(axis=1) * (1 + np.abs(bumps).sum(axis=1))
    overlap = relax(centres, frames, bumps, radii, reach, size, sink)
    return Packing(centres, frames, bumps, overlap)


def _rotations(quaternions: Floats) -> Floats:
    """Return the rotation matrices of quaternions of any length."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.ascontiguousarray(np.moveaxis(np.array(rows), 2, 0))
