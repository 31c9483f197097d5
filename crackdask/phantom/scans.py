"""A phantom on disk: scans, true labels, truth and recipe, as a user would have them of a real experiment."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import xarray as xr

from crackdask.grid import Box
from crackdask.phantom.experiment import Phantom

SLAB = 48  # slices written at a time


def recipe(phantom: Phantom, name: str = "phantom") -> str:
    """Return the recipe that runs the written scans."""
    lines = ["[experiment]", f"name = {json.dumps(name)}", f"voxel_um = {phantom.voxel_um}"]
    for state in phantom.states:
        lines += [
            "", "[[states]]", f"name = {json.dumps(state.name)}", f"voltage = {state.voltage}",
            f'step = "{state.step}"', f"cycle = {state.cycle}", f'source = "scans/{state.folder}"',
        ]  # fmt: skip
    # Smooth convex particles: a neck is a neck, however shallow.
    lines += ["", "[labels]", "min_depth = 0.15"]
    return "\n".join(lines) + "\n"


def write(
    phantom: Phantom,
    folder: str | Path,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Path:
    """Write scans, true labels, truth and recipe; memory is bounded by slabs of slices.

    Parameters
    ----------
    phantom
        What to write.
    folder
        Made if missing. It gets `scans/STATE/slice_0000.tif` and on, `truth/labels/` alike,
        `truth/particles.parquet` (a row for each state and particle), `truth/transforms.csv`
        (the 4 x 4 matrices row by row) and `recipe.toml`.
    progress
        Called with slabs done and slabs in all.
    workers
        Threads.

    Returns
    -------
    Path
        Of the recipe.
    """
    folder = Path(folder)
    truth = phantom.truth()
    wide = np.uint16 if truth.sizes["particle"] < 2**16 else np.uint32

    def slab(state: int | None, first: int) -> None:
        nz, ny, nx = phantom.shape
        box = Box((first, 0, 0), (min(first + SLAB, nz), ny, nx))
        place = folder / ("truth/labels" if state is None else f"scans/{phantom.states[state].folder}")
        grey = phantom.labels(box).astype(wide) if state is None else phantom.scan(state, box)
        place.mkdir(parents=True, exist_ok=True)
        for k, image in enumerate(grey, start=first):
            tifffile.imwrite(place / f"slice_{k:04d}.tif", image)

    jobs = [
        (state, first) for state in (*range(len(phantom.states)), None) for first in range(0, phantom.shape[0], SLAB)
    ]
    with ThreadPoolExecutor(workers) as pool:
        for done, job in enumerate(as_completed([pool.submit(slab, *j) for j in jobs]), start=1):
            job.result()
            if progress:
                progress(done, len(jobs))
    _write_tables(truth, folder)
    path = folder / "recipe.toml"
    path.write_text(recipe(phantom), encoding="utf-8")
    return path


def write_truth(phantom: Phantom, folder: Path) -> None:
    """Write what is known of a phantom: labels of the reference, its particles in every state, and their motion."""
    truth = phantom.truth()
    wide = np.uint16 if truth.sizes["particle"] < 2**16 else np.uint32
    place = folder / "truth/labels"
    place.mkdir(parents=True, exist_ok=True)
    nz, ny, nx = phantom.shape
    for first in range(0, nz, SLAB):
        labels = phantom.labels(Box((first, 0, 0), (min(first + SLAB, nz), ny, nx)))
        for k, image in enumerate(labels.astype(wide), start=first):
            tifffile.imwrite(place / f"slice_{k:04d}.tif", image)
    _write_tables(truth, folder)


def _write_tables(truth: xr.Dataset, folder: Path) -> None:
    for axis in "zyx":
        truth[f"displacement_{axis}"] = truth["displacement"].sel(axis=axis, drop=True)
    table = truth.drop_dims(["row", "col", "axis"]).to_dataframe(dim_order=["state", "particle"])
    table.reset_index().to_parquet(folder / "truth/particles.parquet")
    matrices = truth["matrix"].values.reshape(-1, 16)
    columns = [f"m{row}{col}" for row in range(4) for col in range(4)]
    motion = pd.DataFrame(matrices, columns=columns, index=truth["state"].to_index())
    motion.to_csv(folder / "truth/transforms.csv", float_format="%.17g")
