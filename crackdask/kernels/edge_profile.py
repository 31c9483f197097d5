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
def _mark(here: Array, beside: Array, at_surface: Array) -> None:
    """Mark the voxels of particles beside which there is background."""
    for x in range(here.size):
        at_surface[x] |= (here[x] != 0) & (beside[x] == 0)


@compiled
def _lines(label: Array, grey: Array, own: Array, start: Array, outside: int, sums: Array) -> None:
    nz, ny, nx = label.shape
    at_surface = np.empty(nx, np.bool_)
    for z in range(own[0, 0], own[0, 1]):
        for y in range(own[1, 0], own[1, 1]):
            here = label[z, y]
            at_surface[:] = False
            _mark(here[1:], here[: nx - 1], at_surface[1:])
            _mark(here[: nx - 1], here[1:], at_surface[: nx - 1])
            for way in (-1, 1):
                if 0 <= y + way < ny:
                    _mark(here, label[z, y + way], at_surface)
                if 0 <= z + way < nz:
                    _mark(here, label[z + way, y], at_surface)
            for x in range(own[2, 0], own[2, 1]):
                if not at_surface[x]:
                    continue
                for axis in range(3):
                    for side in (-1, 1):
                        if _is_flat(label, z, y, x, axis, side) and _is_clear(
                            label, grey, z, y, x, axis, side, outside
                        ):
                            cube = (start[0] + z) // _CUBE + (start[1] + y) // _CUBE + (start[2] + x) // _CUBE
                            _add(grey, z, y, x, axis, side, sums[cube % GROUPS])


@compiled
def _is_flat(label: Array, z: int, y: int, x: int, axis: int, side: int) -> bool:
    """Tell whether a face and the four beside it are of one particle against background."""
    dz, dy, dx = side * (axis == 0), side * (axis == 1), side * (axis == 2)
    nz, ny, nx = label.shape
    if not (0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx) or label[z + dz, y + dy, x + dx] != 0:
        return False
    particle = label[z, y, x]
    for across in range(3):
        if across == axis:
            continue
        for way in (-1, 1):
            a, b, c = z + way * (across == 0), y + way * (across == 1), x + way * (across == 2)
            if not (0 <= a < nz and 0 <= b < ny and 0 <= c < nx) or label[a, b, c] != particle:
                return False
            if label[a + dz, b + dy, c + dx] != 0:
                return False
    return True


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
