"""What is wrong with a recipe or a site file, in the user's words: one line for each key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crackdask.recipe.site import SITE_ONLY
from crackdask.shown import shown


def refusal(where: str, lines: Sequence[str]) -> str:
    """Say how many mistakes there are, and each on a line of its own.

    >>> print(refusal("a.toml", ["grey: unknown key"]))
    a.toml: 1 mistake
      grey: unknown key
    """
    count = f"{len(lines)} mistake{'s' * (len(lines) > 1)}"
    return "\n".join([f"{where}: {count}", *(f"  {line}" for line in lines)])


def complaints(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return one line for each key that is wrong; where a key may be of several kinds, all are named."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_key.setdefault(_key(detail["loc"], root), []).append(detail)
    lines = []
    for key, several in by_key.items():
        inner = any(other.startswith(f"{key}[") for other in by_key)
        if inner and all(detail["type"] in ("too_short", "literal_error") for detail in several):
            continue  # said more precisely of an item
        said = list(dict.fromkeys(_wanted(detail, root) for detail in several))
        if len(several) > 1:
            said = [words.partition(", not ")[0].partition(", found ")[0] for words in said]
            said = [" or ".join([said[0], *(words.removeprefix("should be ") for words in said[1:])])]
            said[0] += f", found {shown(several[0]['input'])}"
        lines += [f"{key}: {words}" for words in said]
    return lines


_KINDS = {
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "bool_type": "should be true or false",
    "string_type": "should be text in quotes",
    "finite_number": "should be a finite number",
    "model_type": "should be a section with keys",
    "string_too_short": "should not be empty",
    "tuple_type": "should be a list",
}


def _wanted(detail: ErrorDetails, root: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        if detail["loc"][:-1] == ("cluster",) and detail["loc"][-1] in SITE_ONLY:
            return "stands in a file of your own (--cluster-config), never in a recipe, which others may have written"
        return f"unknown key; {_known(detail['loc'], root)}"
    if kind == "missing":
        return "missing"
    if kind == "too_short":
        return "there are none; wanted at least one"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    return f"{_KINDS.get(kind) or detail['msg'].removeprefix('Input ')}, found {shown(detail['input'])}"


def _key(path: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """Return the path of a key as `states[1].voltage`; what pydantic adds for the kinds of a value is left out."""
    text, model = "", cast("type[BaseModel] | None", root)
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif model is not None:
            text += f".{part}" if text else part
            model = _section(model, part)
    return text


def _known(path: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """Name the keys that are known where an unknown one was found."""
    model = root
    for part in path[:-1]:
        if isinstance(part, str):
            model = _section(model, part) or model
    names = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), names, 1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names) or 'none'}"


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of a section or of a list of tables, or None for a key that holds a value."""
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            kinds = get_args(field.annotation) or (field.annotation,)  # a list of tables, or a section or none
            return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return None
