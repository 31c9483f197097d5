"""The parts of a scan of projections, wherever they lie: in its file, or in files and folders that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import h5py  # type: ignore[import-untyped, unused-ignore]
import numpy as np

from crackdask.sources.base import Source, SourceError, named
from crackdask.sources.completeness import Missing
from crackdask.sources.dxchange import dxchange_layout
from crackdask.sources.frames import DARK, FLAT, Run, runs_of
from crackdask.sources.hdf5 import HDF5, hdf5_file, open_hdf5
from crackdask.sources.number_lists import Numbers, file_numbers, hdf5_numbers, located
from crackdask.sources.nxtomo import Layout, nxtomo_layout
from crackdask.sources.opening import open_source
from crackdask.sources.tiff import TIFF, open_image
from crackdask.storage.locations import Place

#: What of a scan a folder of frames may hold under these names.
_ANGLE_FILES = ("angles.txt", "angles.csv", "angles.npy")
AUTO = "auto"
NONE = "none"


class ProjectionKeys(Protocol):
    """What a recipe says of projections; its section [reconstruct] has these."""

    @property
    def angles(self) -> Literal["all"] | tuple[float, float]:
        """Degrees that are kept."""

    @property
    def rows(self) -> tuple[int, int] | None:
        """Detector rows [first, end)."""

    @property
    def stored(self) -> str:
        """Type of the voxels of the tomogram to come."""

    @property
    def data(self) -> str:
        """Path of the frames, or "auto"."""

    @property
    def image_key(self) -> str:
        """Path of the kinds of the frames, or "auto"."""

    @property
    def rotation_angle(self) -> str | tuple[float, ...]:
        """Path of the angles, "auto", or angles in degrees."""

    @property
    def flats(self) -> str | tuple[str, str]:
        """Path of the flats, or two for before and after, "auto", or "none"."""

    @property
    def darks(self) -> str | tuple[str, str]:
        """The same for darks."""

    @property
    def ignore_flats(self) -> tuple[Run, ...]:
        """Numbers [first, end) of flats that are left out."""

    @property
    def ignore_darks(self) -> tuple[Run, ...]:
        """Numbers [first, end) of darks that are left out."""


@dataclass(frozen=True)
class Home:
    """Where a scan lies: a file or folder, the path within it, and the folder of the recipe."""

    path: Place
    inner: str
    base: Path
    missing: Missing = "refuse"

    @property
    def is_hdf5(self) -> bool:
        """Whether the scan is in an HDF5 file."""
        with named(str(self.path)):
            return self.path.suffix.lower() in HDF5 and self.path.is_file()

    @property
    def near(self) -> tuple[Place, ...]:
        """Where a relative path may begin: in the scan's folder, beside the scan, beside the recipe."""
        with named(str(self.path)):
            within = (self.path,) if self.path.is_dir() else ()
        return (*within, self.path.parent, self.base)

    def holds(self, name: str) -> bool:
        """Tell whether the scan's file has a dataset of this path."""
        if not self.is_hdf5 or not name:
            return False
        with named(str(self.path)), hdf5_file(self.path) as file:
            return isinstance(file.get(name), h5py.Dataset)

    def numbers(self, name: str, key: str) -> Numbers:
        """Return one number a frame from the scan's file, or from another."""
        if self.holds(name):
            return hdf5_numbers(self.path, name)
        outer, _, inner = name.partition("::")
        path = located(outer, self.near, key)
        if path.suffix.lower() not in HDF5:
            return file_numbers(path)
        if not inner:
            raise SourceError(f"[reconstruct] {key}: {path} may hold many lists of numbers; name one as {outer}::PATH")
        with named(str(path)), hdf5_file(path) as file:
            if not isinstance(file.get(inner), h5py.Dataset):
                raise SourceError(f"[reconstruct] {key}: {path} has no dataset {inner}; correct the path")
        return hdf5_numbers(path, inner)

    def frames(self, name: str, key: str) -> tuple[Source, tuple[Run, ...]]:
        """Return a stack from the scan's file, or from another file or folder, and which frames of it are meant."""
        one = key in ("flats", "darks")  # they may have been averaged
        if self.holds(name):
            stack: Source = open_hdf5(self.path, name, self.missing, may_be_one=one, projected=True)
            return stack, ((0, stack.shape[0]),)
        outer, _, inner = name.partition("::")
        path = located(outer, self.near, key)
        with named(str(path)):
            if path.suffix.lower() in HDF5 and not inner and (found := _marked(path, key, self.missing)):
                return found
            if path.suffix.lower() in HDF5 and inner and one:
                stack = open_hdf5(path, inner, self.missing, may_be_one=True, projected=True)
            else:
                stack = (_single(path) if not inner else None) or open_source(
                    f"{path}::{inner}" if inner else str(path), self.base, self.missing
                )
        return stack, ((0, stack.shape[0]),)

    def angle_file(self) -> str:
        """Return the file of angles that a folder of frames has, or nothing."""
        with named(str(self.path)):
            if not self.path.is_dir():
                return ""
            return next((name for name in _ANGLE_FILES if (self.path / name).is_file()), "")

    def folder(self, key: str) -> str:
        """Return the folder or stack of flats or darks that lies in a folder of frames or beside it, or nothing."""
        for near in self.near[:-1]:
            for name in (key, *(f"{key}{suffix}" for suffix in TIFF)):
                with named(str(near / name)):
                    if (near / name).exists():
                        return str(near / name)
        return ""


def layout_of(home: Home, keys: ProjectionKeys) -> Layout | None:
    """Return where in its file a scan of projections has its parts, or None if it is none."""
    with named(str(home.path)), hdf5_file(home.path) as file:
        layout = nxtomo_layout(file, str(home.path), home.inner) or dxchange_layout(file, home.inner)
        if layout:
            return layout
        data = home.inner or ("" if keys.data == AUTO else keys.data)
        if keys.rotation_angle != AUTO and isinstance(file.get(data or "/"), h5py.Dataset):
            return Layout("HDF5", "", data)
    return None


def _single(path: Place) -> Source | None:
    """Return a file, or folder, of a single TIFF image as a stack of one."""
    images: Sequence[Place] = [path]
    if path.is_dir():
        images = [p for p in path.iterdir() if p.suffix.lower() in TIFF and not p.name.startswith(".")]
    return open_image(images[0]) if len(images) == 1 and images[0].suffix.lower() in TIFF else None


def _marked(path: Place, key: str, missing: Missing) -> tuple[Source, tuple[Run, ...]] | None:
    """Return what another file with a scan in it has of flats or darks."""
    if key not in ("flats", "darks"):
        return None
    with hdf5_file(path) as file:
        layout = nxtomo_layout(file, str(path), "") or dxchange_layout(file, "")
    if layout is None:
        return None
    inside = layout.flats if key == "flats" else layout.darks
    if inside:
        stack = open_hdf5(path, inside, missing, may_be_one=True, projected=True)
        return stack, ((0, stack.shape[0]),)
    if layout.image_key and layout.data:
        stack = open_hdf5(path, layout.data, missing, projected=True)
        numbers = np.flatnonzero(hdf5_numbers(path, layout.image_key).values == (FLAT if key == "flats" else DARK))
        if len(numbers):
            return stack, runs_of(numbers)
    raise SourceError(f"[reconstruct] {key}: {path} holds a scan without {key}; name another file, or file::PATH")
