"""Seeds of one block: where they are, which basins they overlap, and how they cut a basin between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from crackdask.arrays import Array
from crackdask.grid import Triple
from crackdask.kernels.compiling import compiled, read_only
from crackdask.kernels.hash_table import grown, slot
from crackdask.kernels.sorted_search import place_of

_BATCH = 4096  # voxels


def keep_deep_parts(labels: Array, depth: Array, thresholds: Array) -> None:
    """Leave labels (uint32) where the depth exceeds the label's threshold, and write 0 elsewhere.

    >>> labels = np.array([[[0, 1, 1, 2]]], np.uint32)
    >>> depth = np.array([[[9, 4, 5, 9]]], np.uint16)
    >>> keep_deep_parts(labels, depth, np.array([0, 4, 9], np.uint32))
    >>> labels.tolist()
    [[[0, 0, 1, 0]]]
    """
    _keep_deep_parts(labels.reshape(-1), np.ascontiguousarray(depth).reshape(-1), thresholds)


def of_labels(seeds: Array, labels: Array, count: int) -> Array:
    """Return where seeds of some labels, which are below `count`, are, as indices into the flat array (int64).

    >>> of_labels(np.array([[[3, 0, 1, 3]]], np.uint32), np.array([3, 2]), 4).tolist()
    [0, 3]
    """
    wanted = np.zeros(count, bool)
    wanted[labels] = True
    return np.asarray(_of_labels(seeds.reshape(-1), wanted))


def overlaps(basins: Array, seeds: Array) -> tuple[Array, Array]:
    """Return ``basin << 32 | seed`` (uint64, ascending) and how many voxels they share (int64).

    >>> pair = overlaps(np.array([[[1, 1, 2, 0]]], np.uint32), np.array([[[5, 5, 0, 5]]], np.uint32))
    >>> [column.tolist() for column in pair]
    [[4294967301], [2]]
    """
    pairs, voxels = _overlaps(basins.reshape(-1), seeds.reshape(-1))
    used = np.flatnonzero(pairs)
    order = used[np.argsort(pairs[used])]
    return pairs[order], voxels[order]


def rims(codes: Array, basins: Array, seeds: Array, cutting: Array) -> tuple[Array, Array]:
    """Return the seed voxels that can be the nearest to a voxel that is not of the same seed.

    Those have a 6-neighbour that is not of the same seed in the same basin: from any other voxel of a seed, one step
    towards the voxel that asks stays in the seed and is nearer. What is beyond the block counts for such a neighbour:
    a voxel too many takes time and changes nothing.

    Parameters
    ----------
    codes, seeds
        uint32, of the block.
    basins
        uint32, the basin of each code 1.., the same for some.
    cutting
        uint64, ``basin << 32 | seed`` of the seeds that cut a basin, ascending.

    Returns
    -------
    places
        int64, rows of `cutting`.
    voxels
        int64, indices into the flat block, ascending.
    """
    cut = np.isin(basins, (cutting >> np.uint64(32)).astype(np.uint32))
    basin_of = np.concatenate([[0], np.where(cut, basins, 0)]).astype(np.uint32)  # what is not cut, is no basin here
    voxels = _rims(codes, basin_of, seeds, cutting)
    return voxels[:, 0].copy(), voxels[:, 1].copy()


def split(
    codes: Array,
    part: tuple[slice, slice, slice],
    origin: Triple,
    basins: Array,
    nodes: Array,
    cut: Array,
    offsets: Array,
    rim: Array,
    weights: Triple,
    names: Array,
) -> None:
    """Write the names of nodes over the codes of a block: each voxel of a cut basin is of the nearest seed voxel in it.

    Ties go to the lower seed. Distances are integers, so no block can round them otherwise.

    Parameters
    ----------
    codes
        uint32, a window; is written to.
    part
        The voxels of it that the block wrote.
    origin
        Place of the window's first voxel in the volume.
    basins
        uint32, the basin of each of the block's codes 1...
    nodes
        int64, first node of each basin, basin 0 first, which is node 0.
    cut
        uint32, the basins that are cut, ascending.
    offsets
        int64, where the seed voxels of each cut basin start in `rim`, and one more.
    rim
        int32, rows of z, y, x and the seed's place among its basin's seeds; raster order within a basin.
    weights
        Squared edge lengths along (z, y, x).
    names
        uint32, of the nodes 1...
    """
    basins = np.asarray(basins).astype(np.int64)
    first = np.asarray(nodes[basins])
    is_cut = nodes[basins + 1] - first > 1
    places = np.where(is_cut, np.searchsorted(cut, basins), -1)
    z, y, x = part
    bounds = (z.start, y.start, x.start), (z.stop, y.stop, x.stop)
    tables = (names[first - 1], first, places, offsets, rim, names)
    _split(codes, *bounds, origin, *(read_only(table) for table in tables), weights)


@compiled(error_model="numpy")
def _keep_deep_parts(labels: Array, depth: Array, thresholds: Array) -> None:
    for i in range(labels.size):
        label = labels[i]
        labels[i] = label if np.uint32(depth[i]) > thresholds[label] else np.uint32(0)  # label 0 is no other way


@compiled(error_model="numpy")
def _of_labels(seeds: Array, wanted: Array) -> Array:
    count = 0
    for i in range(seeds.size):
        count += wanted[seeds[i]]
    found = np.empty(count, np.int64)
    filled = 0
    for i in range(seeds.size):
        if filled == count:
            break
        if wanted[seeds[i]]:
            found[filled] = i
            filled += 1
    return found


@compiled(error_model="numpy")
def _count(basins: Array, seeds: Array, keys: Array, values: Array) -> int:
    """Count shared voxels of some rows; return how many pairs are new."""
    last = np.int64(0)
    fresh = 0
    for i in range(basins.size):
        if basins[i] == 0 or seeds[i] == 0:
            continue
        key = np.uint64((np.uint64(basins[i]) << np.uint64(32)) | np.uint64(seeds[i]))
        if keys[last] != key:
            last = slot(keys, key)
            fresh += keys[last] == 0
            keys[last] = key
        values[last] += 1
    return fresh


@compiled(error_model="numpy")
def _overlaps(basins: Array, seeds: Array) -> tuple[Array, Array]:
    keys = np.zeros(1024, np.uint64)
    values = np.zeros(1024, np.int64)
    count = 0
    for i in range(0, basins.size, _BATCH):
        while 2 * (count + _BATCH) > keys.size:  # a batch cannot fill the table
            keys, values = grown(keys, values)
        count += _count(basins[i : i + _BATCH], seeds[i : i + _BATCH], keys, values)
    return keys, values


@compiled(error_model="numpy")
def _is_rim(codes: Array, basin_of: Array, seeds: Array, z: int, y: int, x: int) -> bool:
    basin, seed = basin_of[codes[z, y, x]], seeds[z, y, x]
    for axis in range(3):
        for side in (-1, 1):
            to_z = z + side * (axis == 0)
            to_y = y + side * (axis == 1)
            to_x = x + side * (axis == 2)
            if not (0 <= to_z < codes.shape[0] and 0 <= to_y < codes.shape[1] and 0 <= to_x < codes.shape[2]):
                return True
            if basin_of[codes[to_z, to_y, to_x]] != basin or seeds[to_z, to_y, to_x] != seed:
                return True
    return False


@compiled(error_model="numpy")
def _rims(codes: Array, basin_of: Array, seeds: Array, cutting: Array) -> Array:
    voxels = np.empty((1024, 2), np.int64)
    count = 0
    last_key = np.uint64(0)
    place = np.int64(0)
    known: Any = False
    for z in range(codes.shape[0]):
        for y in range(codes.shape[1]):
            for x in range(codes.shape[2]):
                seed = seeds[z, y, x]
                if seed == 0 or basin_of[codes[z, y, x]] == 0:
                    continue
                key = np.uint64((np.uint64(basin_of[codes[z, y, x]]) << np.uint64(32)) | np.uint64(seed))
                if key != last_key:
                    last_key = key
                    place = place_of(cutting, key)
                    known = place < cutting.size and cutting[place] == key
                if known and _is_rim(codes, basin_of, seeds, z, y, x):
                    if count == voxels.shape[0]:
                        longer = np.empty((2 * count, 2), np.int64)
                        for k in range(count):
                            longer[k, 0], longer[k, 1] = voxels[k, 0], voxels[k, 1]
                        voxels = longer
                    voxels[count, 0] = place
                    voxels[count, 1] = (z * codes.shape[1] + y) * codes.shape[2] + x
                    count += 1
    return voxels[:count]


@compiled(error_model="numpy")
def _nearest(rim: Array, first: int, stop: int, at: Triple, weights: Triple, guess: int) -> int:
    """Return the row of the nearest seed voxel, of equally near ones that of the lowest seed.

    Rows are in raster order: from the first row of the voxel's plane the search goes both ways, until the planes alone
    are farther than the best.
    """
    low, high = first, stop
    while low < high:
        middle = (low + high) // 2
        if rim[middle, 0] < at[0]:
            low = middle + 1
        else:
            high = middle
    best = guess
    least = (
        weights[0] * (np.int64(rim[guess, 0]) - at[0]) ** 2
        + weights[1] * (np.int64(rim[guess, 1]) - at[1]) ** 2
        + weights[2] * (np.int64(rim[guess, 2]) - at[2]) ** 2
    )
    for step in (1, -1):
        i = low if step == 1 else low - 1
        while first <= i < stop:
            square = weights[0] * (np.int64(rim[i, 0]) - at[0]) ** 2
            if square > least:
                break
            square += weights[1] * (np.int64(rim[i, 1]) - at[1]) ** 2
            square += weights[2] * (np.int64(rim[i, 2]) - at[2]) ** 2
            if square < least or (square == least and rim[i, 3] < rim[best, 3]):
                best = i
                least = square
            i += step
    return best


@compiled(error_model="numpy")
def _split(
    codes: Array,
    start: Triple,
    stop: Triple,
    origin: Triple,
    whole: Array,
    first: Array,
    places: Array,
    offsets: Array,
    rim: Array,
    names: Array,
    weights: Triple,
) -> None:
    """Write names: of codes that are not cut `whole`, of the others that of the node."""
    last = np.int64(-1)
    guess = 0
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            row = codes[z, y]
            for x in range(start[2], stop[2]):
                if row[x] == 0:
                    continue
                code = np.int64(row[x]) - 1
                place = places[code]
                if place < 0:
                    row[x] = whole[code]
                    continue
                if place != last:
                    last = place
                    guess = offsets[place]
                at = (z + origin[0], y + origin[1], x + origin[2])
                guess = _nearest(rim, offsets[place], offsets[place + 1], at, weights, guess)
                row[x] = names[first[code] + rim[guess, 3] - 1]
