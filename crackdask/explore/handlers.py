"""What each address answers. Every one reads the store and nothing else; work is done in threads, so that all go on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from tornado import web
from tornado.ioloop import IOLoop

from crackdask.analysis.parameters import AnalysisError
from crackdask.arrays import Array
from crackdask.explore import one_particle, selection
from crackdask.explore.access import Guarded
from crackdask.explore.cell import told_cell
from crackdask.explore.columns import Columns
from crackdask.explore.explored import Explored, View, catalogue, layout
from crackdask.explore.field import whole_field
from crackdask.explore.files import File
from crackdask.explore.planes import PLANES, TILE, runs
from crackdask.store.root import StoreError

#: Threads for pictures, and for what may wait for the analysis.
Pools: TypeAlias = tuple[Executor, Executor]
_MOST_ROWS, _PACKED_FROM = 500, 2_000


class PageFile(Guarded):
    """The page itself, its scripts and those of BokehJS: entries of a table in memory."""

    files: dict[str, File]

    def get(self, name: str) -> None:
        """Answer with a file."""
        file = self.files.get(name)
        if file is None:
            raise web.HTTPError(404, reason="there is no such page")
        self.set_header("Content-Type", file.kind)
        self.set_header("Cache-Control", "private, no-cache")  # asked for again, and mostly not sent again
        self.set_header("Etag", file.tag)
        if self.check_etag_header():
            self.set_status(304)
            return
        if not self.takes_gzip:
            self.write(gzip.decompress(file.packed))
            return
        self.set_header("Content-Encoding", "gzip")
        self.write(file.packed)

    def compute_etag(self) -> str | None:
        """Return the tag that was set: it is that of the file."""
        return self._headers.get("Etag")


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
            raise web.HTTPError(400, reason=_one_line(error)) from error
        except (AnalysisError, StoreError) as error:
            raise web.HTTPError(409, reason=_one_line(error)) from error

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


def _one_line(error: Exception) -> str:
    words = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(str(words).encode("latin-1", "replace").decode("latin-1").split())[:600]


class Layout(Asked):
    """States, shape, voxel size, levels."""

    slow = False

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        self.write_json({**layout(view), "report": self.explored.report.is_there})


class Catalogue(Asked):
    """Which columns there are."""

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        self.write_json(catalogue(view))


class Tile(Asked):
    """A tile of a plane: of one volume, labels compressed; or of `both`: labels as runs, then grey levels as they are.

    Both in one answer are what the page asks for: each request costs a browser more than the voxels do.
    """

    slow = False

    def answer(self, view: View) -> None:
        """Answer with voxels."""
        planes = view.planes
        volume, plane = self.among("volume", (*planes.levels, "both")), self.among("plane", PLANES)
        level = self.whole("level", 0, planes.count)
        axis = PLANES[plane]
        size = [n for k, n in enumerate(planes.shape_at(level)) if k != axis]
        state, index = self.state(view), self.whole("index", 0, planes.shape[axis])
        row, column = (self.whole(name, 0, -(-n // TILE)) for name, n in zip(("row", "column"), size, strict=True))
        cut = partial(planes.tile, state=state, plane=plane, index=index, level=level, row=row, column=column)
        if volume != "both":
            tile = cut(volume)
            self.write_bytes(tile, pack=tile.dtype.itemsize > 1)
            return
        grey, labels = cut("grey"), runs(cut("label"))
        self.set_header("X-Runs", str(labels.shape[1]))
        raw = [each.astype(each.dtype.newbyteorder("<")).tobytes() for each in (labels, grey)]
        self.write_bytes(np.frombuffer(b"".join(raw), np.uint8), pack=False)
        self.set_header("X-Shape", ",".join(map(str, grey.shape)))


class Voxel(Asked):
    """Grey level and label of a voxel of the finest level."""

    slow = False

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        planes = view.planes
        state = self.state(view)
        first = [self.whole(axis, 0, n) for axis, n in zip("zyx", planes.shape, strict=True)]
        last = [k + 1 for k in first]
        self.write_json({name: int(planes.box(name, state, 0, first, last)[0, 0, 0]) for name in ("grey", "label")})


class ColumnValues(Asked):
    """A column in a state, float32 by label."""

    def answer(self, view: View) -> None:
        """Answer with numbers."""
        columns = view.columns
        self.write_bytes(columns.values(self.among("column", columns.known), self.state(view)), pack=False)


class Chosen(Asked):
    """Which labels meet conditions: a byte each, 1 or 0."""

    def answer(self, view: View) -> None:
        """Answer with bytes."""
        kept = self.chosen(view)
        self.set_header("X-Count", str(int(kept.sum())))
        self.write_bytes(kept.astype(np.uint8), pack=True)


class Rows(Asked):
    """A page of the table of the particles that meet conditions."""

    def answer(self, view: View) -> None:
        """Answer with JSON: `count` of all, `labels` and the `columns` of this page, where `label` stands."""
        columns, state = view.columns, self.state(view)
        keys = self.keys(columns)
        by = self.among("sort", ("label", *columns.known))
        labels = np.flatnonzero(self.chosen(view))
        rows = selection.ordered(columns, labels, by, state, descending=self.get_argument("descending", "0") == "1")
        first = self.whole("first", 0, 2**31, 0)
        if self.get_argument("label", ""):
            found = np.flatnonzero(rows == self.label(columns))
            first = int(found[0]) if found.size else first
            first -= first % self.whole("count", 1, _MOST_ROWS + 1)
        page = rows[first : first + self.whole("count", 1, _MOST_ROWS + 1)]
        values = {key: [_number(v) for v in columns.values(key, state)[page]] for key in keys}
        self.write_json({"count": len(rows), "first": first, "labels": page.tolist(), "columns": values})


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


class OneParticle(Asked):
    """The numbers of one particle in all states."""

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        columns = view.columns
        self.write_json(one_particle.numbers(columns, self.label(columns), self.keys(columns)))


class Strip(Asked):
    """A picture of a particle in every state: grey levels of all, then labels of all."""

    def answer(self, view: View) -> None:
        """Answer with voxels; where they lie stands in headers."""
        plane = self.among("plane", PLANES)
        index = self.whole("index", -1, view.planes.shape[PLANES[plane]], -1)
        told = one_particle.strip(
            view.planes, view.columns, self.label(view.columns), plane, None if index < 0 else index
        )
        self.set_header("X-Index", str(told["index"]))
        self.write_all(told, "grey", "label")


class Solid(Asked):
    """A particle in space in one state: its grey levels, what is its own, and, if known, its cracks."""

    def answer(self, view: View) -> None:
        """Answer with voxels; where they lie stands in headers."""
        told = one_particle.solid(view, self.label(view.columns), self.state(view))
        self.write_all(told, "grey", "own", *(["cracks"] if "cracks" in told else []))


class Field(Asked):
    """The labels of a state from one end to the other, coarse enough for a graphics card."""

    def answer(self, view: View) -> None:
        """Answer with voxels; voxels of the finest level that one of them takes along an axis stand in a header."""
        labels, step = whole_field(view.planes, self.state(view))
        self.set_header("X-Step", str(step))
        self.write_bytes(labels, pack=True)


class Paths(Asked):
    """The tree of damaged and healed."""

    def answer(self, view: View) -> None:
        """Answer with JSON; with the `reason` alone, where the states of the store make no tree."""
        try:
            self.write_json(view.columns.analysed.tree)
        except AnalysisError as error:
            self.write_json({"reason": str(error)})


class Cell(Asked):
    """The record of the cell, and where the states lie in it."""

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        self.write_json(told_cell(view.columns.tables))


class SelectionCsv(Guarded):
    """The particles that meet conditions, as CSV, with every column in every state."""

    explored: Explored
    pools: Pools

    async def get(self) -> None:
        """Answer a piece at a time, so that no number of particles takes much memory."""
        loop, view = IOLoop.current(), self.explored.view
        asked = self.get_argument("where", "")

        def begin() -> Any:
            where = selection.conditions(asked, view.columns, view.planes.states)
            labels = np.flatnonzero(selection.chosen(view.columns, where))
            return selection.as_csv(view.columns, labels, view.state_names)

        try:
            parts = await loop.run_in_executor(self.pools[True], begin)
        except (selection.SelectionError, AnalysisError, StoreError) as error:
            raise web.HTTPError(400, reason=_one_line(error)) from error
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="selection.csv"')
        step: Callable[[], str | None] = lambda: next(parts, None)  # noqa: E731
        while (part := await loop.run_in_executor(self.pools[True], step)) is not None:
            self.write(part)
            await self.flush()


#: Address to what answers it, under ``/api/``.
ANSWERS: dict[str, type[Guarded]] = {
    "layout": Layout,
    "columns": Catalogue,
    "tile": Tile,
    "voxel": Voxel,
    "column": ColumnValues,
    "chosen": Chosen,
    "rows": Rows,
    "particle": OneParticle,
    "strip": Strip,
    "solid": Solid,
    "field": Field,
    "paths": Paths,
    "cell": Cell,
    "selection.csv": SelectionCsv,
}
