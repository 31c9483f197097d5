"""How fast grey rises at the surfaces of particles: sums of grey levels along lines through flat places, in integers.

A line runs along an axis through a face between a particle and the background, where the surface is flat: the four
faces beside it lie in the same plane. It has `REACH` voxels of one particle on one side and `REACH` of background on
the other. Blocks add up exactly: a face belongs to the block of its voxel of the particle, and a line to one of
`GROUPS` groups by where that voxel lies in the whole volume, so that the scatter between groups tells the error.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled

#: Voxels of a line on each side of the face.
REACH = 3
#: Parts of the volume that are summed apart; cubes of so many voxels go round them.
GROUPS, _CUBE = 16, 16


def edge_profile(label: Array, grey: Array, own: tuple[slice, slice, slice], start: Triple, outside: int) -> Array:
    """Return the lines of a block, and the sums of their grey levels from the outermost voxel of the particle outward.

    Parameters
    ----------
    label, grey
        Labels and grey levels (uint8) of the block and `REACH` voxels around it, less where the image ends.
    own
        Where in them the block's own voxels are.
    start
        The window's first voxel in the whole volume.
    outside
        Grey level of voxels outside the scan; no line goes through one.

    Returns
    -------
    numpy.ndarray
        int64, (`GROUPS`, 1 + 2 `REACH`): the number of lines, then the sum of the grey levels at each place, from
        `REACH` voxels inside to `REACH` voxels outside.

    Examples
    --------
    >>> label = np.zeros((3, 3, 8), np.uint32)
    >>> label[..., :4] = 1
    >>> grey = np.full((3, 3, 8), [90, 90, 90, 70, 30, 10, 10, 10], np.uint8)
    >>> edge_profile(label, grey, (slice(0, 3), slice(0, 3), slice(0, 8)), (0, 0, 0), 0).sum(axis=0).tolist()
    [1, 90, 90, 70, 30, 10, 10]
    """
    sums = np.zeros((GROUPS, 1 + 2 * REACH), np.int64)
    box = np.array([(part.start, part.stop) for part in own], np.int64)
    _lines(np.ascontiguousarray(label), np.ascontiguousarray(grey), box, np.array(start, np.int64), outside, sums)
    return sums


@compiled
def _of_one(a: Array, b: Array, c: Array, d: Array, e: Array, flat: Array) -> None:
    """Mark where five rows are of the same particle."""
    for x in range(flat.size):
        flat[x] = (b[x] == a[x]) & (c[x] == a[x]) & (d[x] == a[x]) & (e[x] == a[x]) & (a[x] != 0)


@compiled
def _of_none(a: Array, b: Array, c: Array, d: Array, e: Array, flat: Array) -> None:
    """Leave marked only where five rows are background."""
    for x in range(flat.size):
        flat[x] &= (a[x] | b[x] | c[x] | d[x] | e[x]) == 0


@compiled
def _flat_faces(label: Array, z: int, y: int, flat: Array) -> None:
    """Tell of each voxel of a row which of its faces are flat, (face, x): the lower ones along z, y, x, then the upper.

    A face is flat if it and the four beside it are of one particle against background.
    """
    nz, ny, nx = label.shape
    flat[:] = False
    inside_z, inside_y = 0 < z < nz - 1, 0 < y < ny - 1
    here = label[z, y]
    for upper in range(2):
        side = 2 * upper - 1
        if inside_y and 0 <= z + side < nz:
            up, down, beside = label[z, y - 1], label[z, y + 1], label[z + side, y]
            marked = flat[3 * upper, 1 : nx - 1]
            _of_one(here[1:], here, here[2:], up[1:], down[1:], marked)
            up, down = label[z + side, y - 1], label[z + side, y + 1]
            _of_none(beside[1:], beside, beside[2:], up[1:], down[1:], marked)
        if inside_z and 0 <= y + side < ny:
            up, down, beside = label[z - 1, y], label[z + 1, y], label[z, y + side]
            marked = flat[3 * upper + 1, 1 : nx - 1]
            _of_one(here[1:], here, here[2:], up[1:], down[1:], marked)
            up, down = label[z - 1, y + side], label[z + 1, y + side]
            _of_none(beside[1:], beside, beside[2:], up[1:], down[1:], marked)
    if inside_z and inside_y:
        a, b, c, d = label[z - 1, y], label[z + 1, y], label[z, y - 1], label[z, y + 1]
        below, above = flat[2, 1:], flat[5, : nx - 1]
        _of_one(here[1:], a[1:], b[1:], c[1:], d[1:], below)
        _of_none(here, a, b, c, d, below)
        _of_one(here, a, b, c, d, above)
        _of_none(here[1:], a[1:], b[1:], c[1:], d[1:], above)


@compiled
def _lines(label: Array, grey: Array, own: Array, start: Array, outside: int, sums: Array) -> None:
    flat = np.empty((6, label.shape[2]), np.bool_)
    some = np.empty(label.shape[2], np.bool_)
    for z in range(own[0, 0], own[0, 1]):
        for y in range(own[1, 0], own[1, 1]):
            _flat_faces(label, z, y, flat)
            for x in range(some.size):
                some[x] = flat[0, x] | flat[1, x] | flat[2, x] | flat[3, x] | flat[4, x] | flat[5, x]
            for x in range(own[2, 0], own[2, 1]):
                if not some[x]:
                    continue
                for axis in range(3):
                    for upper in range(2):
                        if flat[3 * upper + axis, x] and _is_clear(label, grey, z, y, x, axis, 2 * upper - 1, outside):
                            cube = (start[0] + z) // _CUBE + (start[1] + y) // _CUBE + (start[2] + x) // _CUBE
                            _add(grey, z, y, x, axis, 2 * upper - 1, sums[cube % GROUPS])


@compiled
def _is_clear(label: Array, grey: Array, z: int, y: int, x: int, axis: int, side: int, outside: int) -> bool:
    """Tell whether the line through a face stays in one particle, then in background, and inside the scan."""
    dz, dy, dx = side * (axis == 0), side * (axis == 1), side * (axis == 2)
    nz, ny, nx = label.shape
    particle = label[z, y, x]
    for k in range(1 - REACH, REACH + 1):
        a, b, c = z + k * dz, y + k * dy, x + k * dx
        if not (0 <= a < nz and 0 <= b < ny and 0 <= c < nx) or grey[a, b, c] == outside:
            return False
        if label[a, b, c] != (particle if k <= 0 else 0):
            return False
    return True


@compiled
def _add(grey: Array, z: int, y: int, x: int, axis: int, side: int, sums: Array) -> None:
    dz, dy, dx = side * (axis == 0), side * (axis == 1), side * (axis == 2)
    sums[0] += 1
    for k in range(1 - REACH, REACH + 1):
        sums[k + REACH] += np.int64(grey[z + k * dz, y + k * dy, x + k * dx])
