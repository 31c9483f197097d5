"""Cracks and skeleton of one particle in space, voxel by voxel, where the store has the table that tells of them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from crackdask.analysis.cracks import is_bright, levels_of_table, limits, trace
from crackdask.analysis.tables import voxel_edges
from crackdask.arrays import Array

#: What a voxel is.
CRACK, SKELETON = 1, 2


def crack_voxels(tree: xr.DataTree, label: int, state: int, grey: Array, own: Array) -> Array:
    """Return the cracks of a particle as its row of the table counts them.

    Parameters
    ----------
    tree
        The store, in which the cracks of the state are measured.
    label, state
        Of the particle; number of the state.
    grey, own
        Of a box of voxels that holds all of it: grey levels, and 1 where a voxel is the particle's.

    Returns
    -------
    numpy.ndarray
        uint8 of the same shape: 0, `CRACK`, or `SKELETON` where a voxel is of the cracks' skeleton too.
    """
    found = np.zeros(grey.shape, np.uint8)
    levels = levels_of_table(tree, label)
    if not own.any() or not np.isfinite(levels.solid_grey.values[state, 0]):
        return found
    ends = [np.flatnonzero(own.any(axis=tuple(k for k in range(3) if k != axis)))[[0, -1]] for axis in range(3)]
    box = tuple(slice(int(a), int(b) + 1) for a, b in ends)
    limit = limits(levels, state, np.array([0]))[0]
    _, cracks = trace(grey[box], own[box] > 0, limit, is_bright(levels), voxel_edges(tree))
    found[box][cracks.crack] = CRACK
    found[box][cracks.skeleton] = SKELETON
    return found
