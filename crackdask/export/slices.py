"""Labels as TIFF slices."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from crackdask.export.properties import ExportError
from crackdask.grid import Box
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
    labels = tree["volumes"].to_dataset().label
    folders: list[Path] = []
    total = labels.sizes["state"] * labels.sizes["z"]
    for number, state in enumerate(labels.state.values):
        target = folder / "labels" / folder_name(str(state))
        if target in folders:  # such as "a b" and "a/b"
            target = target.with_name(f"{target.name}_{number}")
        target.mkdir(parents=True, exist_ok=True)
        step = labels.data.chunksize[1]
        for first in range(0, labels.sizes["z"], step):
            last = min(first + step, labels.sizes["z"])
            box = Box((first, 0, 0), (last, labels.sizes["y"], labels.sizes["x"]))
            slab = volume(path, "label", number).read(box).astype(np.uint16)
            for offset, page in enumerate(slab):
                tifffile.imwrite(target / f"slice_{first + offset:05d}.tif", page, compression="zlib")
            if progress:
                progress(number * labels.sizes["z"] + first + len(slab), total)
        folders.append(target)
    return folders


def folder_name(name: str) -> str:
    """Return a name as one that any disk takes.

    >>> folder_name("4.2 V/DC"), folder_name("..")
    ('4.2_V_DC', '_')
    """
    return re.sub(r"[^\w.+-]+", "_", name).strip(".") or "_"
