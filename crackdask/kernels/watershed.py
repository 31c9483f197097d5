"""The watershed of one block: steepest ascent, basins and labels.

There is no queue. Every voxel points to its highest 26-neighbour, ties going to the larger global index, so heights and
indices are a total order and every path ends in a peak (Zlateski and Seung 2015; Lu, Zlateski and Seung 2021). Within a
window the global index grows exactly as the raster order of the window does, so a block decides each tie as the whole
volume would.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled, read_only

_PEAK = 21  # a pointer is 16 * dz + 4 * dy + dx with steps of 0, 1, 2; this one points to itself
_HALO = 64  # flag of voxels that belong to other blocks
_ENTERED = 128  # flag of voxels that a voxel of another block points to
_NOWHERE = 255  # outside the mask


def steepest(depth: Array, start: Triple, shape: Triple) -> Array:
    """Return for part of a window which neighbour is the highest, as a code.

    Parameters
    ----------
    depth
        uint16, 0 outside the mask. Beyond the window nothing is inside the mask.
    start, shape
        The part of the window wanted.

    Returns
    -------
    uint8, ``16 * dz + 4 * dy + dx`` with steps counted 0, 1, 2 from the voxel before; 255 outside the mask.

    >>> steepest(np.array([[[1, 2, 2, 1, 0]]], np.uint16), (0, 0, 0), (1, 1, 5)).tolist()
    [[[22, 22, 21, 20, 255]]]
    """
    pointers = np.empty(shape, np.uint8)
    _, ny, nx = shape
    _steepest(
        np.ascontiguousarray(depth), start, pointers, np.zeros(depth.shape[2] + 2, np.uint32),
        np.zeros((ny + 2, nx), np.uint32), np.zeros((3, ny, nx), np.uint32), np.empty(nx, np.uint32),
    )  # fmt: skip
    return pointers


def follow(pointers: Array, start: Triple, shape: Triple) -> tuple[Array, Array, Array, Array]:
    """Follow every pointer of a block to where its path ends or leaves the block.

    Parameters
    ----------
    pointers
        From :func:`steepest`, of the block and a halo of 1; is written to.
    start, shape
        The block within `pointers`.

    Returns
    -------
    codes
        uint32, the block's voxels: which of `ends` a voxel leads to, counted from 1; 0 outside the mask.
    ends
        int64, index into the flat window of each peak in the block or voxel in the halo that a path ends in.
    entered
        int64, indices into the flat window of the block's voxels that a voxel of the halo points to, ascending.
    entered_codes
        uint32, the codes of those.
    """
    codes = np.empty(shape, np.uint32)
    entered = _mark_halo(pointers, start, shape)
    ends = _number(pointers, codes, start, _sweep_back(pointers, codes, start))
    places = (at - first for at, first in zip(np.unravel_index(entered, pointers.shape), start, strict=True))
    return codes, ends, entered, codes[tuple(places)]


def look_up(codes: Array, names: Array, out: Array, part: tuple[slice, slice, slice] | None = None) -> None:
    """Write ``names[code - 1]`` for every code, and 0 for 0; only in a part of the arrays where one is given.

    >>> out = np.empty((1, 1, 3), np.uint32)
    >>> look_up(np.array([[[0, 2, 1]]], np.uint32), np.array([7, 9], np.uint32), out)
    >>> out.tolist()
    [[[0, 9, 7]]]
    """
    part = part or (slice(0, codes.shape[0]), slice(0, codes.shape[1]), slice(0, codes.shape[2]))
    z, y, x = part
    _look_up(codes, read_only(names), out, (z.start, y.start, x.start), (z.stop, y.stop, x.stop))


def tops(codes: Array, depth: Array, count: int) -> Array:
    """Return the largest depth of each code 1..count, as uint16.

    >>> tops(np.array([0, 1, 1], np.uint32), np.array([9, 3, 5], np.uint16), 2).tolist()
    [5, 0]
    """
    highest = np.zeros(count + 1, np.uint16)
    _tops(codes.reshape(-1), depth.reshape(-1), highest)
    highest[0] = 0
    return highest[1:]


@compiled(error_model="numpy")
def _highest_along(row: Array, padded: Array, out: Array, first: int) -> None:
    """Write the best of three along x as ``depth << 6 | dx``."""
    n = out.size
    for x in range(row.size):
        padded[x + 1] = row[x]
    before = padded[first : first + n]
    here = padded[first + 1 : first + 1 + n]
    after = padded[first + 2 : first + 2 + n]
    for x in range(n):
        best = np.uint32(np.uint32(before[x]) << np.uint32(6))
        key = np.uint32((np.uint32(here[x]) << np.uint32(6)) | np.uint32(1))
        best = key if key > best else best
        key = np.uint32((np.uint32(after[x]) << np.uint32(6)) | np.uint32(2))
        out[x] = key if key > best else best


@compiled(error_model="numpy")
def _highest_across(before: Array, here: Array, after: Array, step: int, out: Array) -> None:
    """Write the best of three rows, with the step taken in the digits of `step`."""
    one = np.uint32(step)
    two = np.uint32(2 * step)
    for x in range(out.size):
        best = before[x]
        key = np.uint32(here[x] | one)
        best = key if key > best else best
        key = np.uint32(after[x] | two)
        out[x] = key if key > best else best


@compiled(error_model="numpy")
def _steepest_plane(depth: Array, y0: int, x0: int, padded: Array, rows: Array, out: Array) -> None:
    """Write the best of nine within a plane; `rows` has a row of zeros at each end."""
    ny = out.shape[0]
    for i in range(ny + 2):
        y = y0 + i - 1
        if 0 <= y < depth.shape[0]:
            _highest_along(depth[y], padded, rows[i], x0)
        else:
            for x in range(rows.shape[1]):
                rows[i, x] = 0
    for i in range(ny):
        _highest_across(rows[i], rows[i + 1], rows[i + 2], np.int64(4), out[i])


@compiled(error_model="numpy")
def _steepest(
    depth: Array, start: Triple, pointers: Array, padded: Array, rows: Array, planes: Array, line: Array
) -> None:
    nz, ny, nx = pointers.shape
    for i in range(-1, nz + 1):
        z = start[0] + i
        if 0 <= z < depth.shape[0]:
            _steepest_plane(depth[z], start[1], start[2], padded, rows, planes[(i + 3) % 3])
        else:
            beyond = planes[(i + 3) % 3]
            for y in range(ny):
                for x in range(nx):
                    beyond[y, x] = 0
        if i < 1:
            continue
        for y in range(ny):
            _highest_across(planes[(i + 1) % 3, y], planes[(i + 2) % 3, y], planes[i % 3, y], np.int64(16), line)
            inside = depth[z - 1, start[1] + y, start[2] : start[2] + nx]
            out = pointers[i - 1, y]
            for x in range(nx):
                out[x] = np.uint8(line[x] & np.uint32(63)) if inside[x] > 0 else np.uint8(_NOWHERE)


@compiled(error_model="numpy")
def _mark_halo(pointers: Array, start: Triple, shape: Triple) -> Array:
    """Flag the halo; return the block's voxels that the halo points to."""
    nz, ny, nx = pointers.shape
    flat = pointers.reshape(-1)
    count = 0
    for z in range(nz):
        for y in range(ny):
            own = start[0] <= z < start[0] + shape[0] and start[1] <= y < start[1] + shape[1]
            x = 0
            while x < nx:
                if own and x == start[2]:
                    x += shape[2]
                    continue
                here = pointers[z, y, x]
                if here != _NOWHERE:
                    to_z = z + (here >> 4) - 1
                    to_y = y + (here >> 2 & 3) - 1
                    to_x = x + (here & 3) - 1
                    pointers[z, y, x] = here | _HALO
                    if (
                        start[0] <= to_z < start[0] + shape[0]
                        and start[1] <= to_y < start[1] + shape[1]
                        and start[2] <= to_x < start[2] + shape[2]
                    ):
                        at = (to_z * ny + to_y) * nx + to_x
                        if flat[at] & _ENTERED == 0:
                            flat[at] |= _ENTERED
                            count += 1
                x += 1
    entered = np.empty(count, np.int64)
    filled = 0
    for at in range(flat.size):
        if filled == count:
            break
        if flat[at] != _NOWHERE and flat[at] & _ENTERED != 0:
            flat[at] &= _ENTERED - 1
            entered[filled] = at
            filled += 1
    return entered


