"""HDF5 datasets, virtual ones too, parts of which were never written."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crackdask.grid import Box

SHAPE = (7, 20, 33)


CHUNK = (3, 8, 16)  # 3 x 3 x 3 chunks, all of them cut at the upper faces


WHOLE = Box.whole(SHAPE)


UNLIMITED = h5py.h5s.UNLIMITED


def voxels() -> np.ndarray[Any, Any]:
    """Return voxels of which none is zero."""
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 60_000 + 1).astype("u2")


def as_hdf5(tmp: Path, written: list[tuple[int, ...]], **options: Any) -> str:
    """Write some chunks of a dataset."""
    with h5py.File(tmp / "scan.h5", "w") as file:
        data = file.create_dataset("scan", SHAPE, "u2", **options)
        for place in written:
            box = tuple(slice(c * i, c * i + c) for c, i in zip(CHUNK, place, strict=True))
            data[box] = voxels()[box]
    return "scan.h5::scan"


EVERY = list(product(range(3), repeat=3))


# ---------------------------------------------------------------- virtual datasets


def slices_of(tmp: Path, skipped: tuple[int, ...] = ()) -> None:
    """Write a file for each slice."""
    for z in range(SHAPE[0]):
        with h5py.File(tmp / f"slice_{z}.h5", "w") as file:
            if z not in skipped:
                file["image"] = voxels()[z]


def virtual(tmp: Path, mapped: tuple[int, ...] = tuple(range(SHAPE[0])), rows: int = SHAPE[1]) -> str:
    """Write a virtual dataset of slices, of which only some are mapped."""
    layout = h5py.VirtualLayout(SHAPE, "u2")
    for z in mapped:
        layout[z, :rows] = h5py.VirtualSource(f"slice_{z}.h5", "image", SHAPE[1:])[:rows]
    with h5py.File(tmp / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    return "master.h5::scan"
