"""Sums from which the shift of each particle between two aligned scans follows, to a small part of a voxel.

All numbers are whole, so the sums of blocks add up to the same whichever way a volume was cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crackdask.arrays import Floats

#: Sums of a particle: six of the matrix, three of the right side, three of gradients, the difference, the voxels.
SUMS = 6 + 3 + 3 + 1 + 1
#: A shift beyond this many voxels is not believed: grey levels are no longer straight over so far.
FURTHEST = 1.5
#: Voxels that a shift is made from at least.
_FEWEST = 30


@njit(cache=True, nogil=True)
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
                    last, row = own, np.searchsorted(ids, own)
                gz, gy, gx = r1 - r0, r3 - r2, r5 - r4
                hz, hy, hx = s1 - s0, s3 - s2, s5 - s4
                mz, my, mx, d = gz + hz, gy + hy, gx + hx, r - s
                into = sums[row]
                # Noise of the two scans is independent, so products of the two gradients do not count it.
                into[0] += 2 * gz * hz
                into[1] += 2 * gy * hy
                into[2] += 2 * gx * hx
                into[3] += gz * hy + gy * hz
                into[4] += gz * hx + gx * hz
                into[5] += gy * hx + gx * hy
                into[6] += mz * d
                into[7] += my * d
                into[8] += mx * d
                into[9] += mz
                into[10] += my
                into[11] += mx
                into[12] += d
                into[13] += 1


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
    ids = np.unique(label).astype(np.int64)
    ids = ids[ids > 0]
    sums = np.zeros((ids.size, SUMS), np.int64)
    _add(label, before, after, ids, sums)
    return ids, sums


def shifts(sums: NDArray[np.int64]) -> Floats:
    """Return by how much particles lie further in the second scan, (particle, axis) voxels; NaN where it is not told.

    One Gauss-Newton step with the mean of both gradients, which is right to third order in the shift, with a change of
    the particle's mean grey level left free.

    Parameters
    ----------
    sums
        Of `add_up`, (particle, sum).
    """
    found = np.full((len(sums), 3), np.nan)
    total = sums.astype(np.float64)
    matrix = np.empty((len(sums), 4, 4))
    for place, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        matrix[:, a, b] = matrix[:, b, a] = total[:, place] / 8
    for axis in range(3):
        matrix[:, axis, 3] = matrix[:, 3, axis] = total[:, 9 + axis] / 4
    matrix[:, 3, 3] = total[:, 13]
    right = np.concatenate([total[:, 6:9] / 4, total[:, 12:13]], axis=1)
    enough = total[:, 13] >= _FEWEST
    enough[enough] = np.linalg.cond(matrix[enough]) < 1e9
    if enough.any():
        found[enough] = np.linalg.solve(matrix[enough], right[enough][..., None])[:, :3, 0]
    found[(np.abs(found) > FURTHEST).any(axis=1)] = np.nan
    return found
