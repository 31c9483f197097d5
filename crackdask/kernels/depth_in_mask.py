"""Exact Euclidean depth inside a mask, in integers from end to end.

Squared distances are sums of integer weights, so the value of a voxel is the same number whichever window it was
computed in, as long as the window holds the nearest surface. The transform is separable: along x by runs of mask,
along y and z as the minimum over k of ``g[y + k] + weight * k * k`` (Felzenszwalb and Huttenlocher 2012, eq. 1),
searched outwards only while ``weight * k * k`` is below the largest value at hand. Depths in a mask of particles are
small, so the search is short and runs on whole rows at once.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled

Weights = tuple[int, int, int]

STEPS_PER_VOXEL = 64  # fixed point of a depth: 1/64 of the smallest voxel edge
LARGEST_DEPTH = 1023  # voxels; beyond it a depth would not fit 16 bits
_SQUARE_UNIT = 1024
_TAP_BITS = 12
_CHUNK = 256  # voxels of a row searched together
_NEVER = 1 << 20  # voxels


def square_weights(voxel_um: tuple[float, float, float]) -> tuple[Weights, int]:
    """Return integer squared edge lengths along (z, y, x), and the number that stands for the smallest edge.

    >>> square_weights((0.325, 0.325, 0.325))
    ((1, 1, 1), 1)
    >>> square_weights((2.0, 1.0, 1.0))
    ((4, 1, 1), 1)
    """
    smallest = min(voxel_um)
    z, y, x = (round(_SQUARE_UNIT * (edge / smallest) ** 2) for edge in voxel_um)
    common = gcd(z, y, x)
    return (z // common, y // common, x // common), _SQUARE_UNIT // common


def gaussian_taps(sd: float) -> Array:
    """Return one half of a Gaussian as integer weights, centre first; the whole adds up to 4096.

    The tail is cut at three standard deviations.

    >>> gaussian_taps(0.0).tolist(), gaussian_taps(1.0).tolist()
    ([4096], [1636, 991, 221, 18])
    """
    reach = int(np.ceil(3.0 * sd - 1e-9))
    offsets = np.arange(reach + 1, dtype=np.float64)
    tall = np.exp(-0.5 * (offsets / sd) ** 2) if reach else np.ones(1)
    whole = tall[0] + 2.0 * tall[1:].sum()
    taps = np.floor(tall / whole * (1 << _TAP_BITS) + 0.5).astype(np.uint32)
    taps[0] = (1 << _TAP_BITS) - 2 * int(taps[1:].sum())
    return taps


def squared_distance(mask: Array, weights: Weights, cap: int) -> Array:
    """Return the squared distance of every mask voxel to the nearest voxel outside the mask, at most `cap`.

    Parameters
    ----------
    mask
        bool, (z, y, x). The edge of the array is no surface.
    weights
        Squared edge lengths along (z, y, x), from :func:`square_weights`.
    cap
        Largest value kept, in the unit of the weights.

    Returns
    -------
    uint16 where twice the cap fits, else uint32; 0 outside the mask.

    >>> squared_distance(np.array([[[True, True, True, False]]]), (1, 1, 1), 100).tolist()
    [[[9, 4, 1, 0]]]
    """
    dtype = np.uint16 if 2 * cap < 1 << 16 else np.uint32
    squares = np.empty(mask.shape, dtype)
    z, y, x = weights
    across, along = np.empty(mask.shape[1:], dtype), np.empty((2, mask.shape[0], mask.shape[2]), dtype)
    _spread_plane(np.ascontiguousarray(mask).view(np.uint8), squares, x, y, dtype(cap), across)
    _spread_up(squares, z, along[0], along[1])
    return squares


def depth_of_squares(squares: Array, unit: int, steps: int) -> Array:
    """Return distances as uint16, `steps` to a smallest voxel edge, rounded to nearest.

    >>> depth_of_squares(np.array([[[0, 1, 2, 4]]], np.uint16), 1, 64).tolist()
    [[[0, 64, 91, 128]]]
    """
    depth = squares if squares.dtype == np.uint16 else np.empty(squares.shape, np.uint16)
    _root(squares.reshape(-1), depth.reshape(-1), np.float32(steps * steps / unit))
    return depth


def smooth(depth: Array, mask: Array, taps: tuple[Array, Array, Array], start: Weights, shift: int) -> Array:
    """Return a smoothed depth in the voxels of a mask, where it is at least 1, and 0 elsewhere.

    Parameters
    ----------
    depth
        uint16, a window around the mask's voxels. Beyond the window the outermost value is repeated.
    mask
        bool, the voxels wanted.
    taps
        Half kernels along (z, y, x), from :func:`gaussian_taps`.
    start
        Index in `depth` of the mask's first voxel.
    shift
        Binary digits to drop from the depth at the end, rounding to nearest.
    """
    smoothed = np.zeros(mask.shape, np.uint16)
    inside = np.ascontiguousarray(mask).view(np.uint8)
    reach, width = taps[1].size - 1, depth.shape[2]
    lines = min(start[1] + mask.shape[1] + reach, depth.shape[1]) - max(start[1] - reach, 0)
    _smooth(
        np.ascontiguousarray(depth), inside, taps[0], taps[1], taps[2], start, shift, smoothed,
        np.empty((lines, width), np.uint16), np.empty(width, np.uint32),
        np.empty(width + 2 * (taps[2].size - 1), np.uint16), np.empty(mask.shape[2], np.uint16),
    )  # fmt: skip
    return smoothed


@compiled(error_model="numpy")
def _spread_row(mask: Array, row: Array, weight: int, cap: int) -> None:
    """Write squared distances along one line, by runs of mask."""
    n = mask.size
    i = 0
    while i < n:
        if mask[i] == 0:
            row[i] = 0
            i += 1
            continue
        stop = i
        while stop < n and mask[stop] != 0:
            stop += 1
        left = 0 if i > 0 else _NEVER
        right = 0 if stop < n else _NEVER
        for j in range(i, stop):
            near = min(j - i + 1 + left, stop - j + right)
            row[j] = min(weight * near * near, cap)
        i = stop


@compiled(error_model="numpy")
def _lower(out: Array, side: Array, extra: int) -> None:
    """Keep the smaller of a row and another row plus a constant."""
    kind = out.dtype.type
    more = kind(extra)
    for x in range(out.size):
        other = kind(side[x] + more)
        out[x] = other if other < out[x] else out[x]


@compiled(error_model="numpy")
def _highest(row: Array) -> np.int64:
    kind = row.dtype.type
    top = kind(0)
    for x in range(row.size):
        top = row[x] if row[x] > top else top
    return np.int64(top)


@compiled(error_model="numpy")
def _spread_lines(lines: Array, out: Array, weight: int) -> None:
    """Spread distances across the rows of a plane: the minimum over all rows, each raised by its squared offset."""
    n, width = lines.shape
    for x0 in range(0, width, _CHUNK):
        x1 = min(x0 + _CHUNK, width)
        for i in range(n):
            best = out[i, x0:x1]
            own = lines[i, x0:x1]
            for x in range(x1 - x0):
                best[x] = own[x]
            top = _highest(best)
            k = 1
            while weight * k * k < top and (i >= k or i + k < n):
                extra = weight * k * k
                if i >= k:
                    _lower(best, lines[i - k, x0:x1], extra)
                if i + k < n:
                    _lower(best, lines[i + k, x0:x1], extra)
                if k & 1 == 0:
                    top = _highest(best)
                k += 1


@compiled(error_model="numpy")
def _spread_plane(mask: Array, squares: Array, weight_x: int, weight_y: int, cap: int, plane: Array) -> None:
    """Squared distances within each (y, x) plane."""
    nz, ny, _ = mask.shape
    for z in range(nz):
        for y in range(ny):
            _spread_row(mask[z, y], plane[y], weight_x, np.int64(cap))
        _spread_lines(plane, squares[z], weight_y)


@compiled(error_model="numpy")
def _spread_up(squares: Array, weight: int, plane: Array, spread: Array) -> None:
    """Carry squared distances across planes, in place."""
    nz, ny, nx = squares.shape
    for y in range(ny):
        for z in range(nz):
            for x in range(nx):
                plane[z, x] = squares[z, y, x]
        _spread_lines(plane, spread, weight)
        for z in range(nz):
            for x in range(nx):
                squares[z, y, x] = spread[z, x]


@compiled(error_model="numpy")
def _root(squares: Array, depth: Array, scale: np.float32) -> None:
    """Root in single precision, which IEEE 754 rounds in one way only; then to the nearest step."""
    half = np.float32(0.5)
    for i in range(squares.size):
        depth[i] = np.uint16(np.int32(np.sqrt(np.float32(squares[i]) * scale) + half))


@compiled(error_model="numpy")
def _add(total: Array, one: Array, other: Array, tap: np.uint32) -> None:
    for x in range(total.size):
        total[x] = np.uint32(total[x] + np.uint32(np.uint32(one[x]) + np.uint32(other[x])) * tap)


@compiled(error_model="numpy")
def _weigh(rows: Array, at: int, taps: Array, total: Array, out: Array, shift: int) -> None:
    """Write the weighted sum of the rows around row `at`, rounded by `shift` binary digits."""
    last = rows.shape[0] - 1
    half = np.uint32((1 << shift) >> 1)
    middle = rows[at]
    for x in range(total.size):
        total[x] = np.uint32(half + np.uint32(middle[x]) * taps[0])
    for k in range(1, taps.size):
        _add(total, rows[max(at - k, 0)], rows[min(at + k, last)], taps[k])
    for x in range(total.size):
        out[x] = np.uint16(total[x] >> np.uint32(shift))


@compiled(error_model="numpy")
def _weigh_along(row: Array, taps: Array, total: Array, out: Array, shift: int) -> None:
    """Write the weighted sum along a row that is longer than `out` by a kernel's reach on both sides."""
    reach = taps.size - 1
    n = out.size
    half = np.uint32((1 << shift) >> 1)
    for x in range(n):
        total[x] = np.uint32(half + np.uint32(row[x + reach]) * taps[0])
    for k in range(1, taps.size):
        _add(total[:n], row[reach - k : reach - k + n], row[reach + k : reach + k + n], taps[k])
    for x in range(n):
        out[x] = np.uint16(total[x] >> np.uint32(shift))


