"""When a scan was taken, where its file tells: NeXus `start_time` and `end_time`, OME's acquisition date.

The date of a TIFF file itself is that of whoever wrote the slices, so it tells nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

import h5py  # type: ignore[import-untyped, unused-ignore]
import tifffile

from crackdask.sources.base import Source, SourceError
from crackdask.sources.hdf5 import HDF5, groups_around, hdf5_file, text_of
from crackdask.storage.locations import Place, opened, place


def scan_times(source: Source) -> tuple[datetime, datetime] | None:
    """Return when a scan began and ended, with the offset from UTC that its file tells; None where it tells no time."""
    path = place(source.location)
    try:
        if path.suffix.lower() in HDF5:
            return _nexus(path, source.inner)
        return _ome(path) if source.kind == "tiff" else None
    except (SourceError, OSError, ET.ParseError, ValueError, KeyError, TypeError):
        return None


def _nexus(path: Place, inner: str) -> tuple[datetime, datetime] | None:
    """Look for times in the groups above what was read, the nearest first."""
    with hdf5_file(path) as file:
        for name in groups_around(file, inner):
            group = file.get(name)
            begun = _date(group, "start_time")
            if begun:
                return begun, max(begun, _date(group, "end_time") or begun)
    return None


def _date(group: Any, name: str) -> datetime | None:
    if not isinstance(group, h5py.Group) or name not in group:
        return None
    value = group[name][()]
    value = value.ravel()[0] if hasattr(value, "ravel") and value.size else value
    return datetime.fromisoformat(text_of(value).strip())


def _ome(path: Place) -> tuple[datetime, datetime] | None:
    with opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
        if not tif.is_ome:
            return None
        told = next(
            (e.text for e in ET.fromstring(tif.ome_metadata or "").iter() if e.tag.endswith("AcquisitionDate")), ""
        )
    moment = datetime.fromisoformat((told or "").strip())
    return moment, moment
