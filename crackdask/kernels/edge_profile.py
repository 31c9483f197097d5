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
    _, ny, nx = label.shape
    room = np.empty(ny * nx, np.uint8), np.empty(ny * nx, np.uint8), np.zeros((4, 4, (ny + 2) * nx + 2), np.uint8)
    at = np.array(start, np.int64)
    _lines(np.ascontiguousarray(label), np.ascontiguousarray(grey), box, at, outside, *room, sums)
    return sums


@compiled
def _compare(label: Array, z: int, void: Array, along_z: Array, along_y: Array, along_x: Array) -> None:
    """Tell of each voxel of a plane if it is background, and if the next one along each axis has the same label."""
    ny, nx = label.shape[1:]
    for y in range(ny):
        here, row = label[z, y], slice(y * nx, (y + 1) * nx)
        told = void[row]
        for x in range(nx):
            told[x] = here[x] == 0
        told = along_x[row]
        for x in range(nx - 1):
            told[x] = here[x] == here[x + 1]
        if y + 1 < ny:
            there, told = label[z, y + 1], along_y[row]
            for x in range(nx):
                told[x] = here[x] == there[x]
        if z + 1 < label.shape[0]:
            there, told = label[z + 1, y], along_z[row]
            for x in range(nx):
                told[x] = here[x] == there[x]


@compiled
def _like_all(void: Array, a: Array, b: Array, c: Array, d: Array, one: Array) -> None:
    """Mark where a voxel of a particle has the label of the four beside it."""
    for i in range(one.size):
        one[i] = (void[i] ^ 1) & a[i] & b[i] & c[i] & d[i]


@compiled
def _mark(one: Array, a: Array, b: Array, c: Array, d: Array, e: Array, face: int, flat: Array) -> None:
    """Mark a face where a cross of one particle is against a cross of background."""
    for i in range(flat.size):
        flat[i] |= np.uint8((one[i] & a[i] & b[i] & c[i] & d[i] & e[i]) << face)


@compiled
def _flat_faces(compared: Array, planes: Triple, nx: int, one: Array, flat: Array) -> None:
    """Tell of each voxel of a plane which of its faces are flat, by bits: the lower ones along z, y, x, then the upper.

    A face is flat if it and the four beside it are of one particle against background. `compared` holds what `_compare`
    tells of planes as flat rows of `nx`, with zeros around, which are no voxel's face; `planes` are the places in it of
    the plane before, this one and the next.
    """
    below, here, above = planes
    void, along_z, along_y, along_x = compared
    p = nx + 1  # where a plane begins
    flat[:] = 0
    left, right = along_x[here, p - 1 :], along_x[here, p:]
    _like_all(void[here, p:], left, right, along_y[here, p - nx :], along_y[here, p:], one)
    for face, plane in ((0, below), (3, above)):
        row = void[plane]
        _mark(one, row[p:], row[p - 1 :], row[p + 1 :], row[p - nx :], row[p + nx :], face, flat)
    _like_all(void[here, p:], left, right, along_z[below, p:], along_z[here, p:], one)
    for face, q in ((1, p - nx), (4, p + nx)):
        row = void[here]
        _mark(one, row[q:], row[q - 1 :], row[q + 1 :], void[below, q:], void[above, q:], face, flat)
    _like_all(void[here, p:], along_z[below, p:], along_z[here, p:], along_y[here, p - nx :], along_y[here, p:], one)
    for face, q in ((2, p - 1), (5, p + 1)):
        row = void[here]
        _mark(one, row[q:], row[q - nx :], row[q + nx :], void[below, q:], void[above, q:], face, flat)
    for i in range(0, flat.size, nx):  # beyond the ends of a row are not its neighbours, but another row
        flat[i] &= np.uint8(~(1 << 2) & 255)
        flat[i + nx - 1] &= np.uint8(~(1 << 5) & 255)


@compiled
def _lines(
    label: Array, grey: Array, own: Array, start: Array, outside: int, flat: Array, one: Array, compared: Array,
    sums: Array,
) -> None:  # fmt: skip
    nz, ny, nx = label.shape
    planes, inner, compare = compared[:, :3], slice(nx + 1, nx + 1 + ny * nx), max(own[0, 0] - 1, 0)
    for z in range(own[0, 0], own[0, 1]):
        for at in range(compare, min(z + 2, nz)):
            void, along_z, along_y, along_x = planes[:, at % 3, inner]
            _compare(label, at, void, along_z, along_y, along_x)
            compare = at + 1
        nowhere = 3
        before, after = (z - 1) % 3 if z > 0 else nowhere, (z + 1) % 3 if z + 1 < nz else nowhere
        _flat_faces(compared, (before, z % 3, after), nx, one, flat)
        for y in range(own[1, 0], own[1, 1]):
            row = flat[y * nx : (y + 1) * nx]
            for x in range(own[2, 0], own[2, 1]):
                if row[x] == 0:
                    continue
                for face in range(6):
                    axis, side = face % 3, face // 3 * 2 - 1
                    if row[x] >> face & 1 and _is_clear(label, grey, z, y, x, axis, side, outside):
                        cube = (start[0] + z) // _CUBE + (start[1] + y) // _CUBE + (start[2] + x) // _CUBE
                        _add(grey, z, y, x, axis, side, sums[cube % GROUPS])


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