@compiled(error_model="numpy")
def _smooth(
    depth: Array,
    mask: Array,
    taps_z: Array,
    taps_y: Array,
    taps_x: Array,
    start: Weights,
    shift: int,
    smoothed: Array,
    plane: Array,
    total: Array,
    padded: Array,
    line: Array,
) -> None:
    nz, ny, nx = mask.shape
    reach_y = taps_y.size - 1
    reach_x = taps_x.size - 1
    y0 = max(start[1] - reach_y, 0)
    y1 = min(start[1] + ny + reach_y, depth.shape[1])
    width = depth.shape[2]
    for z in range(nz):
        for y in range(y0, y1):
            _weigh(depth[:, y], z + start[0], taps_z, total, plane[y - y0], _TAP_BITS)
        for y in range(ny):
            inside = mask[z, y]
            _weigh(plane, y + start[1] - y0, taps_y, total, padded[reach_x : reach_x + width], _TAP_BITS)
            for x in range(reach_x):
                padded[x] = padded[reach_x]
                padded[reach_x + width + x] = padded[reach_x + width - 1]
            _weigh_along(padded[start[2] : start[2] + nx + 2 * reach_x], taps_x, total, line, _TAP_BITS + shift)
            out = smoothed[z, y]
            for x in range(nx):
                value = line[x] if line[x] > 0 else np.uint16(1)
                out[x] = value if inside[x] != 0 else np.uint16(0)
