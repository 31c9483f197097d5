"""Results for other tools: the particle table as CSV and Parquet, labels as TIFF slices."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import xarray as xr

from crackdask.opening import open_store
from crackdask.places import Place
from crackdask.plan import Box
from crackdask.schema import PARTICLES
from crackdask.store import volume

SIXTEEN_BITS = 65_535


class ExportError(ValueError):
    """What was asked for cannot be written; the message says why and the way out."""


def particle_frame(path: Place) -> pd.DataFrame:
    """Return the particle table of all states, one row for each state and particle."""
    table = _table(path)
    frame = table.to_dataframe(dim_order=["state", "particle"]).reset_index()
    return frame[["state", "voltage", "step", "cycle", "particle", *PARTICLES]]


def _table(path: Place) -> xr.Dataset:
    tree = open_store(path)
    if "particles" not in tree.children:
        raise ExportError(f"{path} has no particle table yet; `crackdask run RECIPE --store {path}` finishes it")
    table = tree["particles"].to_dataset().load()
    return table.assign_coords(
        {name: ("state", [str(value) for value in table[name].values]) for name in ("state", "step")}
    )


def export_table(path: Place, folder: Path, formats: tuple[str, ...] = ("csv", "parquet")) -> list[Path]:
    """Write the particle table; units stand in the names of the columns.

    Parameters
    ----------
    path
        The store.
    folder
        Where to write ``particles.csv`` and ``particles.parquet``.
    formats
        "csv", "parquet" or both.
    """
    frame = particle_frame(path)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in formats:
        file = folder / f"particles.{kind}"
        if kind == "csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)
        written.append(file)
    return written


def export_labels(path: Place, folder: Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write the labels of every state as 16-bit TIFF slices, ``labels/STATE/slice_00000.tif``.

    Raises
    ------
    ExportError
        If there are more particles than 16 bits can number.
    StoreError
        If the labels are damaged on the disk.
    """
    largest = int(_table(path).sizes["particle"])
    if largest > SIXTEEN_BITS:
        raise ExportError(
            f"{largest} labels do not fit into 16 bits (at most {SIXTEEN_BITS}): larger ids would turn into other "
            "particles; read `label` from the store (`crackdask.open`), which has 32 bits, or crop the experiment"
        )
    labels = open_store(path)["volumes"].to_dataset().label
    folders: list[Path] = []
    total = labels.sizes["state"] * labels.sizes["z"]
    for number, state in enumerate(labels.state.values):
        target = folder / "labels" / _folder_name(str(state))
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


def _folder_name(state: str) -> str:
    """Return a state's name as one that any disk takes.

    >>> _folder_name("4.2 V/DC"), _folder_name("..")
    ('4.2_V_DC', '_')
    """
    return re.sub(r"[^\w.+-]+", "_", state).strip(".") or "_"
