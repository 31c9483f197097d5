"""Sums from which the shift of each particle between two aligned scans follows, to a small part of a voxel.

All numbers are whole, so the sums of blocks add up to the same whichever way a volume was cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.kernels.compiling import compiled
from crackdask.kernels.interpolation import cubic_weights
from crackdask.kernels.renumbering import distinct
from crackdask.kernels.sorted_search import place_of

#: Sums of a particle: six of the matrix, three of the right side, three of gradients, the difference, the voxels.
SUMS = 6 + 3 + 3 + 1 + 1
#: A shift beyond this many voxels is not believed: grey levels are no longer straight over so far.
FURTHEST = 1.5
#: Voxels that a shift is made from at least.
_FEWEST = 30
#: A start of a particle that has none.
NO_START = -128


@compiled
def _sum(into, products, gradients, difference) -> None:  # type: ignore[no-untyped-def]
    """Add one voxel to the sums of its particle."""
    for n in range(6):
        into[n] += products[n]
    for n in range(3):
        into[6 + n] += gradients[n] * difference
        into[9 + n] += gradients[n]
    into[12] += difference
    into[13] += 1


@compiled
def _add(label, before, after, ids, sums) -> None:  # type: ignore[no-untyped-def]
    """Add each labelled voxel to the sums of its particle; the grey levels have one more voxel on every side."""
    nz, ny, nx = label.shape
    last, row = np.int64(0), np.int64(0)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                own = np.int64(label[k, j, i])
                if own == 0:
                    continue
                z, y, x = k + 1, j + 1, i + 1
                r0, r1 = np.int64(before[z - 1, y, x]), np.int64(before[z + 1, y, x])
                r2, r3 = np.int64(before[z, y - 1, x]), np.int64(before[z, y + 1, x])
                r4, r5 = np.int64(before[z, y, x - 1]), np.int64(before[z, y, x + 1])
                s0, s1 = np.int64(after[z - 1, y, x]), np.int64(after[z + 1, y, x])
                s2, s3 = np.int64(after[z, y - 1, x]), np.int64(after[z, y + 1, x])
                s4, s5 = np.int64(after[z, y, x - 1]), np.int64(after[z, y, x + 1])
                r, s = np.int64(before[z, y, x]), np.int64(after[z, y, x])
                least = min(min(min(r0, r1), min(r2, r3)), min(min(r4, r5), r))
                least = min(least, min(min(min(s0, s1), min(s2, s3)), min(min(s4, s5), s)))
                if least == 0:  # outside one of the scans
                    continue
                if own != last:
                    last, row = own, place_of(ids, own)
                gz, gy, gx = r1 - r0, r3 - r2, r5 - r4
                hz, hy, hx = s1 - s0, s3 - s2, s5 - s4
                # Noise of the two scans is independent, so products of the two gradients do not count it.
                products = (
                    2 * gz * hz, 2 * gy * hy, 2 * gx * hx, gz * hy + gy * hz, gz * hx + gx * hz, gy * hx + gx * hy,
                )  # fmt: skip
                _sum(sums[row], products, (gz + hz, gy + hy, gx + hx), r - s)


def add_up(
    label: NDArray[np.uint32], before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of a block, sorted, and their sums, (label, sum).

    Parameters
    ----------
    label
        Of the block.
    before, after
        Grey levels of the block and one more voxel on every side; 0 is outside the scan.
    """
    ids = distinct(label).astype(np.int64)
    sums = np.zeros((ids.size, SUMS), np.int64)
    _add(label, before, after, ids, sums)
    return ids, sums


#: Parts of a voxel in which shifts are tried, and the largest that is, in voxels along an axis.
PARTS, FARTHEST_TRIED = 8, 4
#: Voxels around a block in which a particle is looked for, so shifted.
REACH = FARTHEST_TRIED + 2
#: Keys's four weights (a = -0.5) for each part of a voxel, times `_ONE`, which makes them whole.
_ONE = 1024
_WEIGHTS = np.rint([[_ONE * w for w in cubic_weights.py_func(part / PARTS)] for part in range(PARTS)]).astype(np.int64)
#: Bits of a difference that are dropped, and those after the point that are left.
_DROPPED, _LEFT = 22, 8


