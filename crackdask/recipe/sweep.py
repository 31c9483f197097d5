"""Values of a key of the recipe that are to be tried, as a command line gives them and as a recipe writes them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crackdask.recipe.recipe import RecipeError

#: Sections whose keys decide what is in a picture.
SECTIONS = ("reconstruct", "register", "grey", "denoise", "mask", "labels", "transfer")


@dataclass(frozen=True)
class Sweep:
    """A key of the recipe, such as ("labels", "min_depth"), and the values that are tried."""

    section: str
    key: str
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The key as it is written on a command line."""
        return f"{self.section}.{self.key}"

    @classmethod
    def parsed(cls, text: str) -> Sweep:
        """Return what `SECTION.KEY=a,b,c` says.

        >>> Sweep.parsed("labels.min_depth=0.3,0.5,1").values, Sweep.parsed("denoise.method=nlm,median").values
        ((0.3, 0.5, 1), ('nlm', 'median'))
        >>> Sweep.parsed("grey.window=[0,100],[10,90]").values
        ([0, 100], [10, 90])

        Raises
        ------
        RecipeError
            If it says nothing of the kind.
        """
        name, mark, listed = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (mark and dot and key and listed.strip()):
            raise RecipeError(f"--set {text}: wanted SECTION.KEY=VALUE,VALUE, such as labels.min_depth=0.3,0.5,1")
        if section not in SECTIONS:
            raise RecipeError(
                f"--set {text}: no section {section!r} decides a picture; there are {', '.join(SECTIONS)}"
            )
        values = tuple(_values(listed))
        if "" in values and '"' not in listed and "'" not in listed:
            raise RecipeError(f"--set {text}: a value is empty; leave out the comma that is too many")
        if len({repr(value) for value in values}) < len(values):
            raise RecipeError(f"--set {text}: one value stands there twice; leave one out")
        return cls(section, key, values)


def _values(listed: str) -> list[Any]:
    """Return the values of a list, written as in a recipe; words may go without quotes."""
    try:
        return list(tomllib.loads(f"v = [{listed}]")["v"])
    except tomllib.TOMLDecodeError:
        return [_value(word.strip()) for word in listed.split(",")]


def _value(word: str) -> Any:
    try:
        return tomllib.loads(f"v = {word}")["v"]
    except tomllib.TOMLDecodeError:
        return word


def toml_value(value: Any) -> str:
    """Return a value as a recipe writes it.

    >>> toml_value(0.5), toml_value("auto"), toml_value([1, 2]), toml_value(True), toml_value(datetime(2026, 3, 1))
    ('0.5', '"auto"', '[1, 2]', 'true', '2026-03-01T00:00:00')
    """
    if isinstance(value, Mapping):
        raise RecipeError("tables cannot be tried")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON leaves as it is
