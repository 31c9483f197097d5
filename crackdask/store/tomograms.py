"""Room for tomograms as they were reconstructed: a group of a store beside the volumes, whose shape may be a crop's."""

from __future__ import annotations

import zarr

from crackdask import schema
from crackdask.grid import Triple
from crackdask.storage.locations import Place, zarr_at
from crackdask.store.arrays import Axes, VolumeLayout, create_array, fresh_group
from crackdask.store.checked import WHOLE
from crackdask.store.create import add_coordinates


def has_tomograms(path: Place, scan: Triple, dtype: str) -> bool:
    """Tell whether a store has room for tomograms of some shape and type."""
    try:
        array = zarr.open_array(zarr_at(path / schema.KEPT_TOMOGRAMS), mode="r", zarr_format=3)
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return array.shape[1:] == scan and array.dtype == dtype


def add_tomograms(path: Place, axes: Axes, scan: Triple, dtype: str, layout: VolumeLayout) -> None:
    """Make the group and its empty array, anew where they are there, and its coordinates.

    Parameters
    ----------
    path, axes
        The store and its coordinates.
    scan, dtype, layout
        Of each tomogram, and how it is cut.
    """
    group = fresh_group(path, schema.TOMOGRAMS)
    cut = layout.fitted(scan)
    create_array(
        group,
        schema.KEPT_TOMOGRAMS.partition("/")[2],
        shape=(len(axes.names), *scan),
        dtype=dtype,
        dims=schema.VOLUME,
        chunks=(1, *cut.chunk),
        shards=None if cut.shard is None else (1, *cut.shard),
        compression=cut.compression,
        attributes=schema.ATTENUATION.attributes | WHOLE,
    )
    add_coordinates(path, axes)