@compiled
def _tap(after, z: int, y: int, x: int, wz, wy, wx):  # type: ignore[no-untyped-def]
    """Return the least of 64 grey levels, and their sum by weight."""
    least, total = np.int64(255), np.int64(0)
    for a in range(4):
        plane = np.int64(0)
        for b in range(4):
            line = np.int64(0)
            for c in range(4):
                grey = np.int64(after[z + a, y + b, x + c])
                least = min(least, grey)
                line += wx[c] * grey
            plane += wy[b] * line
        total += wz[a] * plane
    return least, total


#: Bits after the point of a stretch.
STRETCH_BITS = 16


@compiled
def _stretched(stretch, axis: int, z: int, y: int, x: int) -> int:  # type: ignore[no-untyped-def]
    """Return by how much further a voxel of a stretched particle lies, in parts, than the particle as a whole."""
    at = 3 + 3 * axis
    far = stretch[at] * (PARTS * z - stretch[0]) + stretch[at + 1] * (PARTS * y - stretch[1])
    far += stretch[at + 2] * (PARTS * x - stretch[2])
    return (far + (1 << (STRETCH_BITS - 1))) >> STRETCH_BITS


@compiled
def _add_shifted(  # type: ignore[no-untyped-def]
    label, before, after, ids, starts, stretch, origin, weights, sums
) -> None:
    """Add each labelled voxel of the particles `ids`; `before` has REACH, `after` 1 more voxel on every side."""
    nz, ny, nx = label.shape
    oz, oy, ox = np.int64(origin[0]), np.int64(origin[1]), np.int64(origin[2])
    is_stretched = stretch.shape[0] > 0
    last, row = np.int64(0), np.int64(0)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                own = np.int64(label[k, j, i])
                if own == 0:
                    continue
                if own != last:
                    last, row = own, place_of(ids, own)
                if row == ids.size or ids[row] != own:
                    continue
                z, y, x = k + 1, j + 1, i + 1
                s = np.int64(after[z, y, x])
                s0, s1 = np.int64(after[z - 1, y, x]), np.int64(after[z + 1, y, x])
                s2, s3 = np.int64(after[z, y - 1, x]), np.int64(after[z, y + 1, x])
                s4, s5 = np.int64(after[z, y, x - 1]), np.int64(after[z, y, x + 1])
                if min(min(min(s0, s1), min(s2, s3)), min(min(s4, s5), s)) == 0:  # outside the scan
                    continue
                back_z, back_y, back_x = -np.int64(starts[row, 0]), -np.int64(starts[row, 1]), -np.int64(starts[row, 2])
                if is_stretched:
                    back_z -= _stretched(stretch[row], 0, oz + k, oy + j, ox + i)
                    back_y -= _stretched(stretch[row], 1, oz + k, oy + j, ox + i)
                    back_x -= _stretched(stretch[row], 2, oz + k, oy + j, ox + i)
                    if min(min(back_z, back_y), back_x) < -PARTS * (REACH - 1):
                        continue
                    if max(max(back_z, back_y), back_x) >= PARTS * (REACH - 1):
                        continue
                least, value = _tap(
                    before, k + REACH - 1 + (back_z >> 3), j + REACH - 1 + (back_y >> 3), i + REACH - 1 + (back_x >> 3),
                    weights[back_z & 7], weights[back_y & 7], weights[back_x & 7],
                )  # fmt: skip
                if least == 0:
                    continue
                hz, hy, hx = s1 - s0, s3 - s2, s5 - s4
                d = ((value + (1 << (_DROPPED - 1))) >> _DROPPED) - (s << _LEFT)
                products = (hz * hz, hy * hy, hx * hx, hz * hy, hz * hx, hy * hx)
                _sum(sums[row], products, (hz, hy, hx), d)


