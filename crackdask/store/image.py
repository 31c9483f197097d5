"""An OME-Zarr image beside a store: its levels, still empty."""

from __future__ import annotations

from pathlib import Path

import zarr

from crackdask import schema
from crackdask.grid import Triple
from crackdask.store.arrays import Compression, create_array


def create_image(
    path: Path,
    times: int,
    shapes: list[Triple],
    chunks: list[Triple],
    dtype: str,
    fill: float,
    compression: Compression,
) -> None:
    """Make an empty image of several levels along (t, z, y, x), one array for each: ``0``, ``1``, ...

    It has no attributes yet: without them no reader takes it for an image.
    """
    root = zarr.create_group(str(path), zarr_format=3)
    for level, (shape, chunk) in enumerate(zip(shapes, chunks, strict=True)):
        create_array(
            root,
            str(level),
            shape=(times, *shape),
            dtype=dtype,
            dims=("t", *schema.SPATIAL),
            chunks=(1, *chunk),
            compression=compression,
            attributes={},
            fill=fill,
        )


def is_image(path: Path) -> bool:
    """Tell whether a folder is an image that crackdask wrote."""
    try:
        attributes = zarr.open_group(str(path), mode="r").attrs
    except (FileNotFoundError, ValueError):
        return False
    return "ome" in attributes and "crackdask" in attributes
