"""A first recipe for some scans: what their files tell, and blanks for what only the experimenter knows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from crackdask.sources import suggest
from crackdask.storage.locations import Place


def draft(scans: Sequence[Place], base: Path) -> str:
    """Return the text of a recipe for scans, in the order given.

    Parameters
    ----------
    scans
        Scans or folders of scans.
    base
        Folder of the recipe; sources are written relative to it.

    Raises
    ------
    SourceError
        If one of them is no scan.
    """
    drafted = [entry for path in scans for entry in suggest(path)]
    sizes = [entry["voxel_um"] for entry in drafted if entry["voxel_um"] is not None]
    voxel, note = (sizes[0], "from the scan's metadata") if sizes else (1.0, "the files do not tell: fill in")
    value = json.dumps(list(voxel) if isinstance(voxel, tuple) else voxel)
    if len(set(sizes)) > 1:
        note += f", and others say otherwise: {', '.join(str(size) for size in dict.fromkeys(sizes))}"
    lines = [
        "[experiment]",
        f"name = {json.dumps(base.name or 'experiment')}",
        f"voxel_um = {value}  # {note}; one number or [z, y, x]",
    ]
    names: list[str] = []
    for number, entry in enumerate(drafted):
        name = entry["name"] if entry["name"] not in names else f"{entry['name']} {number + 1}"
        names.append(name)
        path, mark, inner = str(entry["source"]).partition("::")
        shape = " x ".join(map(str, entry["shape"]))
        lines += [
            "",
            f"[[states]]  # {shape} voxels, {entry['dtype']}",
            f"name = {json.dumps(name)}",
            f"voltage = {3.0 if number == 0 else 4.2}  # V vs Li/Li+: fill in",
            f'step = "{"pristine" if number == 0 else "charge"}"  # pristine, charge, discharge or aged',
            "cycle = 0",
            f"source = {json.dumps((path if '://' in path else os.path.relpath(path, base)) + mark + inner)}",
        ]
        if entry["unwritten"]:
            lines.append(
                f'# missing = "fill"  # if the {entry["unwritten"]} that are not there hold the fill value alone'
            )
    lines += ["", "# Every other section is optional: see the README.", ""]
    return "\n".join(lines)
