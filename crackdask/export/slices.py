"""Labels, and tomograms that are kept, as TIFF slices."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from crackdask.export.properties import ExportError
from crackdask.grid import Box
from crackdask.schema import KEPT_TOMOGRAMS, TOMOGRAMS
from crackdask.storage.locations import Place
from crackdask.store.open import open_store
from crackdask.store.volumes import volume

SIXTEEN_BITS = 65_535


def export_labels(path: Place, folder: Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write the labels of every state as 16-bit TIFF slices, ``labels/STATE/slice_00000.tif``.

    Raises
    ------
    ExportError
        If there are no particles yet, or more than 16 bits can number.
    StoreError
        If the labels are damaged on the disk.
    """
    tree = open_store(path)
    if "particles" not in tree.children:
        raise ExportError(f"{path} has no particle table yet; `crackdask run RECIPE --store {path}` finishes it")
    largest = int(tree["particles"].sizes["particle"])
    if largest > SIXTEEN_BITS:
        raise ExportError(
            f"{largest} labels do not fit into 16 bits (at most {SIXTEEN_BITS}): larger ids would turn into other "
            "particles; read `label` from the store (`crackdask.open`), which has 32 bits, or crop the experiment"
        )
    return _written(path, "label", tree["volumes"].to_dataset().label, folder / "labels", np.uint16, progress)


def export_tomograms(path: Place, folder: Path) -> list[Path]:
    """Write the tomograms that a store keeps as 32-bit TIFF slices, ``tomograms/STATE/slice_00000.tif``.

    Raises
    ------
    ExportError
        If the store keeps none.
    StoreError
        If they are damaged on the disk.
    """
    tree = open_store(path)
    if TOMOGRAMS not in tree.children:
        raise ExportError(
            f'{path} keeps no tomograms; [reconstruct] keep = "float16" in the recipe of a run from projections does'
        )
    kept = tree[TOMOGRAMS].to_dataset().attenuation
    return _written(path, KEPT_TOMOGRAMS, kept, folder / TOMOGRAMS, np.float32)


def _written(
    path: Place,
    name: str,
    voxels: xr.DataArray,
    folder: Path,
    dtype: type[np.generic],
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a volume slice by slice, a folder for each state, as numbers of some type."""
    folders: list[Path] = []
    slices = voxels.sizes["z"]
    for number, state in enumerate(voxels.state.values):
        target = folder / folder_name(str(state))
        if target in folders:  # such as "a b" and "a/b"
            target = target.with_name(f"{target.name}_{number}")
        target.mkdir(parents=True, exist_ok=True)
        step = voxels.data.chunksize[1]
        for first in range(0, slices, step):
            box = Box((first, 0, 0), (min(first + step, slices), voxels.sizes["y"], voxels.sizes["x"]))
            slab = volume(path, name, number).read(box).astype(dtype)
            for offset, page in enumerate(slab):
                tifffile.imwrite(target / f"slice_{first + offset:05d}.tif", page, compression="zlib")
            if progress:
                progress(number * slices + first + len(slab), voxels.sizes["state"] * slices)
        folders.append(target)
    return folders


def folder_name(name: str) -> str:
    """Return a name as one that any disk takes.

    >>> folder_name("4.2 V/DC"), folder_name("..")
    ('4.2_V_DC', '_')
    """
    return re.sub(r"[^\w.+-]+", "_", name).strip(".") or "_"
