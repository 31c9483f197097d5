"""Particles of one block by rows: which ids there are, and every voxel's row in their table."""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled
from crackdask.kernels.hash_table import slot


def distinct(label: Array) -> Array:
    """Return the sorted ids in `label`, without 0."""
    size = 4096
    while True:
        keys = np.zeros(size, np.uint64)
        if _collect(label, keys):
            return np.sort(keys[keys != 0]).astype(np.uint32)
        size *= 8


@compiled
def _collect(label: Array, keys: Array) -> bool:
    """Enter every id into a table of `keys`; False where the table is too small."""
    used = 0
    nz, ny, nx = label.shape
    for z in range(nz):
        for y in range(ny):
            row = label[z, y]
            before = np.uint32(0)
            for x in range(nx):
                here = row[x]
                if here != before and here != 0:
                    place = np.uint64(slot(keys, np.uint64(here)))
                    if keys[place] == 0:
                        keys[place] = here
                        used += 1
                        if 2 * used > keys.size:
                            return False
                before = here
    return True


def renumber(label: Array, ids: Array) -> Array:
    """Return 1 + the row of each voxel's particle in `ids`; 0 stays 0."""
    size = 1024
    while size < 2 * ids.size:
        size *= 2
    near = np.empty(label.shape, np.int32)
    _renumber(label, ids, np.zeros(size, np.uint64), np.zeros(size, np.int32), near)
    return near


@compiled
def _renumber(label: Array, ids: Array, keys: Array, rows: Array, near: Array) -> None:
    for i in range(ids.size):
        place = np.uint64(slot(keys, np.uint64(ids[i])))
        keys[place] = ids[i]
        rows[place] = i + 1
    nz, ny, nx = label.shape
    for z in range(nz):
        for y in range(ny):
            before = np.uint32(0)
            row = np.int32(0)
            for x in range(nx):
                here = label[z, y, x]
                if here != before:
                    row = rows[np.uint64(slot(keys, np.uint64(here)))] if here != 0 else np.int32(0)
                    before = here
                near[z, y, x] = row
