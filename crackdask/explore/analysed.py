"""What the analysis makes of a store's tables, worked out once, in a process of its own that gives its memory back.

The damage of 600 000 particles takes some seconds and 0.7 GiB, most of it for what is not kept.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.storage.locations import Place, place
from crackdask.store.open import open_store

if TYPE_CHECKING:
    import xarray as xr

#: Columns of each table that are kept.
COLUMNS = {
    "damage": ("damage", "standard_error", "severity_number", "core_grey", "radius_um"),
    "changes": ("change", "standard_error", "z", "significant"),
    "paths": ("path_number",),
}
_BRANCHES = ("level", "count", "share", "mean_change", "standard_error")


class Analysed:
    """The columns that the analysis makes of a finished store.

    Parameters
    ----------
    store
        The store.
    """

    def __init__(self, store: Place) -> None:
        self._store = store
        self._lock = Lock()
        self._parts: Any = None
        self._at_work: subprocess.Popen[bytes] | None = None

    def column(self, key: str, state: int) -> tuple[Array, Array]:
        """Return the labels that have a value of a column in a state, and the values.

        Raises
        ------
        AnalysisError
            If the analysis cannot make it; the message says why.
        """
        group = key.partition(".")[0]
        parts = self._whole(group)
        for name in (f"{key}.{state}", key):
            if name in parts:
                return parts[f"{group}.labels"], parts[name]
        return parts[f"{group}.labels"][:0], np.empty(0, np.float32)  # the first state has no change

    @property
    def tree(self) -> dict[str, Any]:
        """The tree of damaged and healed: its branches, its transitions, and the labels and paths of its particles.

        Raises
        ------
        AnalysisError
            If the states of the store make none.
        """
        return dict(json.loads(bytes(self._whole("paths")["paths.tree"])))

    def close(self) -> None:
        """End the process, if it is at work."""
        if self._at_work is not None:
            self._at_work.kill()

    def _whole(self, group: str) -> Any:
        with self._lock:
            if self._parts is None:
                self._parts = np.load(io.BytesIO(self._worked_out()), allow_pickle=False)
        if f"{group}.reason" in self._parts:
            raise AnalysisError(str(self._parts[f"{group}.reason"]))
        return self._parts

    def _worked_out(self) -> bytes:
        command = [sys.executable, "-W", "ignore", "-m", "crackdask.explore.analysed", str(self._store)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as process:  # a session of its own: Ctrl-C is for the server
            self._at_work = process
            made, said = process.communicate()
        self._at_work = None
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise AnalysisError(f"the damage could not be worked out: {' '.join(last) or process.returncode}")
        return made


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
