"""The record of the cell as a chart needs it: few enough rows, hours, and where each state lies in it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.clocks import spoken_of
from crackdask.explore.columns import number
from crackdask.explore.tables import Tables

_HOUR = 3600.0
_MOST = 4000  # rows that a chart draws


def told_cell(tables: Tables) -> dict[str, Any]:
    """Return the record of the cell, for JSON.

    Returns
    -------
    dict
        `hours`, `voltage` (V), `charge` and `current` (mA), row by row; `unit` of the charge; `start`, when the record
        began, or ""; `states`: for each where it lies (`begin` and `end`, h; `voltage`, `charge`), null where it is
        linked to no moment, and `reason`, why it is linked or not.

    Raises
    ------
    AnalysisError
        If the store has no record.
    """
    if "electrochemistry" not in tables:
        raise AnalysisError("the store has no record of the cell: its recipe names no files of a cycler")
    facts = tables.attributes("electrochemistry")
    time, voltage, current, charge = (_of(tables, name) for name in ("time", "cell_voltage", "current", "charge"))
    mass = facts.get("active_mass_mg")
    factor, unit = (1000 / mass, "mAh/g") if mass else (1.0, "mAh")
    kept = few_rows(voltage)
    columns = {"hours": time / _HOUR, "voltage": voltage, "charge": factor * charge, "current": current}
    states = [
        {
            "begin": number(begin / _HOUR),
            "end": number(end / _HOUR),
            "voltage": number(measured),
            "charge": number(factor * put_in),
            "reason": str(reason),
        }
        for begin, end, measured, put_in, reason in zip(
            *(_of(tables, f"scan_{name}") for name in ("begin", "end", "voltage", "charge")),
            _of(tables, "link_reason"),
            strict=True,
        )
    ]
    told = {name: [number(value) for value in values[kept]] for name, values in columns.items()}
    start = spoken_of(str(facts.get("start") or ""))
    return {**told, "unit": unit, "start": start, "states": states}


def few_rows(values: Array, most: int = _MOST) -> Array:
    """Return the rows of a curve that a chart needs: the lowest and the highest of each of its parts, and both ends.

    >>> few_rows(np.array([0.0, 1, 9, 1, 0, -5, 0, 1]), most=4).tolist()
    [0, 2, 5, 7]
    """
    if values.size <= most:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, most // 2 + 1).astype(int)
    rows = [0, values.size - 1]
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        if np.isfinite(part).any():
            rows += [first + int(np.nanargmin(part)), first + int(np.nanargmax(part))]
    return np.unique(rows)


def _of(tables: Tables, name: str) -> Array:
    return np.asarray(tables.array(f"electrochemistry/{name}")[...])
