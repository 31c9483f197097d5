"""Connected components of one block, and their union over all blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cc3d
import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Grid
from crackdask.kernels.compiling import compiled
from crackdask.kernels.union_find import root
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import ndimage
else:  # which every command would wait for
    ndimage = Later("scipy.ndimage")

FULL, FACES = 26, 6
LARGE = 0  # the component is kept whatever it is joined to
ABSENT = -1  # the voxel does not belong to the phase that is labelled
SIDES = ("z0", "z1", "y0", "y1", "x0", "x1")


def small_components(
    phase: Array, keep: Array | None, limit: int, connectivity: int, inner: tuple[bool, ...]
) -> tuple[Array, Array, Array]:
    """Label one block's components and tell which of them the block alone cannot judge.

    Parameters
    ----------
    phase
        The voxels to label, bool (z, y, x).
    keep
        Voxels whose components are always kept (bool), or None.
    limit
        Components of at most this many voxels are small.
    connectivity
        26 or 6.
    inner
        For each of the six sides (z0, z1, y0, y1, x0, x1), whether another block lies behind it.

    Returns
    -------
    labels
        Component of each voxel, from 1; 0 outside the phase.
    verdict
        For each component: -1 small and complete in this block, 0 large or kept, k > 0 the k-th that
        goes on in a neighbour.
    sizes
        Voxels of the components that go on, in the order of k.
    """
    labels, count = _labelled(phase, connectivity)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = sizes > limit
    if keep is not None:
        large[np.unique(labels[keep])] = True
    open_ended = np.zeros(count + 1, bool)
    for face, has_neighbour in zip(_faces(labels), inner, strict=True):
        if has_neighbour:
            open_ended[np.unique(face)] = True
    verdict = np.where(large, LARGE, -1)
    waiting = np.flatnonzero(open_ended & ~large)
    waiting = waiting[waiting > 0]
    verdict[waiting] = np.arange(1, len(waiting) + 1)
    verdict[0] = 0
    return labels, verdict, sizes[waiting]


def _labelled(phase: Array, connectivity: int) -> tuple[Array, int]:
    """Return the components and how many there are; their names follow from the phase alone."""
    try:
        labels, count = cc3d.connected_components(phase, connectivity=connectivity, return_N=True)
    except RuntimeError:  # version 4.1 has no room for about as many components as there can be
        structure = ndimage.generate_binary_structure(3, 3 if connectivity == FULL else 1)
        labels, count = ndimage.label(phase, structure)
    return labels, int(count)


def face_codes(labels: Array, verdict: Array, inner: tuple[bool, ...]) -> dict[str, Array]:
    """Return the codes on the sides that have a neighbour: k, LARGE or ABSENT."""
    code = verdict.astype(np.int32)
    code[0] = ABSENT
    return {
        side: code[face]
        for side, face, has_neighbour in zip(SIDES, _faces(labels), inner, strict=True)
        if has_neighbour
    }


def _faces(labels: Array) -> tuple[Array, ...]:
    return (labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1])


def inner_sides(grid: Grid, number: int) -> tuple[bool, ...]:
    """Tell for each side of a block, in the order of SIDES, whether another block lies behind it."""
    return tuple(
        flag
        for place, count in zip(grid.position(number), grid.counts, strict=True)
        for flag in (place > 0, place < count - 1)
    )


@compiled
def join_planes(parent: Array, low: Array, high: Array, diagonal: bool) -> None:
    """Unite the components that touch across one plane between blocks.

    `low` and `high` hold node numbers (0 = LARGE, negative = absent) on the two sides of
    the whole plane. With `diagonal`, the 9 neighbours count, else the 1 straight across.
    """
    rows, columns = low.shape
    reach = 1 if diagonal else 0
    for i in range(rows):
        for j in range(columns):
            here = low[i, j]
            if here < 0:
                continue
            for k in range(max(i - reach, 0), min(i + reach + 1, rows)):
                for m in range(max(j - reach, 0), min(j + reach + 1, columns)):
                    there = high[k, m]
                    if there < 0 or there == here:
                        continue
                    a, b = root(parent, here), root(parent, there)
                    if a < b:
                        parent[b] = a
                    elif b < a:
                        parent[a] = b
