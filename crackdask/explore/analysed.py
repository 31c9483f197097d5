"""What the analysis makes of a store's tables, worked out once, in a process of its own that gives its memory back.

The damage of 600 000 particles takes some seconds and 0.7 GiB, most of it for what is not kept.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from threading import Lock
from typing import Any

import numpy as np

from crackdask.analysis.change_errors import error_of_change
from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.storage.locations import Place


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

        A column of the changes is of those since the state before; with "@" and a number behind it, since that state.

        Raises
        ------
        AnalysisError
            If the analysis cannot make it; the message says why.
        """
        group, _, name = key.partition(".")
        parts = self._whole(group)
        name, _, since = name.partition("@")
        if since:
            return parts["damage.labels"], self._since(parts, name, state, int(since))
        for name in (f"{key}.{state}", key):
            if name in parts:
                return parts[f"{group}.labels"], parts[name]
        return parts[f"{group}.labels"][:0], np.empty(0, np.float32)  # the first state has no change

    def _since(self, parts: Any, name: str, state: int, since: int) -> Array:
        """Return a column of the changes between two states, as `analyse.changes` makes them of states in a row."""
        if state == since:
            return np.full(parts["damage.labels"].size, np.nan, np.float32)
        change = parts[f"damage.damage.{state}"].astype(float) - parts[f"damage.damage.{since}"]
        if name == "change":
            return change.astype(np.float32)
        before, after = (parts[f"damage.scan_error.{k}"].astype(float) for k in (since, state))
        error = error_of_change(change, before, after, parts["damage.scale_error"].astype(float))
        if name == "standard_error":
            return error.astype(np.float32)
        z = np.divide(change, error, out=np.full(change.shape, np.nan), where=error > 0)
        return (z if name == "z" else np.abs(z) >= parts["changes.significance"]).astype(np.float32)

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
        command = [sys.executable, "-W", "ignore", "-m", "crackdask.explore.working_out", str(self._store)]
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
