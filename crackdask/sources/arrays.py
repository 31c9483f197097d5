"""Zarr and numpy files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from crackdask.plan import Box
from crackdask.sources.base import Source, SourceError, checked, chosen, read_raw

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ZarrSource(Source):
    """An array of a Zarr store, format 2 or 3."""

    path: str
    thick: int

    @property
    def inner(self) -> str:
        """Path of the array within the store."""
        return self.path

    @property
    def slab(self) -> int:
        """Slices in a chunk, or in a shard where there are shards."""
        return self.thick

    def _files(self) -> Iterable[tuple[str, Path]]:
        root = Path(self.location)
        node = root / self.path.strip("/")
        return [(p.relative_to(root).as_posix(), p) for p in node.rglob("*") if p.is_file()]

    def _load(self, box: Box) -> NDArray[Any]:
        data = zarr_node(Path(self.location), self.path)
        voxels: NDArray[Any] = np.asarray(data[box.slices])
        return voxels


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def zarr_node(path: Path, inner: str) -> Any:
    """Return an array or group, or None."""
    try:
        return zarr.open(str(path), path=inner.strip("/"), mode="r")
    except (FileNotFoundError, zarr.errors.NodeNotFoundError):
        return None


def zarr_shapes(node: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all arrays with more than one axis."""
    members = sorted(node.members(max_depth=None)) if hasattr(node, "members") else []
    return {f"/{name}": item.shape for name, item in members if len(getattr(item, "shape", ())) > 1}


def open_zarr(path: Path, inner: str) -> ZarrSource:
    """Look at one array of a store."""
    root = zarr_node(path, "")
    if root is None and not inner:
        raise SourceError(f"{path}: found neither a Zarr array nor a group; is the copy complete?")
    node = zarr_node(path, inner) if inner else root
    if not hasattr(node, "chunks"):
        inner = chosen(path, inner, zarr_shapes(root) if root is not None else {})
        node = zarr_node(path, inner)
    shape, dtype = checked(f"{path}::{inner}" if inner else str(path), node.shape, node.dtype)
    thick = (node.shards or node.chunks)[0]
    return ZarrSource(shape, dtype, "zarr", str(path), f"/{inner.strip('/')}", thick)


@dataclass(frozen=True)
class NpySource(Source):
    """A numpy file."""

    offset: int
    stored: str
    fortran: bool

    def _load(self, box: Box) -> NDArray[Any]:
        stored = np.dtype(self.stored)
        if not self.fortran:
            return read_raw(self.location, self.offset, stored, self.shape, box)
        mapped = np.memmap(self.location, stored, "r", self.offset, self.shape, "F")
        return np.array(mapped[box.slices], self.dtype, order="C")


def open_npy(path: Path) -> NpySource:
    """Look at the header of a numpy file."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        found, fortran, stored = read(file)
        offset = file.tell()
    shape, dtype = checked(str(path), found, stored)
    wanted = offset + prod(shape) * dtype.itemsize
    if path.stat().st_size < wanted:
        raise SourceError(f"{path}: truncated, {path.stat().st_size} bytes of {wanted}; copy it again")
    return NpySource(shape, dtype, "npy", str(path), offset, stored.str, fortran)
