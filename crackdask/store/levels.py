"""The store as an OME-Zarr image (NGFF 0.5) in place: arrays of its coarser levels, and what readers look for.

The root is the image of grey levels: level 0 is ``volumes/grey``, level N is ``levels/N/grey``. ``labels/particle`` is
its image of labels: level N is ``labels/particle/N/label``, and level 0 a relative link to ``volumes/label``, or in a
bucket, which has no links, a copy of it. Each array lies in a group of its own, for xarray takes arrays of one group
for variables along the same axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import zarr

from crackdask import schema
from crackdask.grid import Triple, coarser
from crackdask.storage.locations import Place, Prefix, flush, remove, zarr_at
from crackdask.store.arrays import Axes, VolumeLayout, create_array
from crackdask.store.checked import WHOLE

#: Edges of chunks of levels, at most; their shards are as large as those of the volume.
_CHUNK = 64
_LINK = "../../../volumes/label"


def level_arrays(path: Place, shape: Triple) -> list[str]:
    """Return the arrays that the step `levels` writes, as seen from the store, for a volume of some shape."""
    copied = [schema.LABEL_IMAGE] if isinstance(path, Prefix) else []
    numbers = range(1, len(coarser(shape)) + 1)
    return [*copied, *(schema.level_array(name, number) for number in numbers for name in ("grey", "label"))]


def level_layout(layout: VolumeLayout, shape: Triple) -> VolumeLayout:
    """Return how a level of some shape is cut, from how the store's volumes are."""
    z, y, x = (min(c, _CHUNK) for c in layout.chunk)
    if layout.shard is None:
        return VolumeLayout((z, y, x), None, layout.compression).fitted(shape)
    a, b, c = (max(1, s // k) * k for s, k in zip(layout.shard, (z, y, x), strict=True))
    return VolumeLayout((z, y, x), (a, b, c), layout.compression).fitted(shape)


def add_levels(path: Place, axes: Axes, layout: VolumeLayout) -> None:
    """Make the groups and empty arrays of all levels, and the link to the labels, anew where they are there."""
    emptied = (schema.LEVELS, "labels")
    for group in emptied:
        remove(path / group)
    root = zarr.open_group(zarr_at(path, emptied=emptied), mode="r+", zarr_format=3)
    levels = root.create_group(schema.LEVELS)
    labels = root.create_group("labels", attributes={"ome": {"version": "0.5", "labels": ["particle"]}})
    particle = labels.create_group("particle", attributes={"ome": _label_image(axes)})
    if isinstance(path, Prefix):
        _add(particle.create_group("0"), "label", axes, axes.shape, layout.fitted(axes.shape))
    else:
        particle.create_group("0")
        mend_link(path)
    for number, shape in enumerate(coarser(axes.shape), 1):
        cut = level_layout(layout, shape)
        _add(levels.create_group(str(number)), "grey", axes, shape, cut)
        _add(particle.create_group(str(number)), "label", axes, shape, cut)


def _add(group: zarr.Group, name: str, axes: Axes, shape: Triple, layout: VolumeLayout) -> None:
    create_array(
        group,
        name,
        shape=(len(axes.names), *shape),
        dtype=schema.VOLUMES[name].dtype,
        dims=schema.VOLUME,
        chunks=(1, *layout.chunk),
        shards=None if layout.shard is None else (1, *layout.shard),
        compression=layout.compression,
        attributes=schema.VOLUMES[name].attributes | WHOLE,
    )


def amiss(path: Place) -> str | None:
    """Return what is wrong with the labels where readers of OME-Zarr look for them, or None.

    On a disk there is a link, or what copying a store has made of it: a copy of the labels.
    """
    where = path / schema.LABEL_IMAGE
    if not isinstance(where, Path) or _is_linked(where):
        return None
    with suppress(OSError):
        told = (where / "zarr.json").read_bytes()
        if not where.is_symlink() and told == (path / schema.level_array("label", 0) / "zarr.json").read_bytes():
            return None
    return f"{where} is not the link to the labels that it was; a run makes it anew"


def mend_link(path: Place) -> None:
    """Make the link to the labels where it is not there, in the place of whatever is."""
    where = path / schema.LABEL_IMAGE
    if not isinstance(where, Path) or _is_linked(where):
        return
    remove(where)
    where.parent.mkdir(parents=True, exist_ok=True)
    where.symlink_to(_LINK, target_is_directory=True)
    flush(where.parent)


def _is_linked(where: Path) -> bool:
    return where.is_symlink() and where.readlink() == Path(_LINK)


# ---------------------------------------------------------------- what readers look for


def image(axes: Axes) -> dict[str, Any]:
    """Return what a store's root tells readers of OME-Zarr, its attribute `ome`: the grey levels."""
    paths = [schema.level_array("grey", number) for number in range(len(coarser(axes.shape)) + 1)]
    window = {"min": 0, "max": 255, "start": 1, "end": 255}
    channel = {"label": "grey", "color": "FFFFFF", "active": True, "window": window}
    return {
        "version": "0.5",
        "multiscales": [multiscale("grey", "mean", axes.voxel_um, paths)],
        "omero": {"channels": [channel]},
    }


def _label_image(axes: Axes) -> dict[str, Any]:
    paths = [f"{number}/label" for number in range(len(coarser(axes.shape)) + 1)]
    return {
        "version": "0.5",
        "image-label": {"source": {"image": "../../"}},
        "multiscales": [multiscale("particle", "stride", axes.voxel_um, paths)],
    }


def multiscale(
    name: str, kind: str, voxel_um: Sequence[float], paths: Sequence[str], first: str = "state"
) -> dict[str, Any]:
    """Return the description of an image of several levels along states and space.

    Parameters
    ----------
    name, kind
        Of the image, and how a level is made of the one before: "mean" of 2 x 2 x 2 voxels, whose centre lies between
        theirs, or "stride", every second voxel, which stays where it was.
    voxel_um
        Edges of a voxel of level 0.
    paths
        Of the levels.
    first
        Name of the first axis, of type time, which is the one type beside space and channel that readers take.
    """
    datasets = []
    for level, path in enumerate(paths):
        scale = [edge * 2**level for edge in voxel_um]
        centre = [edge / 2 for edge in (scale if kind == "mean" else voxel_um)]
        placed = [
            {"type": "scale", "scale": [1.0, *scale]},
            {"type": "translation", "translation": [0.0, *centre]},
        ]
        datasets.append({"path": path, "coordinateTransformations": placed})
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in schema.SPATIAL]
    return {"name": name, "type": kind, "axes": [{"name": first, "type": "time"}, *space], "datasets": datasets}
