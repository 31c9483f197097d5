"""The process that works out what the analysis makes of a store: `python -m crackdask.explore.working_out STORE`.

It writes arrays to its standard output, and ends. `analysed` starts it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask import analyse
from crackdask.analysis.damage import damage_of
from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.storage.locations import Place, place
from crackdask.store.open import open_store

if TYPE_CHECKING:
    import xarray as xr

#: Columns of each table that are kept.
COLUMNS = {
    "damage": ("damage", "standard_error", "severity_number", "core_grey", "radius_um", "scan_error", "scale_error"),
    "changes": ("change", "standard_error", "z", "significant"),
    "paths": ("path_number",),
}
_BRANCHES = ("level", "count", "share", "mean_change", "standard_error")


def work_out(store: Place) -> dict[str, Array]:
    """Return every column of the analysis, float32, by its key and, where states differ, the state's number."""
    parts: dict[str, Array] = {}
    try:
        damages = analyse.damage(open_store(store))
    except AnalysisError as error:
        return {f"{group}.reason": np.array(str(error)) for group in COLUMNS}
    _keep(parts, "damage", damages.assign(severity_number=analyse.classes(damages).severity_number), 0)
    try:
        _keep(parts, "changes", analyse.changes(damages), 1)
        parts["changes.significance"] = np.array(damage_of(damages, {})[1].significance)
    except AnalysisError as error:
        parts["changes.reason"] = np.array(str(error))
    try:
        tree = analyse.paths(damages)
        numbers = [int(path.replace("D", "1").replace("H", "0"), 2) for path in tree.path.values.tolist()]
        _keep(parts, "paths", tree.assign(path_number=("particle", np.array(numbers))), 0)
        parts["paths.tree"] = np.frombuffer(json.dumps(_plain(tree)).encode(), np.uint8)
    except AnalysisError as error:
        parts["paths.reason"] = np.array(str(error))
    return parts


def _keep(parts: dict[str, Array], group: str, table: xr.Dataset, first: int) -> None:
    parts[f"{group}.labels"] = table.particle.values.astype(np.uint32)
    for name in COLUMNS[group]:
        column = table[name]
        if "state" not in column.dims:
            parts[f"{group}.{name}"] = column.values.astype(np.float32)
            continue
        values = column.transpose("state", "particle").values.astype(np.float32)
        parts |= {f"{group}.{name}.{first + k}": row for k, row in enumerate(values)}


def _plain(tree: xr.Dataset) -> dict[str, Any]:
    numbers = {name: tree[name].values.astype(float).tolist() for name in _BRANCHES}
    told: dict[str, Any] = {name: [v if np.isfinite(v) else None for v in column] for name, column in numbers.items()}
    for name in ("branch", "before", "after", "path"):
        told[name] = tree[name].values.tolist()
    return told | {"labels": tree.particle.values.tolist()}


if __name__ == "__main__":
    np.savez(sys.stdout.buffer, **work_out(place(sys.argv[1])))  # type: ignore[arg-type]
