"""Non-local means of one padded block of 8-bit voxels (Buades, Coll and Morel, 2005).

Every voxel p becomes the weighted mean of the voxels q in a cube around it. The weight compares the
cubic patches around p and q, so that voxels in like surroundings are averaged and edges are kept.

All arithmetic is that of integers and no sum overflows. Integer sums do not depend on the order of
their terms, hence the result of a voxel depends on nothing but the voxels within `margin`: not on
tiles, blocks, vector width or processor. `nlm.md` tells what was measured on the way here.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
import numpy.typing as npt

from crackdask.arrays import Bytes
from crackdask.kernels.nlm_weights import (
    GREY,
    Ones,
    Weighting,
    Words,
    add_apart,
    compiled,
    patch_weights,
    squared_differences,
    weight_of,
    wide_vectors,
)

Longs = npt.NDArray[np.uint32]
Sizes = tuple[int, int, int]

MAX_DISTANCE = 19  # beyond, weights that add up in 32 bits would have less than 8 bits
TILE = (48, 32, 128)


@compiled
def _tally(
    weights: Words,
    jump: int,
    grey: Bytes,
    step: int,
    row: Ones,
    sums: Longs,
    norms: Longs,
) -> None:
    """Add the weights of a row of shifts, and the greys they weigh, to the running sums.

    Shift k finds its weights `k * jump` further on and its greys `k * step` from the middle one.
    """
    wide_vectors()
    start = 0 if step > 0 else len(row) - 1
    for i in range(np.uint64(sums.size)):
        total = np.uint32(0)
        norm = np.uint16(0)
        for k in range(len(row)):
            weight = weights[i + np.uint64(k * jump)]
            value = grey[i + np.uint64(start + k * step)]
            total = np.uint32(total + np.uint32(np.uint32(weight) * np.uint32(value)))
            norm = np.uint16(norm + weight)
        sums[i] = np.uint32(sums[i] + total)
        norms[i] = np.uint32(norms[i] + np.uint32(norm))


@compiled
def _plane_weights(
    grey: Bytes,
    begin: int,
    far: int,
    lines: int,
    frame: Sizes,
    first: int,
    row: Ones,
    patch: Ones,
    law: Weighting,
    work: Words,
    weights: Words,
) -> None:
    """Fill `weights[dx]` for `lines` lines of one plane and all shifts dx from `first` on.

    `begin` is the place in `grey` of the first line's first core voxel, `far` the distance to its
    partner for dx = 0. The weight of the voxel x of line y goes to `y * pitch + x + len(row) // 2`.
    """
    wide_vectors()
    plane, pitch, nx = frame
    r, d = len(patch) // 2, len(row) // 2
    for dx in range(first, d + 1):
        left, right = max(dx, 0), max(-dx, 0)
        count = (lines - 1) * pitch + left + nx + right
        wide = count + 2 * r
        tall = wide + 2 * r * pitch
        corner = begin - left - r * (plane + pitch + 1)
        squared_differences(grey[corner:], grey[corner + far + dx :], plane, patch, law, work[0, :tall])
        add_apart(work[0], pitch, patch, work[1, :wide])
        patch_weights(work[1], patch, law, weights[dx + d, d - left : d - left + count])


@compiled
def _tile(
    grey: Bytes,
    size: Sizes,
    row: Ones,
    patch: Ones,
    law: Weighting,
    work: Words,
    weights: Words,
    sums: Longs,
    norms: Longs,
) -> None:
    """Add all shifts but the zero shift to `sums` and `norms` of one tile.

    `grey` is the tile with its margin, flat, so that a plane is one run for the vector unit; what
    is computed between the lines is never read. Each pair of voxels is compared once: shifts
    (dz, dy) run over half the square, and a pair's weight counts for both of its voxels.
    """
    wide_vectors()
    nz, ny, nx = size
    d = len(row) // 2
    m = d + len(patch) // 2
    pitch = nx + 2 * m
    plane = pitch * (ny + 2 * m)
    core = m * (plane + pitch + 1)
    slab = ny * pitch
    span = slab - 2 * m
    jump = weights.shape[1]
    flat = weights.reshape(-1)
    for dz in range(d + 1):
        for dy in range(-d if dz else 0, d + 1):
            first = -d if dz or dy else 1
            weights[: first + d] = 0
            far = dz * plane + dy * pitch
            for z in range(-dz, nz):
                here, there = z >= 0, z + dz < nz
                low = min(0 if here else ny, -dy if there else ny)
                high = max(ny if here else -d, ny - dy if there else -d)
                at = core + z * plane
                begin = at + low * pitch
                _plane_weights(grey, begin, far, high - low, (plane, pitch, nx), first, row, patch, law, work, weights)
                if here:
                    total, norm = sums[z * slab :][:span], norms[z * slab :][:span]
                    own = flat[d - low * pitch :]
                    partner = grey[at + far - d :]
                    _tally(own, jump, partner, 1, row, total, norm)
                if there:
                    o = (z + dz) * slab
                    total, norm = sums[o:][:span], norms[o:][:span]
                    own = flat[2 * d - (dy + low) * pitch :]
                    partner = grey[at + dz * plane - far - d :]
                    _tally(own, jump - 1, partner, -1, row, total, norm)


@compiled
def _block(
    padded: Bytes,
    row: Ones,
    patch: Ones,
    law: Weighting,
    tile: Sizes,
    out: Bytes,
) -> None:
    """Denoise the core of `padded` into `out`, tile by tile."""
    wide_vectors()
    m = len(row) // 2 + len(patch) // 2
    pitch = tile[2] + 2 * m
    plane = pitch * (tile[1] + 2 * m)
    grey = np.empty((tile[0] + 2 * m) * plane, np.uint8)
    work = np.empty((2, plane), np.uint16)
    weights = np.empty((len(row), plane), np.uint16)
    sums = np.empty(tile[0] * tile[1] * pitch, np.uint32)
    norms = np.empty(tile[0] * tile[1] * pitch, np.uint32)
    top = np.uint32(weight_of(law.floor, law))
    for z0 in range(0, out.shape[0], tile[0]):
        for y0 in range(0, out.shape[1], tile[1]):
            for x0 in range(0, out.shape[2], tile[2]):
                core = out[z0 : z0 + tile[0], y0 : y0 + tile[1], x0 : x0 + tile[2]]
                nz, ny, nx = core.shape
                pitch = nx + 2 * m
                i = 0
                for z in range(z0, z0 + nz + 2 * m):
                    for y in range(y0, y0 + ny + 2 * m):
                        for x in range(x0, x0 + pitch):
                            grey[i] = padded[z, y, x]
                            i += 1
                sums[:] = 0
                norms[:] = top
                _tile(grey, core.shape, row, patch, law, work, weights, sums, norms)
                for z in range(nz):
                    for y in range(ny):
                        for x in range(nx):
                            i = (z * ny + y) * pitch + x
                            own = np.int64(padded[z0 + z + m, y0 + y + m, x0 + x + m])
                            total = np.int64(sums[i]) + np.int64(top) * own
                            core[z, y, x] = (2 * total + norms[i]) // (2 * np.int64(norms[i]))


def margin(patch_size: int, patch_distance: int) -> int:
    """Return how many voxels `nlm` needs on every side of its core.

    >>> margin(patch_size=3, patch_distance=5)
    6
    """
    return patch_distance + patch_size // 2


def _even(size: int, most: int) -> int:
    """Return the length of the fewest equal tiles of at most `most` voxels."""
    return -(-size // -(-size // most))


def _check(padded: Bytes, patch_size: int, patch_distance: int, h: float, sigma: float) -> None:
    """Raise a ValueError that names the argument, what it was and what it should be."""
    if patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(f"patch_size must be odd, so that it has a centre: got {patch_size}")
    if not 1 <= patch_distance <= MAX_DISTANCE:
        raise ValueError(f"patch_distance must be 1 to {MAX_DISTANCE} voxels: got {patch_distance}")
    if not (isfinite(h) and 0 < h <= GREY):
        raise ValueError(f"h must be above 0 and at most {GREY} grey values: got {h}")
    if not (isfinite(sigma) and 0 <= sigma <= GREY):
        raise ValueError(f"sigma must be 0 to {GREY} grey values: got {sigma}")
    if padded.dtype != np.uint8:
        raise ValueError(f"padded must be uint8: got {padded.dtype}; map it to 8 bits first")
    least = 2 * margin(patch_size, patch_distance) + 1
    if padded.ndim != 3 or min(padded.shape) < least:
        raise ValueError(
            f"padded must be (z, y, x) with at least {least} voxels along each axis, a margin of "
            f"{least // 2} on every side of the core: got shape {padded.shape}"
        )


def nlm(padded: Bytes, *, patch_size: int = 3, patch_distance: int = 5, h: float, sigma: float = 0.0) -> Bytes:
    """Return the core of a padded block, denoised by non-local means.

    With S(p, q) the sum of the squared differences between the cubic patches around p and q, and v
    the number of voxels in a patch, voxel p becomes the mean of all q in its search cube, p itself
    included, weighted with f(x) where x = max(S / v - 2 sigma**2, 0) / h**2 and

        f(x) = max(1 - x / 5, 0)**4,

    which is exp(-x) within 0.05 and 0 from x = 5 on; `Weighting` tells how in integers. The mean is
    rounded half up.

    Parameters
    ----------
    padded
        Grey values (z, y, x), uint8, with `margin` voxels on every side of the core; at the edge of
        the image the caller reflects.
    patch_size
        Edge of the patch in voxels, odd.
    patch_distance
        Reach of the search cube along each axis in voxels, 1 to 19.
    h
        Cut-off in grey values: the larger, the smoother.
    sigma
        Standard deviation of the noise in grey values.

    Returns
    -------
    numpy.ndarray
        The denoised core, uint8, smaller by `margin` voxels on every side.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the block has no core.

    Examples
    --------
    >>> step = np.full((13, 13, 14), 50, np.uint8)
    >>> step[..., 7:] = 200
    >>> step[6, 6, 6] += 6
    >>> nlm(step, patch_distance=5, h=10.0)
    array([[[ 50, 200]]], dtype=uint8)
    """
    _check(padded, patch_size, patch_distance, h, sigma)
    law = Weighting.of(patch_size, patch_distance, h, sigma)
    m = margin(patch_size, patch_distance)
    out = np.empty([size - 2 * m for size in padded.shape], np.uint8)
    _block(
        np.require(padded, requirements=["C", "W"]),
        (0,) * (2 * patch_distance + 1),
        (0,) * patch_size,
        Weighting._make(np.array(law, np.uint16)),
        tuple(_even(size, most) for size, most in zip(out.shape, TILE, strict=True)),
        out,
    )
    return out
