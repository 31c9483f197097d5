"""The highest saddle between every two basins of one block that touch."""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.hash_table import grown, slot


def saddles(nodes: Array, depth: Array, start: Triple, shape: Triple) -> tuple[Array, Array]:
    """Return the highest saddle of every pair of nodes that touch.

    A pair of 26-neighbours counts when the first of the two, in raster order, belongs to the block.

    Parameters
    ----------
    nodes
        uint32, numbers that mean the same in every block, 0 outside the mask; of the block and a halo of 1.
    depth
        uint16, same window.
    start, shape
        The block within the window.

    Returns
    -------
    pairs
        uint64, ``a << 32 | b`` with a < b, ascending.
    heights
        uint16, the largest ``min(depth, depth')`` over the touching voxels of the pair.
    """
    table = np.zeros(4096, np.uint64), np.zeros(4096, np.uint16)
    seam = np.empty(nodes.shape[2], np.uint32)
    pairs, heights = _saddles(np.ascontiguousarray(nodes), np.ascontiguousarray(depth), start, shape, seam, *table)
    used = np.flatnonzero(pairs)
    order = used[np.argsort(pairs[used])]
    return pairs[order], heights[order]


@compiled(error_model="numpy", apart=True)
def _differ(here: Array, there: Array, seam: Array) -> None:
    """Flag the voxels that touch another node."""
    for x in range(seam.size):
        apart = here[x] ^ there[x] if there[x] != 0 else np.uint32(0)
        seam[x] |= apart if here[x] != 0 else np.uint32(0)


@compiled(error_model="numpy")
def _seam(nodes: Array, z: int, y: int, seam: Array) -> None:
    """Flag the voxels of one row whose 13 following neighbours hold another node."""
    nz, ny, nx = nodes.shape
    seam[:] = 0
    here = nodes[z, y]
    _differ(here[: nx - 1], here[1:], seam[: nx - 1])
    for dz, dy in ((0, 1), (1, -1), (1, 0), (1, 1)):
        if z + dz < nz and 0 <= y + dy < ny:
            there = nodes[z + dz, y + dy]
            _differ(here, there, seam)
            _differ(here[: nx - 1], there[1:], seam[: nx - 1])
            _differ(here[1:], there[: nx - 1], seam[1:])


@compiled(error_model="numpy")
def _raise_saddles(
    nodes: Array, depth: Array, z: int, y: int, x: int, keys: Array, values: Array, last: np.int64
) -> tuple[np.int64, int]:
    """Raise the saddles between a voxel and its 13 following neighbours; return the last place and the new keys."""
    nz, ny, nx = nodes.shape
    node = nodes[z, y, x]
    height = depth[z, y, x]
    fresh = 0
    for row in range(5):
        to_z = z + (row + 1) // 3
        to_y = y + (row + 1) % 3 - 1
        if to_z >= nz or to_y < 0 or to_y >= ny:
            continue
        for to_x in range(x + 1 if row == 0 else max(x - 1, 0), min(x + 2, nx)):
            other = nodes[to_z, to_y, to_x]
            if other == 0 or other == node:
                continue
            low = np.uint64(min(node, other))
            key = np.uint64((low << np.uint64(32)) | np.uint64(max(node, other)))
            if keys[last] != key:
                last = slot(keys, key)
                fresh += keys[last] == 0
                keys[last] = key
            values[last] = max(values[last], min(height, depth[to_z, to_y, to_x]))
    return last, fresh


@compiled(error_model="numpy")
def _raise_row(nodes: Array, depth: Array, z: int, y: int, first: int, seam: Array, keys: Array, values: Array) -> int:
    """Raise the saddles of one row where it is flagged; return how many pairs are new."""
    last = np.int64(0)
    count = 0
    for i in range(seam.size):
        if seam[i] != 0:
            last, fresh = _raise_saddles(nodes, depth, z, y, first + i, keys, values, last)
            count += fresh
    return count


@compiled(error_model="numpy")
def _saddles(
    nodes: Array, depth: Array, start: Triple, shape: Triple, seam: Array, keys: Array, values: Array
) -> tuple[Array, Array]:
    count = 0
    own = seam[start[2] : start[2] + shape[2]]
    for z in range(start[0], start[0] + shape[0]):
        for y in range(start[1], start[1] + shape[1]):
            while 2 * (count + 13 * own.size) > keys.size:  # a row cannot fill the table
                keys, values = grown(keys, values)
            _seam(nodes, z, y, seam)
            count += _raise_row(nodes, depth, z, y, start[2], own, keys, values)
    return keys, values
