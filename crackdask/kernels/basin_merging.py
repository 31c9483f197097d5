"""Work on the tables of a watershed: joining blocks, merging basins, naming particles.

Everything here is the size of a table, never of a volume. Nodes (basins, or pieces of cut basins) are numbered from 1
in one order that the blocks cannot change, so every tie below is broken in the same way whatever the blocks are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled
from crackdask.kernels.union_find import root, roots

_FOLD = 1 << 20  # rows waiting before a table is folded


def fold(tables: Iterable[tuple[Array, Array]], *, how: np.ufunc) -> tuple[Array, Array]:
    """Merge tables of keys and values into one, keys ascending and once each.

    The tables are taken one after the other and folded in batches, so that at most about twice the result is held.

    >>> one = np.array([2, 5], np.uint64), np.array([1, 9], np.uint16)
    >>> two = np.array([5], np.uint64), np.array([3], np.uint16)
    >>> [column.tolist() for column in fold([one, two], how=np.maximum)]
    [[2, 5], [1, 9]]
    """
    keys: list[Array] = []
    values: list[Array] = []
    waiting = 0
    for key, value in tables:
        keys.append(key)
        values.append(value)
        waiting += key.size
        if waiting > _FOLD + keys[0].size:
            folded = _fold(np.concatenate(keys), np.concatenate(values), how)
            keys, values, waiting = [folded[0]], [folded[1]], 0
    if not keys:
        raise AssertionError("there are no tables to fold")
    return _fold(np.concatenate(keys), np.concatenate(values), how)


def _fold(keys: Array, values: Array, how: np.ufunc) -> tuple[Array, Array]:
    if keys.size == 0:
        return keys, values
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], how.reduceat(values, first, dtype=values.dtype)


def merge_by_height(pairs: Array, saddles: Array, tops: Array, least_rise: int) -> Array:
    """Join nodes over their saddles while the lower peak rises less than `least_rise` above the saddle.

    Parameters
    ----------
    pairs
        uint64, ``a << 32 | b`` with a < b, ascending, numbers from 1 in the order of the peaks' global index.
    saddles
        uint16, height of each pair's highest saddle.
    tops
        uint16, height of each node's peak, node 1 first.
    least_rise
        Smallest rise (dynamics) of a peak that stays, in steps of height.

    Returns
    -------
    int64, for every node the number of the node with the highest peak of its particle (of equals the later one).

    >>> pairs = np.array([1 << 32 | 2, 2 << 32 | 3], np.uint64)
    >>> merge_by_height(pairs, np.array([8, 4], np.uint16), np.array([9, 12, 9], np.uint16), 2).tolist()
    [2, 2, 3]
    """
    order = np.lexsort((pairs, -saddles.astype(np.int32)))
    return np.asarray(_merge_by_height(pairs[order], saddles[order], tops, least_rise) + 1)


def merge_by_label(pairs: Array, saddles: Array, labels: Array) -> Array:
    """Give every node without a label that of the neighbour over the highest saddle; two labels never join.

    Nodes are joined in the order saddle down, then their numbers. A group that meets no label stays 0.

    Parameters
    ----------
    pairs, saddles
        As for :func:`merge_by_height`.
    labels
        uint32, the label of each node, node 1 first; 0 for none.

    Returns
    -------
    uint32, the label of each node.

    >>> pairs = np.array([1 << 32 | 2, 2 << 32 | 3], np.uint64)
    >>> merge_by_label(pairs, np.array([4, 8], np.uint16), np.array([5, 0, 7], np.uint32)).tolist()
    [5, 7, 7]
    """
    order = np.lexsort((pairs, -saddles.astype(np.int32)))
    return np.asarray(_merge_by_label(pairs[order], labels))


def name_particles(peaks: Array) -> Array:
    """Return labels 1..n in the order of the nodes that are roots, which is the raster order of their peaks.

    >>> name_particles(np.array([2, 2, 3])).tolist()
    [1, 1, 2]
    """
    is_root = peaks == np.arange(1, peaks.size + 1)
    return np.cumsum(is_root, dtype=np.uint32)[peaks - 1]


def counted_seeds(overlaps: Array, voxels: Array, min_overlap: float) -> Array:
    """Return which seeds count in their basin: those with enough of the largest overlap there.

    `overlaps` holds ``basin << 32 | seed``, ascending; `voxels` their overlap.

    >>> overlaps = np.array([1 << 32 | 4, 1 << 32 | 6, 2 << 32 | 6], np.uint64)
    >>> counted_seeds(overlaps, np.array([10, 1, 1]), 0.2).tolist()
    [True, False, True]
    """
    if overlaps.size == 0:
        return np.zeros(0, np.bool_)
    basins = overlaps >> np.uint64(32)
    first = np.flatnonzero(np.concatenate([[True], basins[1:] != basins[:-1]]))
    largest = np.repeat(np.maximum.reduceat(voxels, first), np.diff(first, append=basins.size))
    return np.asarray(voxels >= min_overlap * largest)


@compiled(error_model="numpy")
def _merge_by_height(pairs: Array, saddles: Array, tops: Array, least_rise: int) -> Array:
    parents = np.arange(tops.size)
    for i in range(pairs.size):
        one = root(parents, np.int64(pairs[i] >> np.uint64(32)) - 1)
        other = root(parents, np.int64(pairs[i] & np.uint64(0xFFFFFFFF)) - 1)
        if one == other:
            continue
        if tops[one] > tops[other] or (tops[one] == tops[other] and one > other):
            lower, higher = other, one
        else:
            lower, higher = one, other
        if np.int64(tops[lower]) - np.int64(saddles[i]) < least_rise:
            parents[lower] = higher
    return roots(parents)


@compiled(error_model="numpy")
def _merge_by_label(pairs: Array, labels: Array) -> Array:
    parents = np.arange(labels.size)
    merged = labels.copy()
    for i in range(pairs.size):
        one = root(parents, np.int64(pairs[i] >> np.uint64(32)) - 1)
        other = root(parents, np.int64(pairs[i] & np.uint64(0xFFFFFFFF)) - 1)
        if one == other or (merged[one] != 0 and merged[other] != 0 and merged[one] != merged[other]):
            continue
        label = max(merged[one], merged[other])
        low, high = min(one, other), max(one, other)
        parents[low] = high
        merged[high] = label
    for node in range(parents.size):
        merged[node] = merged[root(parents, node)]
    return merged
