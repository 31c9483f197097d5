"""A first recipe for some scans: what their files tell, and blanks for what only the experimenter knows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crackdask.recipe.recipe import RecipeError
from crackdask.recipe.sweep import toml_value
from crackdask.sources import suggest
from crackdask.sources.projections import Projections
from crackdask.sources.state_hints import Hint
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.storage.locations import Place

#: What a recipe needs of each state.
_NEEDED = {"voltage": "V vs Li/Li+", "step": "pristine, charge, discharge or aged"}
#: From 0 to 180 degrees the last projection may be left out.
_HALF_TURN = 178.0


@dataclass(frozen=True)
class Draft:
    """The text of a recipe, and the keys that it leaves open, each as often as it does."""

    text: str
    open_keys: tuple[str, ...]


def draft(scans: Sequence[Place], base: Path) -> Draft:
    """Return a recipe for scans, in the order given.

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
    RecipeError
        If the name of one cannot be written.
    """
    drafted = [entry for path in scans for entry in suggest(path, ReconstructParams())]
    sizes = [entry["voxel_um"] for entry in drafted if entry["voxel_um"] is not None]
    lines = ["[experiment]", f"name = {toml_value(_seen(base.name) or 'experiment')}", _voxel_um(sizes)]
    names: list[str] = []
    for number, entry in enumerate(drafted):
        name = _seen(entry["name"])
        name = name if name not in names else f"{name} {number + 1}"
        names.append(name)
        path, mark, inner = str(entry["source"]).partition("::")
        shape = " x ".join(map(str, entry["shape"]))
        lines += [
            "",
            f"[[states]]  # {shape} voxels, {_made_of(entry)}",
            f"name = {toml_value(name)}",
            *(
                _known(key, entry["hints"][key], words) if key in entry["hints"] else f"# {key} =   # {words}: fill in"
                for key, words in _NEEDED.items()
            ),
            _known("cycle", entry["hints"]["cycle"]) if "cycle" in entry["hints"] else "cycle = 0",
            *([_known("time", entry["hints"]["time"])] if "time" in entry["hints"] else []),
            f"source = {toml_value(_writable(path if '://' in path else os.path.relpath(path, base)) + mark + inner)}",
        ]
        if entry["unwritten"]:
            lines.append(
                f'# missing = "fill"  # if the {entry["unwritten"]} that are not there hold the fill value alone'
            )
    projected = [entry["projections"] for entry in drafted if entry["projections"]]
    lines += _reconstruct(projected) if projected else []
    lines += ["", "# Every other section is optional: see the README.", ""]
    left = [key for entry in drafted for key in _NEEDED if key not in entry["hints"]]
    return Draft("\n".join(lines), (*left, *([] if sizes else ["voxel_um"])))


def _writable(path: str) -> str:
    """Return a path that can be written into a recipe; refuse one that is no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RecipeError(f"the name {path!a} is not UTF-8, in which recipes are written; rename it") from None
    return path


def _seen(name: str) -> str:
    """Return a name without letters that cannot be seen, which a recipe refuses in names.

    >>> _seen(f"4.2V{chr(9)}DC")
    '4.2V_DC'
    """
    return "".join(letter if letter.isprintable() else "_" for letter in name).strip()


def _voxel_um(sizes: Sequence[Any]) -> str:
    """Return the line of the voxel size, left open where no file tells it."""
    if not sizes:
        return "# voxel_um =   # um, one number or [z, y, x]: fill in, the files do not tell"
    value = toml_value(sizes[0])
    note = "from the scan's metadata"
    if len(set(sizes)) > 1:
        note += f", and others say otherwise: {', '.join(str(size) for size in dict.fromkeys(sizes))}"
    return f"voxel_um = {value}  # {note}; one number or [z, y, x]"


def _known(key: str, hint: Hint, words: str = "") -> str:
    """Return the line of a key of a state that its scan tells, with where that stands."""
    return f"{key} = {toml_value(hint.value)}  # {hint.origin}{'; ' if words else ''}{words}"


def _made_of(entry: Mapping[str, Any]) -> str:
    """Return the type of a tomogram, or what it is yet to be made of."""
    found = entry["projections"]
    return f"from {len(found.degrees)} projections" if found else str(entry["dtype"])


def _reconstruct(projected: Sequence[Projections]) -> list[str]:
    """Return the section that says how slices are made; without it projections are refused."""
    low, high = (round(end(end(each.degrees) for each in projected), 3) for end in (min, max))
    lines = ["", "[reconstruct]"]
    lines += [f"# note: {note}" for note in dict.fromkeys(note for each in projected for note in each.notes)]
    lines += [f"# angles = [{low}, {high}]  # degrees that are kept; leave out those where a holder is in the way"]
    if high - low < _HALF_TURN:
        lines += ["# center = 0.0  # detector column: fill in, for the angles cover less than half a turn"]
    return lines
