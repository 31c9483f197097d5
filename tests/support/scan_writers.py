"""Writers of a scan in each format that can be read; each returns what a recipe would say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr

SHAPE = (7, 20, 33)


def volume(dtype: str = "uint16", shape: tuple[int, int, int] = SHAPE) -> np.ndarray[Any, Any]:
    """Voxels that all differ from their neighbours."""
    count = np.arange(np.prod(shape), dtype=np.int64) * 7919 % 65521
    if np.dtype(dtype).kind == "f":
        return (count / 7 - 1000).astype(dtype).reshape(shape)
    return (count + np.iinfo(dtype).min).astype(dtype).reshape(shape)


def write_slices(folder: Path, voxels: np.ndarray[Any, Any], **options: Any) -> Path:
    folder.mkdir()
    for z, image in enumerate(voxels):
        tifffile.imwrite(folder / f"scan_{z + 8}.tif", image, **options)  # 8, 9, 10: natural order
    return folder


def slices(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    return str(write_slices(tmp / "slices", voxels, **options))


def stack(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    tifffile.imwrite(tmp / "stack.tif", voxels, **options)
    return str(tmp / "stack.tif")


def pages(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    with tifffile.TiffWriter(tmp / "pages.tiff", byteorder=options.pop("byteorder", None)) as tif:
        for image in voxels:
            tif.write(image, metadata=None, contiguous=False, **options)
    return str(tmp / "pages.tiff")


def hdf5(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    with h5py.File(tmp / "scan.nxs", "w") as file:
        file.create_dataset("entry/data/data", data=voxels, **options)
        file["entry/angles"] = np.arange(4.0)
    return f"{tmp / 'scan.nxs'}::/entry/data/data"


def zarr_array(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    made = zarr.create_array(tmp / "scan.zarr", shape=voxels.shape, dtype=voxels.dtype, chunks=(3, 8, 16), **options)
    made[:] = voxels
    name = options.get("name")
    return f"{tmp / 'scan.zarr'}" + (f"::{name}" if name else "")


def npy(tmp: Path, voxels: np.ndarray[Any, Any], fortran: bool = False) -> str:
    np.save(tmp / "scan.npy", np.asfortranarray(voxels) if fortran else voxels)
    return str(tmp / "scan.npy")
