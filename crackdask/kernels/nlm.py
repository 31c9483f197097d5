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
from crackdask.kernels import compiling
from crackdask.kernels.nlm_vectors import (
    LANES,
    add_rounded_squares,
    add_squares,
    tally,
    tally_partners,
    weigh,
    wide_vectors,
)
from crackdask.kernels.nlm_weights import GREY, Weighting

Words = npt.NDArray[np.uint16]
Ones = tuple[int, ...]  # its length is known when numba compiles, so loops over it unroll
Longs = npt.NDArray[np.uint32]
Sizes = tuple[int, int, int]
Lines = tuple[int, int, int, bool, bool]
#: Sums of grey levels by weight, and of weights.
Sums = tuple[Longs, Longs]
#: Squared differences, and weights.
Work = tuple[Words, Words]

compiled = compiling.compiled(error_model="numpy", boundscheck=False)

MAX_DISTANCE = 19  # beyond, weights that add up in 32 bits would have less than 8 bits
TILE = (256, 64, 384)
#: Bytes that lie before and behind a tile, for what is loaded and not used.
_FRONT, _BEHIND = 64, 192


@compiled
def _aligned(size: int) -> Bytes:
    """Return that many bytes, from the beginning of a cache line on."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


@compiled
def _shifts(
    grey: Bytes,
    at: int,
    far: int,
    plane: int,
    lines: Lines,
    row: Ones,
    patch: Ones,
    law: Weighting,
    work: Work,
    own: Sums,
    partner: Sums,
) -> None:
    """Compare a plane with what lies `far` from it, and further by each shift of a row; add up what both weigh.

    `at` is the place in `grey` of the plane's first line, `lines` tells how many voxels a line has, how many lines a
    tile, by how many lines `far` goes on, and whether the plane and the other one are of the tile. Lines are worked on
    one after the other, so that what belongs to one stays at hand: the squared differences of as many as a patch is
    high, and the weights of one.
    """
    wide_vectors()
    pitch, ny, dy, here, there = lines
    squares, weights = work
    r, d = len(patch) // 2, len(row) // 2
    slot, jump = pitch + LANES * (1 + len(patch) // LANES), pitch + 2 * LANES
    ring = len(patch) * slot
    low = min(0 if here else ny, -dy if there else ny)
    high = max(ny if here else -d, ny - dy if there else -d)
    for ahead in range(low - r, high + r):
        begin, to = at - r * (plane + 1) + ahead * pitch, (ahead - low + r) % len(patch) * slot
        for j in range(0, pitch, LANES):
            if law.coarse:
                add_rounded_squares(
                    grey, begin + j, far - d, plane, squares, to + j, ring, law.half, law.coarse, row, patch
                )
            else:
                add_squares(grey, begin + j, far - d, plane, squares, to + j, ring, law.half, law.coarse, row, patch)
        y = ahead - r
        if y < low:
            continue
        for k in range(len(row)):
            start, to = k * ring, k * jump + LANES
            weigh(squares, start, slot, law.floor, law.cut, law.fine, law.scale, weights, to, pitch // LANES, patch)
        if far == 0:  # each pair once
            weights[: (d + 1) * jump] = 0
        if here and 0 <= y < ny:
            for j in range(0, pitch, LANES):
                tally(weights, LANES + j, jump, grey, at + y * pitch + far - d + j, own[0], own[1], y * pitch + j, row)
        if there and 0 <= y + dy < ny:
            for j in range(0, pitch, LANES):
                first, to = at + y * pitch - d + j, (y + dy) * pitch + j
                tally_partners(weights, LANES + d + j, jump - 1, grey, first, partner[0], partner[1], to, row)


@compiled
def _tile(
    grey: Bytes,
    pitch: int,
    row: Ones,
    patch: Ones,
    law: Weighting,
    top: int,
    work: Work,
    sums: Longs,
    norms: Longs,
    out: Bytes,
) -> None:
    """Denoise a tile into `out`; `grey` is the tile with its margin, flat.

    Each pair of voxels is compared once: shifts (dz, dy) run over half the square, and a pair's weight counts for both
    of its voxels. So a plane is done when its own shifts are, and sums are kept of so many planes as shifts reach.
    `top` is the weight of a voxel for itself.
    """
    wide_vectors()
    nz, ny, nx = out.shape
    d = len(row) // 2
    m = d + len(patch) // 2
    plane, slab = pitch * (ny + 2 * m), pitch * ny
    sums[:] = 0
    norms[:] = top
    for z in range(-d, nz):
        at = _FRONT + m * (plane + pitch) + z * plane
        o = z % (d + 1) * slab
        total, norm = sums[o : o + slab], norms[o : o + slab]
        for dz in range(max(-z, 0), d + 1):
            o = (z + dz) % (d + 1) * slab
            partner = (sums[o : o + slab], norms[o : o + slab])
            for dy in range(-d if dz else 0, d + 1):
                far, lines = dz * plane + dy * pitch, (pitch, ny, dy, z >= 0, z + dz < nz)
                _shifts(grey, at, far, plane, lines, row, patch, law, work, (total, norm), partner)
        if z < 0:
            continue
        for y in range(ny):
            for x in range(nx):
                i = y * pitch + m + x
                weight = np.int64(norm[i])
                weighed = np.int64(total[i]) + np.int64(top) * np.int64(grey[at + i])
                # Whole numbers below 2**53 and a quotient below 2**9: rounding leads to no other whole number.
                out[z, y, x] = np.uint8((2 * weighed + weight) / (2 * weight))
        total[:] = 0
        norm[:] = top


@compiled
def _block(
    padded: Bytes,
    row: Ones,
    patch: Ones,
    law: Weighting,
    top: int,
    tile: Sizes,
    out: Bytes,
) -> None:
    """Denoise the core of `padded` into `out`, tile by tile."""
    wide_vectors()
    d = len(row) // 2
    m = d + len(patch) // 2
    # Sums of differences lie half a patch further on than the voxels around which they are.
    pitch = -(-(tile[2] + 2 * m + len(patch) // 2) // LANES) * LANES
    grey = _aligned(_FRONT + (tile[0] + 2 * m) * (tile[1] + 2 * m) * pitch + _BEHIND)
    squares = _aligned(2 * len(row) * len(patch) * (pitch + LANES * (1 + len(patch) // LANES))).view(np.uint16)
    weights = _aligned(2 * len(row) * (pitch + 2 * LANES)).view(np.uint16)
    sums = _aligned(4 * (d + 1) * tile[1] * pitch).view(np.uint32)
    norms = _aligned(4 * (d + 1) * tile[1] * pitch).view(np.uint32)
    for z0 in range(0, out.shape[0], tile[0]):
        for y0 in range(0, out.shape[1], tile[1]):
            for x0 in range(0, out.shape[2], tile[2]):
                core = out[z0 : z0 + tile[0], y0 : y0 + tile[1], x0 : x0 + tile[2]]
                nz, ny, nx = core.shape
                for z in range(nz + 2 * m):
                    for y in range(ny + 2 * m):
                        i = _FRONT + (z * (ny + 2 * m) + y) * pitch
                        for x in range(nx + 2 * m):
                            grey[i + x] = padded[z0 + z, y0 + y, x0 + x]
                _tile(grey, pitch, row, patch, law, top, (squares, weights), sums, norms, core)


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
        law.largest,
        tuple(_even(size, most) for size, most in zip(out.shape, TILE, strict=True)),
        out,
    )
    return out
