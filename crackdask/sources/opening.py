"""From what a recipe says to a scan."""

from __future__ import annotations

import os
from pathlib import Path

from crackdask.sources.base import FORMATS, NotThereError, Source, SourceError, named, refuse_no_file
from crackdask.sources.completeness import Missing
from crackdask.sources.hdf5 import HDF5, open_hdf5
from crackdask.sources.npy import open_npy
from crackdask.sources.tiff import TIFF, open_slices, open_tiff
from crackdask.sources.zarr_array import is_zarr, open_zarr
from crackdask.storage.locations import Place, Prefix, at_home, place


def open_source(spec: str, base: Path, missing: Missing = "refuse") -> Source:
    """Return the scan that `spec` names, after a look at its headers.

    Parameters
    ----------
    spec : str
        A path or URL, for HDF5 and Zarr followed by ``::`` and the path of the dataset within.
    base : Path
        Folder that a relative path starts from.
    missing : {"refuse", "fill"}
        Whether parts of an HDF5 or Zarr array that were never written are a mistake, or the array's fill value.

    Raises
    ------
    SourceError
        If the scan is missing, empty, incomplete, unreadable, not 3-D, or of another type.
    """
    path, inner = there(spec, base)
    suffix = path.suffix.lower()
    with named(str(path)):
        if path.is_dir() and (suffix == ".zarr" or is_zarr(path)):
            return open_zarr(path, inner, missing)
        if suffix in HDF5 and path.is_file():
            return open_hdf5(path, inner, missing)
        if inner:
            raise SourceError(
                f"{path}: '::{inner}' names a dataset within a file, but only HDF5 and Zarr have those; leave it out"
            )
        if path.is_dir():
            return open_slices(path)
        if suffix in TIFF:
            return open_tiff(path)
        if suffix == ".npy":
            return open_npy(path)
    raise SourceError(f"{path}: not a format that can be read; wanted {FORMATS}")


def there(spec: str, base: Path) -> tuple[Place, str]:
    """Return the file or folder that `spec` names, and the path within it.

    Raises
    ------
    NotThereError
        If there is none.
    """
    name, _, inner = spec.partition("::")
    path: Place = place(name)
    if isinstance(path, Path):
        path = Path(os.path.abspath(base / at_home(path)))  # noqa: PTH100 - resolve() would follow links
    with named(str(path)):
        exists = path.exists()
    if not exists:
        hint = "" if isinstance(path, Prefix) else f" (source = {spec!r}, taken relative to {base})"
        raise NotThereError(f"{path}: no such file or folder{hint}; correct the path")
    refuse_no_file(path)
    return path, inner
