"""One particle through all states: its numbers, its grey level shell by shell, pictures of it, its voxels in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.explore.columns import Columns, number
from crackdask.explore.explored import View
from crackdask.explore.planes import PLANES, Planes
from crackdask.schema import NOT_TRACKED

#: Longest edge of a picture, in pixels; that of a solid, in voxels; and voxels around the particle.
STRIP, SOLID, _MARGIN = 128, 96, 4


def numbers(columns: Columns, label: int, keys: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a particle, in every state: null where there is no value.

    `columns` by key, those asked for; `profile`: mean grey level of each shell, the outermost first, and
    `shell_voxels`; `boxes`: where it lies, in voxels, null where it is absent; `dropped`: why it is not tracked, in
    words; `reason`: why the analysis says nothing, or null.
    """
    told: dict[str, list[float | None]] = {}
    reason = None
    for key in keys:
        try:
            told[key] = [number(value) for value in columns.of_particle(key, label)]
        except AnalysisError as error:
            reason = str(error)
    voxels, sums = (columns.array(f"shells/{name}")[:, label - 1] for name in ("voxels", "grey_sum"))
    deepest = int((voxels > 0).any(axis=0).sum())
    voxels, sums = voxels[:, :deepest], sums[:, :deepest]
    means = np.where(voxels > 0, sums / np.maximum(voxels, 1), np.nan)
    return {
        "label": label,
        "columns": told,
        "profile": [[number(value) for value in row] for row in means],
        "shell_voxels": voxels.tolist(),
        "boxes": [box if box[0][1] > box[0][0] else None for box in boxes(columns, label)],
        "dropped": [
            words for name, words in NOT_TRACKED.items() if columns.array(f"particles/{name}")[:, label - 1].any()
        ],
        "reason": reason,
    }


def boxes(columns: Columns, label: int) -> list[list[list[int]]]:
    """Return the first voxel and one past the last along z, y and x in every state; 0 and 0 where it is absent."""
    rows = [columns.array(f"particles/bbox_{axis}{end}")[:, label - 1] for axis in "zyx" for end in "01"]
    ends = np.stack(rows, axis=-1).reshape(-1, 3, 2)
    return [[[int(a), int(b)] for a, b in state] for state in ends]


def strip(planes: Planes, columns: Columns, label: int, plane: str, index: int | None) -> dict[str, Any]:
    """Return a picture of a particle in every state, all of the same box, so that states can be compared.

    Parameters
    ----------
    planes, columns
        Of the store.
    label
        Of the particle.
    plane
        Of `PLANES`.
    index
        Of the plane, or None for the middle of the particle.

    Returns
    -------
    dict
        `grey` and `label`, (state, row, column); `first`, the corner of the box in voxels; `step`, voxels a pixel;
        `index` of the plane.
    """
    axis = PLANES[plane]
    first, last = _around(planes, columns, label)
    if index is None:
        index = int(first[axis] + last[axis]) // 2
    across = [k for k in range(3) if k != axis]
    level = max(0, int(np.ceil(np.log2(max(int(last[k] - first[k]) for k in across) / STRIP))))
    level = min(level, planes.count - 1)
    low, high = first >> level, -(-last >> level)
    size = planes.shape_at(level)
    low[axis] = min(index >> level, size[axis] - 1)
    high = np.minimum(high, size)
    high[axis] = low[axis] + 1
    cut: dict[str, Array] = {
        volume: np.stack(
            [
                planes.box(volume, state, level, low.tolist(), high.tolist()).squeeze(axis)
                for state in range(planes.states)
            ]
        )
        for volume in ("grey", "label")
    }
    return {**cut, "first": [int(low[k] << level) for k in across], "step": 1 << level, "index": index}


def solid(view: View, label: int, state: int) -> dict[str, Any]:
    """Return a particle in space in one state: the box that holds it in every state, so that states can be compared.

    It comes from the finest level at which no edge is longer than `SOLID` voxels, which bounds its bytes.

    Parameters
    ----------
    view
        The store.
    label
        Of the particle.
    state
        Its number.

    Returns
    -------
    dict
        `grey`, (z, y, x); `own`, 1 where a voxel is the particle's, else 0; `cracks`, of `crack_voxels`, where the
        store has them and the box is of the finest level; `first`, the corner of the box in voxels; `step`, voxels of
        the finest level that a voxel takes along each axis.
    """
    planes, columns = view.planes, view.columns
    first, last = _around(planes, columns, label)
    level = 0
    while int((-(-last >> level) - (first >> level)).max()) > SOLID:
        level += 1
    low, high = first >> level, np.minimum(-(-last >> level), planes.shape_at(level))
    grey, labels = (planes.box(volume, state, level, low.tolist(), high.tolist()) for volume in ("grey", "label"))
    own = (labels == label).astype(np.uint8)
    told = {"grey": grey, "own": own, "first": low << level, "step": 1 << level}
    if level == 0 and columns.cracked is not None and columns.cracked[state]:
        from crackdask.explore.crack_voxels import crack_voxels  # and the libraries that find skeletons

        told["cracks"] = crack_voxels(view.tree, label, state, grey, own)
    return told


def _around(planes: Planes, columns: Columns, label: int) -> tuple[Array, Array]:
    """Return the first voxel of what holds a particle in every state, with a margin, and one past its last."""
    there = np.array([box for box in boxes(columns, label) if box[0][1] > box[0][0]])
    first = np.maximum(there[:, :, 0].min(axis=0) - _MARGIN, 0)
    last = np.minimum(there[:, :, 1].max(axis=0) + _MARGIN, planes.shape)
    return first, last
