"""From what a recipe says to a scan, and to a lazy array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize

from crackdask.grid import Box
from crackdask.lazy_import import Later
from crackdask.sources.arrays import is_zarr, open_npy, open_zarr
from crackdask.sources.base import FORMATS, Source, SourceError, named
from crackdask.sources.hdf5 import HDF5, open_hdf5
from crackdask.sources.tiff import TIFF, open_slices, open_tiff
from crackdask.storage.locations import Place, Prefix, place

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray
else:
    da = Later("dask.array")


def open_source(spec: str, base: Path) -> Source:
    """Return the scan that `spec` names, after a look at its headers.

    Parameters
    ----------
    spec : str
        A path or URL, for HDF5 and Zarr followed by ``::`` and the path of the dataset within.
    base : Path
        Folder that a relative path starts from.

    Raises
    ------
    SourceError
        If the scan is missing, empty, incomplete, unreadable, not 3-D, or of another type.
    """
    name, _, inner = spec.partition("::")
    path: Place = place(name)
    if isinstance(path, Path):
        path = Path(os.path.abspath(base / path.expanduser()))  # noqa: PTH100 - resolve() would follow links
    if not path.exists():
        hint = "" if isinstance(path, Prefix) else f" (source = {spec!r}, taken relative to {base})"
        raise SourceError(f"{path}: no such file or folder{hint}; correct the path")
    suffix = path.suffix.lower()
    with named(str(path)):
        if path.is_dir() and (suffix == ".zarr" or is_zarr(path)):
            return open_zarr(path, inner)
        if suffix in HDF5 and path.is_file():
            return open_hdf5(path, inner)
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


def lazy(source: Source, chunks: Any = None) -> da.Array:
    """Return a scan as a lazy (z, y, x) array; nothing is read until it is computed.

    `chunks` is anything dask understands; by default whole slices, as thick as the format's own
    chunks and about 64 MB each, for most formats can only read whole slices.
    """
    if chunks is None:
        a_slab = source.slab * source.shape[1] * source.shape[2] * source.dtype.itemsize
        chunks = (source.slab * max(1, 2**26 // a_slab), -1, -1)
    cut = da.core.normalize_chunks(chunks, source.shape, dtype=source.dtype)  # type: ignore[no-untyped-call, unused-ignore]
    scan: da.Array = da.map_blocks(  # type: ignore[no-untyped-call, unused-ignore]
        partial(_block, source),
        chunks=cut,
        dtype=source.dtype,
        meta=np.empty((0, 0, 0), source.dtype),
        name=f"read-{tokenize(source.fingerprint(), source.location, cut)}",
    )
    return scan


def _block(source: Source, block_info: Mapping[Any, Any]) -> NDArray[Any]:
    """Read one chunk of a lazy scan."""
    z, y, x = block_info[None]["array-location"]
    return source.read(Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
