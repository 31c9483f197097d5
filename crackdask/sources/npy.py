"""Numpy files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.grid import Box
from crackdask.sources.base import Source, SourceError, checked, read_raw
from crackdask.storage.locations import Place, Prefix, opened, place

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class NpySource(Source):
    """A numpy file."""

    offset: int
    stored: str
    fortran: bool

    def _load(self, box: Box) -> NDArray[Any]:
        stored = np.dtype(self.stored)
        where = place(self.location)
        if not self.fortran:
            with opened(where) as file:
                return read_raw(file, self.location, self.offset, stored, self.shape, box)
        if isinstance(where, Prefix):
            # In Fortran's order the file is a C-ordered volume of (x, y, z).
            with opened(where) as file:
                turned = Box(box.start[::-1], box.stop[::-1])
                voxels = read_raw(file, self.location, self.offset, stored, self.shape[::-1], turned)
            return np.array(voxels.T, self.dtype, order="C")
        mapped = np.memmap(where, stored, "r", self.offset, self.shape, "F")
        return np.array(mapped[box.slices], self.dtype, order="C")


def open_npy(path: Place) -> NpySource:
    """Look at the header of a numpy file."""
    with opened(path) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        there, fortran, stored = read(file)
        offset = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(min(size, offset + prod(there) * stored.itemsize) if min(there, default=0) > 0 else size)
        follows = file.read(len(np.lib.format.MAGIC_PREFIX))
    shape, dtype = checked(str(path), there, stored)
    wanted = offset + prod(shape) * dtype.itemsize
    if size < wanted:
        raise SourceError(f"{path}: truncated, {size} bytes of {wanted}; copy it again")
    if follows == np.lib.format.MAGIC_PREFIX:
        raise SourceError(f"{path}: found a second array behind the first; write each scan to a file of its own")
    return NpySource(shape, dtype, "npy", str(path), offset, stored.str, fortran)