@compiled(error_model="numpy")
def _leaps(shape: Triple) -> Array:
    """Return how far each pointer leads in a flat array."""
    leap = np.zeros(64, np.int64)
    for step in range(43):
        leap[step] = (((step >> 4) - 1) * shape[1] + (step >> 2 & 3) - 1) * shape[2] + (step & 3) - 1
    return leap


@compiled(error_model="numpy")
def _face_place(at: int, shape: Triple) -> int:
    """Return the place of a voxel of a window's outermost layers among those of all six, by its index into it."""
    nz, ny, nx = shape
    z, y, x = at // (ny * nx), at // nx % ny, at % nx
    if z == 0 or z == nz - 1:
        return (int(z > 0) * ny + y) * nx + x
    if y == 0 or y == ny - 1:
        return 2 * ny * nx + (int(y > 0) * nz + z) * nx + x
    return 2 * (ny + nz) * nx + (int(x > 0) * nz + z) * ny + y


@compiled(error_model="numpy")
def _sweep_back(pointers: Array, codes: Array, start: Triple) -> Array:
    """Give path ends a code each, and each voxel that of the one that it points to, from the last to the first.

    A voxel whose path leads to one before it, or through such a one, is left without a code.
    """
    (sz, sy, sx), shape = codes.shape, pointers.shape
    flat, code = pointers.reshape(-1), codes.reshape(-1)
    leap, far = _leaps(codes.shape), _leaps(shape)
    left = np.zeros(2 * (shape[1] * shape[2] + shape[0] * (shape[1] + shape[2])), np.uint32)
    ends = np.empty(1024, np.int64)
    count = 0
    for z in range(sz - 1, -1, -1):
        for y in range(sy - 1, -1, -1):
            rim = z == 0 or z == sz - 1 or y == 0 or y == sy - 1
            first = ((z + start[0]) * shape[1] + y + start[1]) * shape[2] + start[2]
            row = (z * sy + y) * sx
            for x in range(sx - 1, -1, -1):
                here = flat[first + x]
                end = np.int64(-1)
                if here == _NOWHERE:
                    code[row + x] = 0
                    continue
                if here == _PEAK:
                    end = first + x
                elif rim or x == 0 or x == sx - 1:
                    to = first + x + far[here]
                    if flat[to] & _HALO != 0:
                        place = _face_place(to, shape)
                        if left[place] != 0:
                            code[row + x] = left[place]
                            continue
                        end = to
                        left[place] = count + 1
                if end < 0:
                    code[row + x] = code[row + x + leap[here]] if leap[here] > 0 else np.uint32(0)
                    continue
                if count == ends.size:
                    longer = np.empty(2 * count, np.int64)
                    for k in range(count):
                        longer[k] = ends[k]
                    ends = longer
                ends[count] = end
                count += 1
                code[row + x] = count
    return ends[:count]


