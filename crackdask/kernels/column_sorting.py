"""The rows of a matrix sorted, each with the order that undoes it, by a stable radix sort.

A real and its bits, once the sign is turned round, have one order. Three passes over 11 bits each sort 32 of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Singles
from crackdask.kernels.compiling import compiled

Order = NDArray[np.int32]

_BITS = 11
_BINS = 1 << _BITS
_TILE = 32


@compiled(error_model="numpy")
def transposed(matrix: Singles) -> Singles:
    """Return the transpose of a matrix as an array of its own, copied tile by tile."""
    rows, columns = matrix.shape
    out = np.empty((columns, rows), np.float32)
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            for j in range(left, min(left + _TILE, columns)):
                for i in range(top, min(top + _TILE, rows)):
                    out[j, i] = matrix[i, j]
    return out


def sorted_rows(matrix: Singles) -> tuple[Singles, Order]:
    """Return a matrix with every row in ascending order, and where each value stood; equal ones keep their order.

    >>> values, order = sorted_rows(np.array([[2.0, -1.0, 2.0, 0.0]], np.float32))
    >>> values.tolist(), order.tolist()
    ([[-1.0, 0.0, 2.0, 2.0]], [[1, 3, 0, 2]])
    """
    matrix = np.ascontiguousarray(matrix, np.float32) + np.float32(0)  # no negative zero
    values, order = np.empty_like(matrix), np.empty(matrix.shape, np.int32)
    _sort(matrix.view(np.uint32), values.view(np.uint32), order)
    return values, order


@compiled(error_model="numpy")
def _sort(bits: NDArray[np.uint32], values: NDArray[np.uint32], order: Order) -> None:
    size = bits.shape[1]
    here, there = np.empty(size, np.uint64), np.empty(size, np.uint64)
    starts = np.empty((3, _BINS), np.int64)
    top = np.uint32(0x80000000)
    for row in range(bits.shape[0]):
        starts[:] = 0
        for i in range(size):
            word = bits[row, i]
            word = ~word if word & top else word | top
            here[i] = (np.uint64(word) << np.uint64(32)) | np.uint64(i)
            for k in range(3):
                starts[k, (word >> np.uint32(k * _BITS)) & np.uint32(_BINS - 1)] += 1
        for k in range(3):
            start = 0
            for b in range(_BINS):
                count = starts[k, b]
                starts[k, b] = start
                start += count
            shift = np.uint64(32 + k * _BITS)
            for i in range(size):
                item = here[i]
                b = (item >> shift) & np.uint64(_BINS - 1)
                there[starts[k, b]] = item
                starts[k, b] += 1
            here, there = there, here
        for i in range(size):
            word = np.uint32(here[i] >> np.uint64(32))
            values[row, i] = word & ~top if word & top else ~word
            order[row, i] = np.int32(here[i] & np.uint64(0xFFFFFFFF))


@compiled(error_model="numpy")
def unsorted_columns(values: Singles, order: Order) -> Singles:
    """Return the matrix, transposed, that was sorted to `values`: each goes back to where it stood."""
    rows, columns = values.shape
    out = np.empty((columns, rows), np.float32)
    lines = np.empty((_TILE, columns), np.float32)
    for top in range(0, rows, _TILE):
        some = min(_TILE, rows - top)
        for i in range(some):
            for j in range(columns):
                lines[i, order[top + i, j]] = values[top + i, j]
        for j in range(columns):
            for i in range(some):
                out[j, top + i] = lines[i, j]
    return out
