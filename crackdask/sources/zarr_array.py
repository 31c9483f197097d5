"""Arrays of Zarr stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from crackdask.grid import Box
from crackdask.sources.axes import refuse_other_axes
from crackdask.sources.base import InnerSource, SourceError, checked, chosen
from crackdask.sources.completeness import Missing, accepted, zarr_chunk_gone, zarr_gaps
from crackdask.storage.locations import Place, Prefix, place, zarr_at

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ZarrSource(InnerSource):
    """An array of a Zarr store, format 2 or 3."""

    missing: Missing

    def _files(self) -> Iterable[tuple[str, Place]]:
        root, inner = place(self.location), self.path.strip("/")
        if isinstance(root, Prefix):
            objects = (root / inner if inner else root).files()
            return [(p.relative_to(root).as_posix(), p) for p in objects]
        node = root / inner
        return [(p.relative_to(root).as_posix(), p) for p in node.rglob("*") if p.is_file()]

    def _load(self, box: Box) -> NDArray[Any]:
        root = place(self.location)
        data = zarr_node(root, self.path)
        voxels: NDArray[Any] = np.asarray(data[box.slices])
        if self.missing == "refuse" and (gone := self._gone(data, root, box)):
            raise SourceError(f"{self.location}: the chunk {gone} is gone; leave a scan alone while it is used")
        return voxels

    def _gone(self, data: Any, root: Place, box: Box) -> str | None:
        """Return a chunk that was there when the scan was opened, and not when a box was read."""
        if isinstance(root, Path):
            return zarr_chunk_gone(data, root / self.path.strip("/"), box.start, box.stop)
        return next(iter(data.store.absent), None)


def is_zarr(path: Place) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def zarr_node(path: Place, inner: str) -> Any:
    """Return an array or group, or None."""
    try:
        return zarr.open(zarr_at(path), path=inner.strip("/"), mode="r")
    except (FileNotFoundError, zarr.errors.NodeNotFoundError):
        return None


def zarr_shapes(node: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all arrays with more than one axis."""
    members = sorted(node.members(max_depth=None)) if hasattr(node, "members") else []
    return {f"/{name}": item.shape for name, item in members if len(getattr(item, "shape", ())) > 1}


def open_zarr(path: Place, inner: str, missing: Missing) -> ZarrSource:
    """Look at one array of a store."""
    _refuse_two_formats(path, inner)
    root = zarr_node(path, "")
    if root is None and not inner:
        raise SourceError(f"{path}: found neither a Zarr array nor a group; is the copy complete?")
    node = zarr_node(path, inner) if inner else root
    if not hasattr(node, "chunks"):
        inner = chosen(path, inner, zarr_shapes(root) if root is not None else {})
        _refuse_two_formats(path, inner)
        node = zarr_node(path, inner)
    where = f"{path}::{inner}" if inner else str(path)
    shape, dtype = checked(where, node.shape, node.dtype)
    refuse_other_axes(where, _axes(path, inner, node))
    thick = (node.shards or node.chunks)[0]
    within = inner.strip("/")
    unwritten = accepted(where, zarr_gaps(node, path / within if within else path), missing)
    return ZarrSource(shape, dtype, "zarr", str(path), f"/{within}", thick, missing, unwritten=unwritten)


def _refuse_two_formats(path: Place, inner: str) -> None:
    """Raise where two arrays share a folder, of which zarr would take one."""
    folder = path / inner.strip("/") if inner.strip("/") else path
    if (folder / "zarr.json").is_file() and (folder / ".zarray").is_file():
        raise SourceError(
            f"{folder}: found two arrays in one folder, of Zarr format 2 (.zarray) and of 3 (zarr.json); "
            "move the one that is not meant elsewhere"
        )


def _axes(path: Place, inner: str, node: Any) -> list[str]:
    """Return what an array, or the OME-Zarr image that it is of, says its axes are; nothing where it does not."""
    named = getattr(node.metadata, "dimension_names", None)
    if named and all(named):
        return [str(name) for name in named]
    parent = inner.strip("/").rpartition("/")[0]
    said = dict(getattr(zarr_node(path, parent), "attrs", {})) if inner.strip("/") else {}
    try:
        return [str(axis["name"]) for axis in said.get("ome", said)["multiscales"][0]["axes"]]
    except (KeyError, TypeError, IndexError):
        return []