@compiled(error_model="numpy")
def _number(pointers: Array, codes: Array, start: Triple, ends: Array) -> Array:
    """Follow the paths that are left, and count codes anew in the order of the first voxel of each; return the ends."""
    (sz, sy, sx), shape = codes.shape, pointers.shape
    flat, code = pointers.reshape(-1), codes.reshape(-1)
    leap, far = _leaps(codes.shape), _leaps(shape)
    number = np.zeros(ends.size + 1, np.uint32)
    before = np.empty(ends.size + 1, np.uint32)  # the code that a number was given to
    inorder = np.empty(ends.size, np.int64)
    count = 0
    for z in range(sz):
        for y in range(sy):
            first = ((z + start[0]) * shape[1] + y + start[1]) * shape[2] + start[2]
            row = (z * sy + y) * sx
            for x in range(sx):
                here = flat[first + x]
                if here == _NOWHERE:
                    continue
                own = code[row + x]
                if own == 0:
                    if leap[here] < 0:
                        code[row + x] = code[row + x + leap[here]]
                        continue
                    at, place = row + x, first + x
                    while code[at] == 0:
                        step = flat[place]
                        at, place = at + leap[step], place + far[step]
                    own = before[code[at]] if at < row + x else code[at]
                    at, place = row + x, first + x
                    while code[at] == 0:
                        code[at] = own
                        step = flat[place]
                        at, place = at + leap[step], place + far[step]
                if number[own] == 0:
                    count += 1
                    number[own] = count
                    before[count] = own
                    inorder[count - 1] = ends[own - 1]
                code[row + x] = number[own]
    return inorder


@compiled(error_model="numpy")
def _look_up(codes: Array, names: Array, out: Array, start: Triple, stop: Triple) -> None:
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                code = codes[z, y, x]
                out[z, y, x] = names[code - 1] if code > 0 else np.uint32(0)


@compiled(error_model="numpy")
def _tops(codes: Array, depth: Array, highest: Array) -> None:
    for i in range(codes.size):
        if depth[i] > highest[codes[i]]:
            highest[codes[i]] = depth[i]
