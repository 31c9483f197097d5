"""What a recipe can be told about scans that are already there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from crackdask.grid import Edges
from crackdask.sources.base import Source, SourceError, named
from crackdask.sources.hdf5 import HDF5, hdf5_file, hdf5_shapes, text_of
from crackdask.sources.opening import open_source
from crackdask.sources.projections import Projections, is_projections, open_projections
from crackdask.sources.scan_parts import ProjectionKeys
from crackdask.sources.state_hints import state_hints
from crackdask.sources.tiff import TIFF
from crackdask.sources.zarr_array import is_zarr, zarr_node, zarr_shapes
from crackdask.storage.locations import Place, opened, place

_NONSENSE = (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError)
#: What a file name says of its format, not of its state.
_SUFFIXES = {*TIFF, *HDF5, ".npy", ".zarr", ".ome"}
_MICRONS = {
    "m": 1e6, "meter": 1e6, "metre": 1e6, "cm": 1e4, "centimeter": 1e4, "mm": 1e3,
    "millimeter": 1e3, "millimetre": 1e3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0,
    "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0, "nm": 1e-3, "nanometer": 1e-3,
    "nanometre": 1e-3, "pm": 1e-6, "a": 1e-4, "angstrom": 1e-4,
}  # fmt: skip


def suggest(path: Place, keys: ProjectionKeys | None = None) -> list[dict[str, Any]]:
    """Return what there is at a path: one entry a scan, in natural order.

    A path may be a scan or a folder of scans. Each entry has `name`, `source` (for the recipe),
    `shape`, `dtype`, `voxel_um`: a number, three of them (z, y, x), or None where the file does
    not say, `unwritten`: what of the scan is not there, `hints`: what name and file tell of the state, and
    `projections`: the opened ones, or None where it
    is a tomogram. They are looked for where `keys` are given, which say how.

    Raises
    ------
    SourceError
        If there is no scan, or one that cannot be used.
    """
    path = place(path)
    if path.is_dir() and not (is_zarr(path) or path.suffix.lower() == ".zarr"):
        seen = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=_natural)
        slices = [p for p in seen if p.suffix.lower() in TIFF and p.is_file()]
        if not slices or all(_is_stack(p) for p in slices):
            entries = [entry for p in seen if _may_be_scan(p) for entry in suggest(p, keys)]
            if entries:
                return entries
    if keys is not None and is_projections(str(path), Path(), keys):
        return [_entry(open_projections(str(path), Path(), keys, "fill"))]
    return [_entry(open_source(spec, Path(), "fill")) for spec in _specs(path)]


def _natural(path: Place) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(t), "") if i % 2 else (0, t) for i, t in enumerate(parts)]


def _may_be_scan(path: Place) -> bool:
    """Whether something in a folder is a scan by its name, or a folder that holds slices."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return (
            suffix == ".zarr"
            or is_zarr(path)
            or any(p.suffix.lower() in TIFF and p.name[0] != "." for p in path.iterdir())
        )
    return suffix in (*TIFF, *HDF5, ".npy")


def _is_stack(path: Place) -> bool:
    """Whether a TIFF has more than one page."""
    with named(str(path)), opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
        return tif.pages.is_multipage or len(tif.series[0].shape) > 2


def _specs(path: Place) -> list[str]:
    """Return the path, followed by that of its largest 3-D dataset where there is a choice."""
    shapes: Mapping[str, tuple[int, ...]] = {}
    if path.is_file() and path.suffix.lower() in HDF5:
        with named(str(path)), hdf5_file(path) as file:
            shapes = hdf5_shapes(file)
    elif path.is_dir() and is_zarr(path):
        with named(str(path)):
            shapes = zarr_shapes(zarr_node(path, ""))
    volumes = {name: shape for name, shape in shapes.items() if len(shape) == 3}
    largest = max((np.prod(shape, dtype=object) for shape in volumes.values()), default=0)
    chosen = [n for n, shape in volumes.items() if np.prod(shape, dtype=object) == largest]
    return [f"{path}::{name}" for name in chosen] or [str(path)]


