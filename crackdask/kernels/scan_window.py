"""A part of a scan in memory, as the kernels that resample it want it."""

from __future__ import annotations

from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.grid import Box, Triple

Slices = tuple[slice, slice, slice]


class ScanWindow(NamedTuple):
    """A window of a scan as the kernels take it.

    Attributes
    ----------
    voxels
        In C order and this machine's byte order, copied only if they are not.
    box
        Where the window lies in the scan.
    shape
        Of the whole scan.
    fill
        Whether the window holds fill voxels, and their value in its own type.
    """

    voxels: NDArray[Any]
    box: Box
    shape: Triple
    fill: tuple[bool, Any]

    @classmethod
    def of(cls, window: NDArray[Any], box: Box, shape: Triple, fill: float | None) -> ScanWindow:
        """Return a window that lies at `box` of a scan."""
        native = np.ascontiguousarray(window, dtype=window.dtype.newbyteorder("="))
        voxels, has_fill, own_fill = _fill_of(native, fill)
        return cls(voxels, box, shape, (has_fill, own_fill))

    def flat(self) -> tuple[NDArray[Any], tuple[int, int], Triple, Triple]:
        """Return the voxels one after the other, the strides of planes and rows, and where they lie in the scan.

        Those of types that float32 holds exactly, such as uint16, come as float32: each type would be compiled for.
        """
        _, ny, nx = self.voxels.shape
        dtype = np.float32 if np.can_cast(self.voxels.dtype, np.float32) else self.voxels.dtype
        return self.voxels.reshape(-1).astype(dtype, copy=False), (ny * nx, nx), self.box.start, self.shape

    def met_by(self, box: Box, shift: Triple) -> tuple[Slices, Slices]:
        """Return which voxels of the window, and which of a block moved by whole voxels, lie on each other."""
        target = Box(_add(box.start, shift), _add(box.stop, shift))
        common = target.intersect(Box.whole(self.shape))
        if common is None:
            raise ValueError(f"{box} shifted by {shift} lies outside the scan of {self.shape}")
        return common.within(self.box), common.within(target)


def _add(first: Triple, second: Triple) -> Triple:
    """Return the sum of two triples."""
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2])


def _fill_of(window: NDArray[Any], fill: float | None) -> tuple[NDArray[Any], bool, Any]:
    """Return the window, whether it holds the fill value, and that value in the window's own type.

    NaN equals nothing, so where it is the fill, the window comes back with the lowest number instead.
    """
    none = window.dtype.type(0)
    if fill is None:
        return window, False, none
    if window.dtype.kind in "iu":
        limits = np.iinfo(window.dtype)
        if isnan(fill) or fill != int(fill) or not limits.min <= fill <= limits.max:
            return window, False, none
    own = window.dtype.type(fill)
    if not isnan(fill):
        return window, bool((window == own).any()), own
    missing = np.isnan(window)
    own = np.finfo(window.dtype).min
    return (np.where(missing, own, window), True, own) if missing.any() else (window, False, own)
