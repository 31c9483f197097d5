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
def _lines(before, z: int, y: int, x: int, wz, wy, total, least) -> None:  # type: ignore[no-untyped-def]
    """Add up 16 lines along x by weight, and keep the least grey level of each place."""
    total[:] = 0
    least[:] = 255
    for a in range(4):
        for b in range(4):
            weight = np.int32(wz[a] * wy[b])
            line = before[z + a, y + b, x : x + total.size]
            for c in range(total.size):
                total[c] = np.int32(total[c] + np.int32(weight * np.int32(line[c])))
                least[c] = min(least[c], line[c])


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
def _is_beyond(z: int, y: int, x: int) -> bool:
    """Tell whether a place, in parts of a voxel from a voxel, lies where `before` does not reach."""
    return min(min(z, y), x) < -PARTS * (REACH - 1) or max(max(z, y), x) >= PARTS * (REACH - 1)


@compiled
def _add_shifted(  # type: ignore[no-untyped-def]
    label, before, after, ids, starts, stretch, origin, weights, sums
) -> None:
    """Add each labelled voxel of the particles `ids`; `before` has REACH, `after` 1 more voxel on every side.

    Of the 64 voxels of `before` around a place all but four are those of the next place too: lines are added up once
    for a run of voxels, unless each of them lies further than the one before.
    """
    nz, ny, nx = label.shape
    total, least = np.empty(nx + 3, np.int32), np.empty(nx + 3, np.uint8)
    oz, oy, ox = np.int64(origin[0]), np.int64(origin[1]), np.int64(origin[2])
    is_stretched = stretch.shape[0] > 0
    last, row = np.int64(0), np.int64(0)
    for k in range(nz):
        for j in range(ny):
            end = 0
            while end < nx:
                first, own = end, np.int64(label[k, j, end])
                end += 1
                while end < nx and np.int64(label[k, j, end]) == own:
                    end += 1
                if own == 0:
                    continue
                if own != last:
                    last, row = own, place_of(ids, own)
                if row == ids.size or ids[row] != own:
                    continue
                back_z, back_y, back_x = -np.int64(starts[row, 0]), -np.int64(starts[row, 1]), -np.int64(starts[row, 2])
                if not is_stretched:
                    _lines(
                        before, k + REACH - 1 + (back_z >> 3), j + REACH - 1 + (back_y >> 3),
                        first + REACH - 1 + (back_x >> 3), weights[back_z & 7], weights[back_y & 7],
                        total[: end - first + 3], least[: end - first + 3],
                    )  # fmt: skip
                wx = weights[back_x & 7]
                for i in range(first, end):
                    z, y, x, n = k + 1, j + 1, i + 1, i - first
                    s = np.int64(after[z, y, x])
                    s0, s1 = np.int64(after[z - 1, y, x]), np.int64(after[z + 1, y, x])
                    s2, s3 = np.int64(after[z, y - 1, x]), np.int64(after[z, y + 1, x])
                    s4, s5 = np.int64(after[z, y, x - 1]), np.int64(after[z, y, x + 1])
                    if min(min(min(s0, s1), min(s2, s3)), min(min(s4, s5), s)) == 0:  # outside the scan
                        continue
                    if is_stretched:
                        far_z = back_z - _stretched(stretch[row], 0, oz + k, oy + j, ox + i)
                        far_y = back_y - _stretched(stretch[row], 1, oz + k, oy + j, ox + i)
                        far_x = back_x - _stretched(stretch[row], 2, oz + k, oy + j, ox + i)
                        if _is_beyond(far_z, far_y, far_x):
                            continue
                        n, wx = 0, weights[far_x & 7]
                        _lines(
                            before, k + REACH - 1 + (far_z >> 3), j + REACH - 1 + (far_y >> 3),
                            i + REACH - 1 + (far_x >> 3), weights[far_z & 7], weights[far_y & 7], total[:4], least[:4],
                        )  # fmt: skip
                    if min(min(least[n], least[n + 1]), min(least[n + 2], least[n + 3])) == 0:
                        continue
                    value = np.int64(0)
                    for c in range(4):
                        value += wx[c] * np.int64(total[n + c])
                    hz, hy, hx = s1 - s0, s3 - s2, s5 - s4
                    d = ((value + (1 << (_DROPPED - 1))) >> _DROPPED) - (s << _LEFT)
                    products = (hz * hz, hy * hy, hx * hx, hz * hy, hz * hx, hy * hx)
                    _sum(sums[row], products, (hz, hy, hx), d)


def add_up_shifted(
    label: NDArray[np.uint32],
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    ids: NDArray[np.int64],
    starts: NDArray[np.int8],
    stretch: NDArray[np.int64] | None = None,
    origin: Sequence[int] = (0, 0, 0),
) -> NDArray[np.int64]:
    """Return the sums of some particles of a box from where they are taken to lie, (particle, sum).

    Labels are those of the second scan, and so are gradients: what is compared lies evenly around the particle's
    edge, however far it moved.

    Parameters
    ----------
    label, after
        Of the second scan; grey levels of one more voxel on every side.
    before
        Of the first scan; `REACH` more voxels on every side.
    ids
        Their labels, sorted; others are left out.
    starts
        (particle, axis): by how much each is taken to lie further in the second scan, in parts of a voxel (`PARTS`), at
        most `FARTHEST_TRIED` voxels.
    stretch
        (particle, 12), where resampling stretched the second scan and the particles did not follow: a place that lies
        further by the start alone, (axis) in parts of a voxel, and by how much further voxels beside it lie, (axis,
        axis) in 1 / 2^`STRETCH_BITS`. None, or of no particle, where nothing is stretched.
    origin
        First voxel of the box in the volume that these places are told in.
    """
    sums = np.zeros((ids.size, SUMS), np.int64)
    own = np.zeros((0, 12), np.int64) if stretch is None else np.ascontiguousarray(stretch)
    first = np.array(origin, np.int64)
    _add_shifted(label, before, after, ids, np.ascontiguousarray(starts), own, first, _WEIGHTS, sums)
    return sums


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
