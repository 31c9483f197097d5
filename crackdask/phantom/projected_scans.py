"""A projected phantom on disk: one NXtomo file a state, as a beamline writes them, the truth, and the recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py  # type: ignore[import-untyped, unused-ignore]
import numpy as np

from crackdask.phantom.projections import Projections
from crackdask.phantom.scans import recipe, write_truth

#: Rows of the detector that are projected at a time, and frames without sample or beam, before and after.
SLAB, REFERENCES = 16, 10


def write_projections(
    projected: Projections, folder: str | Path, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write projections, truth and recipe; memory is bounded by slabs of rows.

    Parameters
    ----------
    projected
        What to write.
    folder
        Made if missing. It gets `scans/STATE.nxs` (NXtomo: darks and flats, projections, flats and darks),
        `truth/` as :func:`crackdask.phantom.scans.write` does, and `recipe.toml`.
    progress
        Called with slabs done and slabs in all.

    Returns
    -------
    Path
        Of the recipe.
    """
    folder, phantom = Path(folder), projected.phantom
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    write_truth(phantom, folder)
    firsts = range(0, phantom.shape[0], SLAB)
    for number, state in enumerate(phantom.states):
        with h5py.File(folder / "scans" / f"{state.folder}.nxs", "w") as file:
            frames = _entry(file, projected)
            for moment, at in ((0.0, 0), (1.0, len(frames) - 2 * REFERENCES)):
                flats, darks = projected.references(number, moment, REFERENCES)
                before, after = (darks, flats) if moment == 0 else (flats, darks)
                frames[at : at + REFERENCES], frames[at + REFERENCES : at + 2 * REFERENCES] = before, after
            for slab, first in enumerate(firsts):
                end = min(first + SLAB, phantom.shape[0])
                counts = projected.counts(number, first, end).transpose(1, 0, 2)
                frames[2 * REFERENCES : 2 * REFERENCES + len(counts), first:end] = counts
                if progress:
                    progress(number * len(firsts) + slab + 1, len(firsts) * len(phantom.states))
    path = folder / "recipe.toml"
    path.write_text(_recipe(projected), encoding="utf-8")
    return path


def _entry(file: h5py.File, projected: Projections) -> h5py.Dataset:
    """Make the groups of an NXtomo entry, all but the frames' content, and return the frames."""
    projections, rows, columns = len(projected.degrees), projected.phantom.shape[0], projected.width
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs.update({"NX_class": "NXentry", "default": "data"})
    entry["definition"] = "NXtomo"
    detector = entry.create_group("instrument/detector")
    entry["instrument"].attrs["NX_class"] = "NXinstrument"
    detector.attrs["NX_class"] = "NXdetector"
    kinds = [2, 1, 0, 1, 2]
    counts = [REFERENCES, REFERENCES, projections, REFERENCES, REFERENCES]
    keys = np.repeat(np.array(kinds, np.uint8), counts)
    detector["image_key"] = keys
    frames = detector.create_dataset(
        "data", (len(keys), rows, columns), np.uint16, chunks=(min(16, len(keys)), min(SLAB, rows), columns)
    )
    degrees = np.array(projected.degrees)
    before, after = np.full(2 * REFERENCES, degrees[0]), np.full(2 * REFERENCES, degrees[-1])
    sample = entry.create_group("sample")
    sample.attrs["NX_class"] = "NXsample"
    sample["rotation_angle"] = np.concatenate([before, degrees, after])
    sample["rotation_angle"].attrs["units"] = "degrees"
    data = entry.create_group("data")
    data.attrs.update({"NX_class": "NXdata", "signal": "data"})
    for name, path in (("data", detector), ("image_key", detector), ("rotation_angle", sample)):
        data[name] = path[name]
    return frames


def _recipe(projected: Projections) -> str:
    """Return the recipe: that of the scans, with what reconstruction needs; the crop leaves air and holder out."""
    lines = recipe(projected.phantom).splitlines()
    for state in projected.phantom.states:
        lines = [
            line.replace(json.dumps(f"scans/{state.folder}"), json.dumps(f"scans/{state.folder}.nxs")) for line in lines
        ]
    lines += ["", "[reconstruct]"]
    if projected.clear is not None:
        lines += [f"angles = [{projected.clear[0]}, {projected.clear[1]}]"]
    lines += ["", "[crop]"]
    for axis, n in zip("yx", projected.phantom.shape[1:], strict=True):
        first = (projected.width - n) // 2
        lines += [f"{axis} = [{first}, {first + n}]"]
    return "\n".join(lines) + "\n"
