"""Which particles are chosen, and in which order: conditions on columns, a sorted table a page at a time, and CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Array
from crackdask.explore.columns import Columns

#: Conditions that are taken at once, and rows of CSV that are made at once.
_MOST, _ROWS = 32, 20_000


class SelectionError(ValueError):
    """A selection that makes no sense; the message says why."""


@dataclass(frozen=True)
class Condition:
    """A column that is to lie within limits in a state; an open end has no limit."""

    column: str
    state: int
    low: float
    high: float


def conditions(text: str, columns: Columns, states: int) -> tuple[Condition, ...]:
    """Return the conditions of a request: a JSON list of [column, state, lowest or null, highest or null].

    Raises
    ------
    SelectionError
        If it is none.
    """
    try:
        made = tuple(_condition(*each) for each in json.loads(text or "[]"))
    except (ValueError, TypeError) as error:
        raise SelectionError("conditions are a JSON list of [column, state, lowest, highest]") from error
    for each in made:
        if each.column not in columns.known:
            raise SelectionError(f"there is no column {each.column!r}")
        if not 0 <= each.state < states:
            raise SelectionError(f"there is no state {each.state}; states are numbered 0 to {states - 1}")
    if len(made) > _MOST:
        raise SelectionError(f"{len(made)} conditions; at most {_MOST} are taken")
    return made


def _condition(column: object, state: object, low: float | None, high: float | None) -> Condition:
    if not isinstance(column, str) or not isinstance(state, int):
        raise TypeError
    return Condition(column, state, -np.inf if low is None else float(low), np.inf if high is None else float(high))


def chosen(columns: Columns, where: Sequence[Condition]) -> Array:
    """Tell which labels meet all conditions: bool, its place is the label. Where there is no value, none is met."""
    kept = np.ones(columns.count + 1, bool)
    kept[0] = False
    for each in where:
        values = columns.values(each.column, each.state)
        with np.errstate(invalid="ignore"):
            kept &= (values >= np.float32(each.low)) & (values <= np.float32(each.high))
    return kept


def ordered(columns: Columns, labels: Array, by: str, state: int, *, descending: bool) -> Array:
    """Return labels sorted by a column (or by "label"); equals in the order of labels, those without a value last."""
    if by == "label":
        return labels[::-1] if descending else labels
    values = columns.values(by, state)[labels].astype(float)
    return labels[np.argsort(-values if descending else values, kind="stable")]


def as_csv(columns: Columns, labels: Array, states: Mapping[int, str], keys: Sequence[str]) -> Iterator[str]:
    """Yield a table of labels as CSV: a row for each in each of some states (names by number), with some columns."""
    import pandas as pd  # not before somebody saves something: it is large

    from crackdask.spreadsheet import text_cells

    header = True
    for number, name in states.items():
        for first in range(0, len(labels), _ROWS):
            rows = labels[first : first + _ROWS]
            table = pd.DataFrame({"particle": rows, "state": name})
            for key in keys:
                table[key] = columns.values(key, number)[rows]
            text = io.StringIO()
            text_cells(table).to_csv(text, index=False, header=header)
            header = False
            yield text.getvalue()
