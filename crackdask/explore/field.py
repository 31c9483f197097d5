"""The whole field in space: the labels of a state at a level so coarse that a graphics card takes them at once."""

from __future__ import annotations

from math import prod

from crackdask.arrays import Array
from crackdask.explore.planes import Planes
from crackdask.store.root import StoreError

#: Voxels of what is handed out (four bytes each), its longest edge, and voxels that are decoded for it at most.
MOST, _EDGE, _DECODED = 2**23, 1024, 2**27


def coarse_level(planes: Planes) -> int:
    """Return the finest level at which a whole state has at most `MOST` voxels."""
    level = 0
    while prod(planes.shape_at(level)) > MOST or max(planes.shape_at(level)) > _EDGE:
        level += 1
    return level


def whole_field(planes: Planes, state: int) -> tuple[Array, int]:
    """Return the labels of a state, (z, y, x), and how many of the finest voxels one of theirs takes along an axis.

    Raises
    ------
    StoreError
        If the store has no level that is coarse enough: all of its voxels would have to be read.
    """
    level = coarse_level(planes)
    path, _ = planes.levels["label"].nearest(level)
    if prod(planes.array(path).shape[1:]) > _DECODED:
        raise StoreError(
            "this store has no level that is coarse enough for a look at all of it: its next run makes them"
        )
    return planes.box("label", state, level, (0, 0, 0), planes.shape_at(level)), 1 << level
