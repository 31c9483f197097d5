"""A running median down the columns of a matrix, many columns at a time.

The window of each column is kept sorted. What leaves it and what comes in change it by comparisons that are the same
for all columns, so that one instruction does them for many; no branch depends on a value.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Integers, Singles
from crackdask.kernels.compiling import compiled

_LANES = 128


def running_median(matrix: Singles, size: int) -> Singles:
    """Return the median of the `size` values around each one, down every column; edges are mirrored, as in scipy.

    >>> running_median(np.array([[1.0], [9.0], [2.0], [3.0]], np.float32), 3).ravel().tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window is {size}; an odd number is needed")
    matrix = np.ascontiguousarray(matrix, np.float32)
    rows = len(matrix)
    turn = np.arange(-(size // 2), rows + size // 2) % (2 * rows)
    lines = np.where(turn < rows, turn, 2 * rows - 1 - turn)
    out = np.empty_like(matrix)
    _slide(matrix, lines, size, out)
    return out


@compiled(error_model="numpy")
def _slide(matrix: Singles, lines: Integers, size: int, out: Singles) -> None:
    rows, columns = matrix.shape
    for first in range(0, columns, _LANES):
        last = min(first + _LANES, columns)
        # Between a row below all values and one above them stands the window.
        window = np.full((size + 2, last - first), np.inf, np.float32)
        window[0] = -np.inf
        changed = window.copy()
        for k in range(size):
            _replace(window, window[size + 1], matrix[lines[k], first:last], changed)
            window, changed = changed, window
        for row in range(rows):
            out[row, first:last] = window[size // 2 + 1]
            if row + 1 < rows:
                _replace(window, matrix[lines[row], first:last], matrix[lines[row + size], first:last], changed)
                window, changed = changed, window


@compiled(error_model="numpy", apart=True)
def _replace(window: Singles, old: Singles, new: Singles, changed: Singles) -> None:
    """Take one old value out of each sorted column, and put a new one in its place."""
    for k in range(1, window.shape[0] - 1):
        before, here, after, out = window[k - 1], window[k], window[k + 1], changed[k]
        for lane in range(new.size):
            # The column without the old value, here and one place before.
            left = here[lane] if here[lane] < old[lane] else after[lane]
            lower = before[lane] if before[lane] < old[lane] else here[lane]
            lower = lower if lower > new[lane] else new[lane]
            out[lane] = left if left < lower else lower
