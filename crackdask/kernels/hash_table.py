"""An open table of 64-bit keys, for counting pairs of numbers inside kernels.

A key is ``a << 32 | b`` with numbers from 1, so 0 marks an empty place. Tables have a power of two places and are kept
at most half full.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled


@compiled(error_model="numpy")
def slot(keys: Array, key: np.uint64) -> np.int64:
    """Return the place of a key in an open table, or the empty place where it belongs."""
    wrap = np.uint64(keys.size - 1)
    spread = np.uint64(key * np.uint64(0x9E3779B97F4A7C15))
    at = np.uint64((spread >> np.uint64(32)) & wrap)
    while keys[at] != 0 and keys[at] != key:
        at = np.uint64((at + np.uint64(1)) & wrap)
    return np.int64(at)


@compiled(error_model="numpy")
def grown(keys: Array, values: Array) -> tuple[Array, Array]:
    """Return the same table with twice the places."""
    more_keys = np.zeros(2 * keys.size, np.uint64)
    more_values = np.zeros(2 * keys.size, values.dtype)
    for i in range(keys.size):
        if keys[i] != 0:
            at = slot(more_keys, keys[i])
            more_keys[at] = keys[i]
            more_values[at] = values[i]
    return more_keys, more_values
