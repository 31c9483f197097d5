"""The record of the cell as a chart needs it: few enough rows, hours, and where each state lies in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.cell import cell_record
from crackdask.arrays import Array

if TYPE_CHECKING:
    import xarray as xr

_HOUR = 3600.0
_MOST = 4000  # rows that a chart draws


def told_cell(tree: xr.DataTree) -> dict[str, Any]:
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
    record = cell_record(tree)
    mass = record.attrs.get("active_mass_mg")
    factor, unit = (1000 / mass, "mAh/g") if mass else (1.0, "mAh")
    kept = few_rows(record.cell_voltage.values)
    columns = {
        "hours": record.time.values / _HOUR,
        "voltage": record.cell_voltage.values,
        "charge": factor * record.charge.values,
        "current": record.current.values,
    }
    states = [
        {
            "begin": _number(begin / _HOUR),
            "end": _number(end / _HOUR),
            "voltage": _number(voltage),
            "charge": _number(factor * charge),
            "reason": str(reason),
        }
        for begin, end, voltage, charge, reason in zip(
            *(record[f"scan_{name}"].values for name in ("begin", "end", "voltage", "charge")),
            record.link_reason.values,
            strict=True,
        )
    ]
    told = {name: [_number(value) for value in values[kept]] for name, values in columns.items()}
    start = str(record.attrs.get("start") or "")[:16].replace("T", " ")
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
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        part = values[first:last]
        if np.isfinite(part).any():
            rows += [first + int(np.nanargmin(part)), first + int(np.nanargmax(part))]
    return np.unique(rows)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
