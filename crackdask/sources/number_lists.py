"""One number a frame: angles and keys, from a dataset, a text file, a .npy file, or the recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crackdask.sources.base import SourceError, named, refuse_no_file
from crackdask.sources.hdf5 import hdf5_file, opened_dataset, other_files, text_of, unwritten_parts
from crackdask.storage.locations import Place, at_home, mapped, opened, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What units of angles are called, each with its size in degrees.
_ANGLES = {
    "": 1.0, "deg": 1.0, "degs": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0,
    "rad": 180 / np.pi, "rads": 180 / np.pi, "radian": 180 / np.pi, "radians": 180 / np.pi,
    "mrad": 0.18 / np.pi, "milliradian": 0.18 / np.pi, "milliradians": 0.18 / np.pi,
}  # fmt: skip
#: Names of the column of a table that holds angles.
_COLUMNS = ("angle", "angles", "theta", "rotation_angle", "degrees", "image_key")
_LONGEST_TEXT = 2**28


@dataclass(frozen=True)
class Numbers:
    """Numbers, where they stand (for messages), their units, and the files that hold them."""

    values: NDArray[np.float64]
    where: str
    units: str = ""
    files: tuple[str, ...] = ()

    @property
    def degrees(self) -> NDArray[np.float64]:
        """The numbers as angles in degrees."""
        factor = _ANGLES.get(self.units.strip().lower())
        if factor is None:
            raise SourceError(
                f"{self.where}: angles in units of {self.units!r}, wanted degrees or radians; correct the attribute "
                "units, or give rotation_angle as a list or a text file of degrees"
            )
        return self.values * factor


def hdf5_numbers(path: Place, inner: str) -> Numbers:
    """Return a 1-D dataset of a file.

    Raises
    ------
    SourceError
        If it is of another shape, holds no numbers, or was never written.
    """
    where = f"{path}::{inner}"
    with named(where), hdf5_file(path) as file:
        data = opened_dataset(file, inner)
        if len([n for n in data.shape or () if n != 1]) > 1 or data.dtype.kind not in "iuf" or data.shape is None:
            raise SourceError(f"{where}: found shape {data.shape} of {data.dtype}, wanted one number a frame")
        files = (str(path), *other_files(path, data))
        unwritten_parts(where, data, "refuse")
        units = data.attrs.get("units", b"")
        values = np.asarray(data[()], np.float64).ravel()
    return Numbers(values, where, text_of(units), files)


def file_numbers(path: Place) -> Numbers:
    """Return the numbers of a .npy file, or of a text file with one a line.

    A text file may have comments (#) and a heading, and several columns if one is named as what is wanted.
    """
    refuse_no_file(path)
    with named(str(path)):
        if path.suffix.lower() == ".npy":
            values = np.array(mapped(path))
            if values.dtype.kind not in "iuf" or len([n for n in values.shape if n != 1]) > 1:
                raise SourceError(f"{path}: found shape {values.shape} of {values.dtype}, wanted one number a frame")
            return Numbers(values.astype(np.float64).ravel(), str(path), files=(str(path),))
        with opened(path) as file:
            words = file.read(_LONGEST_TEXT)
        try:
            text = words.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise SourceError(f"{path}: is no plain text (UTF-8) of one number a line; save it again") from None
    return Numbers(_parsed(text, str(path)), str(path), files=(str(path),))


def _parsed(text: str, where: str) -> NDArray[np.float64]:
    """Return one number a line of a text."""
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    fields = [(number, [f for f in re.split(r"[,;\s]+", line) if f]) for number, line in lines if line]
    column = 0
    if fields and not _is_number(fields[0][1][0]):
        heading = [name.strip("\"'").lower() for name in fields.pop(0)[1]]
        column = next((heading.index(name) for name in _COLUMNS if name in heading), 0 if len(heading) == 1 else -1)
    elif fields and len(fields[0][1]) > 1:
        column = -1
    if column < 0:
        raise SourceError(
            f"{where}: found several columns, wanted one number a line, with a point before decimals, or a heading "
            f"that names one of them {', '.join(_COLUMNS)}"
        )
    values = np.empty(len(fields))
    for place_, (number, parts) in enumerate(fields):
        if column >= len(parts) or not _is_number(parts[column]):
            raise SourceError(f"{where}: line {number} is {' '.join(parts)[:40]!r}, wanted a number")
        values[place_] = float(parts[column])
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def located(name: str, near: Sequence[Place], key: str) -> Place:
    """Return the file or folder that a recipe names, which may lie beside the scan or beside the recipe.

    Raises
    ------
    SourceError
        If it is at none of these places.
    """
    outright = place(name)
    if isinstance(outright, Path):
        outright = at_home(outright)
    absolute = not isinstance(outright, Path) or outright.is_absolute()
    found = [outright] if absolute else [home / name for home in near]
    for candidate in found:
        with named(str(candidate)):
            if candidate.exists():
                return candidate
    looked = ", ".join(dict.fromkeys(str(candidate) for candidate in found))
    raise SourceError(f"[reconstruct] {key}: no such file or folder {name!r} (looked for {looked}); correct the path")