def add_up_shifted(
    label: NDArray[np.uint32],
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    starts: NDArray[np.int8],
    stretch: NDArray[np.int64] | None = None,
    origin: Sequence[int] = (0, 0, 0),
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of a block that have a start, sorted, and their sums from there, (label, sum).

    Labels are those of the second scan, and so are gradients: what is compared lies evenly around the particle's
    edge, however far it moved.

    Parameters
    ----------
    label, after
        Of the second scan; grey levels of one more voxel on every side.
    before
        Of the first scan; `REACH` more voxels on every side.
    starts
        (particle, axis): by how much each is taken to lie further in the second scan, in parts of a voxel (`PARTS`), at
        most `FARTHEST_TRIED` voxels; those of label 1 first. `NO_START` leaves a particle out.
    stretch
        (particle, 12), where resampling stretched the second scan and the particles did not follow: a place that lies
        further by the start alone, (axis) in parts of a voxel, and by how much further voxels beside it lie, (axis,
        axis) in 1 / 2^`STRETCH_BITS`. None, or of no particle, where nothing is stretched.
    origin
        First voxel of the block in the volume that these places are told in.
    """
    ids = distinct(label).astype(np.int64)
    ids = ids[starts[ids - 1, 0] != NO_START]
    sums = np.zeros((ids.size, SUMS), np.int64)
    own = np.zeros((0, 12), np.int64) if stretch is None or not len(stretch) else np.ascontiguousarray(stretch[ids - 1])
    first = np.array(origin, np.int64)
    _add_shifted(label, before, after, ids, np.ascontiguousarray(starts[ids - 1]), own, first, _WEIGHTS, sums)
    return ids, sums


def shifts_beyond(sums: NDArray[np.int64]) -> Floats:
    """Return by how much particles lie further than their starts, (particle, axis) voxels; NaN where it is not told.

    Gauss-Newton with the second scan's gradient, which the starts leave as it is.

    Parameters
    ----------
    sums
        Of `add_up_shifted`, (particle, sum).
    """
    total = sums.astype(np.float64)
    return _solved(
        total[:, :6] / 4, total[:, 6:9] / 2 ** (_LEFT + 1), total[:, 9:12] / 2, total[:, 12] / 2**_LEFT, total[:, 13]
    )


def steps(sums: NDArray[np.int64]) -> Floats:
    """Return by how much particles lie further in the second scan, (particle, axis) voxels; NaN where it is not told.

    One Gauss-Newton step with the mean of both gradients, which is right to third order in the shift, with a change of
    the particle's mean grey level left free.

    Parameters
    ----------
    sums
        Of `add_up`, (particle, sum).
    """
    total = sums.astype(np.float64)
    return _solved(total[:, :6] / 8, total[:, 6:9] / 4, total[:, 9:12] / 4, total[:, 12], total[:, 13])


def shifts(sums: NDArray[np.int64]) -> Floats:
    """Return `steps`, NaN where they are too long to be believed."""
    found = steps(sums)
    found[(np.abs(found) > FURTHEST).any(axis=1)] = np.nan
    return found


def _solved(products: Floats, right: Floats, gradients: Floats, difference: Floats, voxels: Floats) -> Floats:
    """Solve for the shift of each particle and a change of its mean grey level."""
    found = np.full((len(products), 3), np.nan)
    matrix = np.empty((len(products), 4, 4))
    for place, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        matrix[:, a, b] = matrix[:, b, a] = products[:, place]
    for axis in range(3):
        matrix[:, axis, 3] = matrix[:, 3, axis] = gradients[:, axis]
    matrix[:, 3, 3] = voxels
    both = np.concatenate([right, difference[:, None]], axis=1)
    enough = voxels >= _FEWEST
    enough[enough] = np.linalg.cond(matrix[enough]) < 1e9
    if enough.any():
        found[enough] = np.linalg.solve(matrix[enough], both[enough][..., None])[:, :3, 0]
    return found
