"""Cracks of one particle: which voxels, how they hang together, how thick they are.

All counts are integers, and a window is exactly the box that holds the particle, so nothing depends on what was read
with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.depth_in_particles import squared_depth

_WHOLE = ((True, True),) * 3
#: Half of a voxel's 26 neighbours; the other half lies opposite. Faces first, then edges, then corners.
STEPS = np.array(
    [
        (1, 0, 0), (0, 1, 0), (0, 0, 1),
        (1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1),
        (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1),
    ],
    np.int64,
)  # fmt: skip


@dataclass(frozen=True)
class Cracks:
    """The cracks of one particle, in its own box.

    Attributes
    ----------
    crack, skeleton
        bool, (z, y, x).
    squared
        Squared distance to the nearest voxel that is no crack, in the unit of `weights`; 0 outside the cracks.
    steps
        Steps of the skeleton along each of :data:`STEPS`.
    branches, ends
        Voxels of the skeleton with three or more steps, and with one.
    """

    crack: Array
    skeleton: Array
    squared: Array
    steps: Array
    branches: int
    ends: int


def cracks(grey: Array, mine: Array, limits: Array, bright: bool, weights: Triple, unit: int) -> Cracks:
    """Find the cracks of one particle.

    Parameters
    ----------
    grey
        uint8, the box of the particle; 0 is outside the scan.
    mine
        bool, its own voxels.
    limits
        Grey level beyond which a voxel is crack, for each shell from 0 (not used) up; NaN where there is no core.
    bright
        Whether the solid is brighter than a void.
    weights, unit
        Of distances, as :func:`crackdask.kernels.depth_in_mask.square_weights` returns.

    Returns
    -------
    Cracks
        The skeleton is that of Lee, Kashyap and Chu (1994); of a crack that it thins away, the deepest voxel.
    """
    squared = _depth(mine, weights, unit)
    crack = np.zeros(mine.shape, np.bool_)
    if _beyond(np.ascontiguousarray(grey), np.ascontiguousarray(mine), squared, unit, limits, bright, crack):
        depth = _depth(crack, weights, unit)
        skeleton = _skeleton(crack, depth)
        steps, branches, ends = graph(np.pad(skeleton, 1))
        return Cracks(crack, skeleton, depth, steps, int(branches), int(ends))
    none = np.zeros(len(STEPS), np.int64)
    return Cracks(crack, crack.copy(), np.zeros(crack.shape, np.uint16), none, 0, 0)


def _depth(inside: Array, weights: Triple, unit: int) -> Array:
    whole = (slice(0, inside.shape[0]), slice(0, inside.shape[1]), slice(0, inside.shape[2]))
    # Nothing is deeper than half of the narrowest side.
    reach = int(min((n + 1) * sqrt(w / unit) for n, w in zip(inside.shape, weights, strict=True)) / 2) + 1
    return squared_depth(inside.astype(np.uint32), whole, _WHOLE, weights, unit, reach)


def _skeleton(crack: Array, depth: Array) -> Array:
    """Return the skeleton; the box of the cracks alone decides it, since thinning goes in raster order."""
    ends = [np.flatnonzero(crack.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    place = tuple(slice(int(a), int(b) + 1) for a, b in ends)
    skeleton = np.zeros(crack.shape, np.bool_)
    thin = skeletonize(np.pad(crack[place], 1), method="lee")[1:-1, 1:-1, 1:-1] > 0
    skeleton[place] = _with_lost(thin, crack[place], depth[place])
    return skeleton


def _with_lost(skeleton: Array, crack: Array, depth: Array) -> Array:
    """Return a skeleton with the deepest voxel, the first of several, of each crack that has none.

    Thinning must leave something of every crack; that of scikit-image takes blobs of even width (a cube of 2 voxels)
    away altogether.
    """
    part, count = ndimage.label(crack, np.ones((3, 3, 3)))
    left = np.ones(count + 1, np.bool_)
    left[part[skeleton]] = False
    left[0] = False
    if not left.any():
        return skeleton
    place = np.flatnonzero(left[part])
    of = part.ravel()[place]
    order = np.lexsort((place, -depth.ravel()[place].astype(np.int64), of))
    first = order[np.unique(of[order], return_index=True)[1]]
    whole = skeleton.copy()
    whole.ravel()[place[first]] = True
    return whole


@compiled
def _beyond(
    grey: Array, mine: Array, squared: Array, unit: int, limits: Array, bright: bool, crack: Array
) -> int:  # fmt: skip
    """Mark the voxels of the core whose smoothed grey level is beyond that of their shell; return how many.

    Smoothed: the mean over the voxel, twice, and those of its six face neighbours that are the particle's own.
    """
    nz, ny, nx = grey.shape
    pairs = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not mine[z, y, x] or grey[z, y, x] == 0:
                    continue
                limit = limits[int(np.rint(np.sqrt(float(squared[z, y, x]) / float(unit))))]
                if np.isnan(limit):
                    continue
                total, weight = 2 * np.int64(grey[z, y, x]), 2
                for axis in range(3):
                    for side in (-1, 1):
                        a = z + side * (axis == 0)
                        b = y + side * (axis == 1)
                        c = x + side * (axis == 2)
                        if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx and mine[a, b, c] and grey[a, b, c] > 0:
                            total += grey[a, b, c]
                            weight += 1
                dark = total < limit * weight
                if dark == bright and total != limit * weight:
                    crack[z, y, x] = True
                    pairs += 1
    return pairs


@compiled
def graph(skeleton: Array) -> tuple[Array, int, int]:
    """Count the steps of a skeleton by direction, its branch points and its end points.

    `skeleton` has a margin of one empty voxel. Two voxels are a step apart when they are 26-neighbours and no third
    voxel of the skeleton lies in the smallest box that holds both: a corner that is cut adds no length.
    """
    nz, ny, nx = skeleton.shape
    steps = np.zeros(len(STEPS), np.int64)
    branches = ends = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if not skeleton[z, y, x]:
                    continue
                degree = 0
                for k in range(len(STEPS)):
                    for side in (1, -1):
                        if _step(skeleton, z, y, x, side * STEPS[k, 0], side * STEPS[k, 1], side * STEPS[k, 2]):
                            degree += 1
                            steps[k] += side == 1
                branches += degree >= 3
                ends += degree == 1
    return steps, branches, ends


@compiled(apart=True)
def _step(skeleton: Array, z: int, y: int, x: int, dz: int, dy: int, dx: int) -> bool:
    if not skeleton[z + dz, y + dy, x + dx]:
        return False
    between = 0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                if (a and not dz) or (b and not dy) or (c and not dx):
                    continue
                between += skeleton[z + a * dz, y + b * dy, x + c * dx]
    return between == 2


@compiled
def rim_shape(shells: int, radius: Array, spread: float) -> Array:
    """Return, (particle, shell from 0), how much of a blurred ball's brightness is missing at each depth.

    A ball of 1 is blurred by a Gaussian of `spread`; at the depth of shell k, k - 1/2 below the surface, it falls
    short of 1 by what is returned (lengths in smallest voxel edges, exact for a ball). An edge that phase contrast
    brightens is brighter by a multiple of it.
    """
    shape = np.zeros((radius.size, shells))
    root = sqrt(2.0) * spread
    tall = spread / sqrt(2.0 * pi)
    for i in range(radius.size):
        for k in range(1, shells):
            place = max(radius[i] - k + 0.5, 0.5)
            near, far = (radius[i] - place) / root, (radius[i] + place) / root
            blurred = 0.5 * (erf(near) + erf(far)) - tall / place * (exp(-near * near) - exp(-far * far))
            shape[i, k] = 1.0 - blurred
    return shape
