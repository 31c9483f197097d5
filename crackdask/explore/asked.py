"""What answers have in common: they are made in a thread, take arguments that are checked, and say what was wrong."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import Executor
from typing import Any, TypeAlias

import numpy as np
from tornado import web
from tornado.ioloop import IOLoop

from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.explore import selection
from crackdask.explore.access import Guarded
from crackdask.explore.columns import Columns
from crackdask.explore.explored import Explored, View
from crackdask.store.root import StoreError

#: Threads for pictures, and for what may wait for the analysis.
Pools: TypeAlias = tuple[Executor, Executor]
_PACKED_FROM = 2_000


class Asked(Guarded):
    """A request for something of the store."""

    explored: Explored
    pools: Pools
    #: Whether it may wait for the analysis, in which case it keeps no picture waiting.
    slow = True

    async def get(self) -> None:
        """Answer, or say what was wrong with the question."""
        try:
            await IOLoop.current().run_in_executor(self.pools[self.slow], self._made)
        except (selection.SelectionError, KeyError) as error:
            raise web.HTTPError(400, reason=one_line(error)) from error
        except (AnalysisError, StoreError) as error:
            raise web.HTTPError(409, reason=one_line(error)) from error

    def _made(self) -> None:
        self.answer(self.explored.view)

    def answer(self, view: View) -> None:
        """Write the answer; in a thread."""
        raise NotImplementedError

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an argument that is a whole number from `low` to before `high`."""
        given = self.get_argument(name, "" if default is None else str(default))
        try:
            number = int(given)
        except ValueError:
            raise web.HTTPError(400, reason=f"{name} is a whole number") from None
        if not low <= number < high:
            raise web.HTTPError(400, reason=f"{name} goes from {low} to {high - 1}")
        return number

    def among(self, name: str, known: Any) -> str:
        """Return an argument that is one of some names."""
        given = self.get_argument(name, "")
        if given not in known:
            raise web.HTTPError(400, reason=f"{name} is one of: {', '.join(map(str, known))}"[:200])
        return given

    def state(self, view: View) -> int:
        """Return the argument `state`."""
        return self.whole("state", 0, view.planes.states)

    def label(self, columns: Columns) -> int:
        """Return the argument `label`."""
        return self.whole("label", 1, columns.count + 1)

    def keys(self, columns: Columns) -> list[str]:
        """Return the argument `columns`: keys, with commas between them."""
        keys = [key for key in self.get_argument("columns", "").split(",") if key]
        if unknown := [key for key in keys if key not in columns.known]:
            raise selection.SelectionError(f"there is no column {unknown[0][:80]!r}")
        return keys

    def chosen(self, view: View) -> Array:
        """Tell which labels meet the argument `where`."""
        where = selection.conditions(self.get_argument("where", ""), view.columns, view.planes.states)
        return selection.chosen(view.columns, where)

    def write_json(self, told: Any) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json")
        self._write_packed(json.dumps(told, allow_nan=False).encode())

    def write_bytes(self, data: Array, *, pack: bool) -> None:
        """Answer with the bytes of an array, little-endian, row after row; its shape stands in a header."""
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("X-Shape", ",".join(map(str, data.shape)))
        raw = np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes()
        self._write_packed(raw) if pack else self.write(raw)

    def write_all(self, told: dict[str, Any], *names: str) -> None:
        """Answer with the bytes of arrays of one shape, compressed; corner and step of their box in headers."""
        self.set_header("X-First", ",".join(map(str, told["first"])))
        self.set_header("X-Step", str(told["step"]))
        raw = [told[name].astype(told[name].dtype.newbyteorder("<")).tobytes() for name in names]
        self.write_bytes(np.frombuffer(b"".join(raw), np.uint8), pack=True)
        self.set_header("X-Shape", ",".join(map(str, told[names[0]].shape)))

    def _write_packed(self, data: bytes) -> None:
        if len(data) > _PACKED_FROM and self.takes_gzip:
            self.set_header("Content-Encoding", "gzip")
            data = gzip.compress(data, 1, mtime=0)
        self.write(data)


def one_line(error: Exception) -> str:
    """Return the words of an error as a header may carry them."""
    words = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(str(words).encode("latin-1", "replace").decode("latin-1").split())[:600]