def _entry(source: Source) -> dict[str, Any]:
    """Describe one scan."""
    path = place(source.location)
    projected = source if isinstance(source, Projections) else None
    inner = "" if projected else source.inner.strip("/")
    edges = stated_voxel_um(source)
    name = path.name if path.is_dir() and source.kind != "zarr" else _bare(path.name)
    return {
        "projections": projected,
        "name": name,
        "hints": state_hints(source, name),
        "source": f"{path}::/{inner}" if inner else str(path),
        "shape": source.shape,
        "dtype": source.dtype.name,
        "unwritten": source.unwritten,
        "voxel_um": edges if edges is None or len(set(edges)) > 1 else edges[0],
    }


def _bare(name: str) -> str:
    """Return the name of a file without what says its format; a voltage has a point of its own.

    >>> _bare("4.2V.ome.tif"), _bare("pristine.zarr"), _bare("2.5V_DC.nxs")
    ('4.2V', 'pristine', '2.5V_DC')
    """
    stem, dot, last = name.rpartition(".")
    return _bare(stem) if dot and stem and f".{last.lower()}" in _SUFFIXES else name


def stated_voxel_um(source: Source) -> Edges | None:
    """Return the voxel size in um (z, y, x) if the files say it; what they say may be nonsense."""
    path = place(source.location)
    try:
        if source.kind == "tiff":
            with opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
                edges = _ome(tif.ome_metadata) if tif.is_ome else _imagej(tif)
        elif source.kind == "hdf5":
            with hdf5_file(path) as file:
                edges = _nexus(file[source.inner])
        elif source.kind == "zarr":
            edges = _ome_zarr(path, source.inner.strip("/"))
        else:
            edges = None
    except (SourceError, OSError, ET.ParseError, StopIteration, *_NONSENSE):
        return None
    if edges is None or not all(np.isfinite(e) and e > 0 for e in edges):
        return None
    z, y, x = (float(f"{e:.9g}") for e in edges)  # 0.325, not 0.32500000000000001
    return (z, y, x)


def _ome(metadata: str | None) -> Edges | None:
    """Read OME-XML: PhysicalSizeZ, Y, X with their units."""
    pixels = next(e for e in ET.fromstring(metadata or "").iter() if e.tag.endswith("Pixels"))
    sizes = []
    for axis in "ZYX":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        sizes.append(float(pixels.attrib[f"PhysicalSize{axis}"]) * _MICRONS[unit.lower()])
    return (sizes[0], sizes[1], sizes[2])


def _imagej(tif: tifffile.TiffFile) -> Edges | None:
    """Read ImageJ's unit and spacing; pixels per unit are in the resolution tags."""
    said = tif.imagej_metadata or {}
    unit = str(said.get("unit", "")).replace("\\u00B5", "µ").lower()
    if unit not in _MICRONS:
        return None
    tags = tif.pages.first.tags
    y, x = (tags[name].value for name in ("YResolution", "XResolution"))
    scale = _MICRONS[unit]
    y_um, x_um = scale * y[1] / y[0], scale * x[1] / x[0]
    return (scale * float(said.get("spacing", y_um / scale)), y_um, x_um)


def _nexus(data: Any) -> Edges | None:
    """Read `element_size_um`, or evenly spaced NXdata axes with a unit."""
    if "element_size_um" in data.attrs:
        z, y, x = (float(v) for v in data.attrs["element_size_um"])
        return (z, y, x)
    names = data.parent.attrs.get("axes")
    if names is None or len(names) != 3:
        return None
    sizes = []
    for name in names:
        axis = data.parent[text_of(name)]
        unit = axis.attrs["units"]
        where = np.asarray(axis[()], float)
        steps = np.abs(np.diff(where))
        if not np.allclose(steps, steps.mean(), rtol=1e-3):
            return None
        sizes.append(float(steps.mean()) * _MICRONS[text_of(unit).lower()])
    return (sizes[0], sizes[1], sizes[2])


def _ome_zarr(path: Place, inner: str) -> Edges | None:
    """Read the multiscales that an OME-Zarr group keeps about its arrays."""
    parent, _, name = inner.rpartition("/")
    said = dict(zarr_node(path, parent).attrs)
    image = said.get("ome", said)["multiscales"][0]
    units = [axis.get("unit", "micrometer") for axis in image["axes"]]
    level = next(d for d in image["datasets"] if d["path"] == name)
    scales = next(t for t in level["coordinateTransformations"] if t["type"] == "scale")["scale"]
    z, y, x = (s * _MICRONS[u.lower()] for s, u in zip(scales, units, strict=True))
    return (z, y, x)
