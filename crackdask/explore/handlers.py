"""What each address answers. Every one reads the store and nothing else; work is done in threads, so that all go on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tornado import web
from tornado.ioloop import IOLoop

from crackdask.analysis.parameters import AnalysisError
from crackdask.explore import one_particle, selection
from crackdask.explore.access import Guarded
from crackdask.explore.asked import Asked, one_line
from crackdask.explore.cell import told_cell
from crackdask.explore.columns import number
from crackdask.explore.explored import View, catalogue, layout
from crackdask.explore.field import whole_field
from crackdask.explore.files import File
from crackdask.explore.planes import PLANES, TILE, runs
from crackdask.store.root import StoreError

_MOST_ROWS = 500


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
            self.write(file.data)
            return
        self.set_header("Content-Encoding", "gzip")
        self.write(file.packed)

    def compute_etag(self) -> str | None:
        """Return the tag that was set: it is that of the file."""
        return self._headers.get("Etag")


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
        values = {key: [number(v) for v in columns.values(key, state)[page]] for key in keys}
        self.write_json({"count": len(rows), "first": first, "labels": page.tolist(), "columns": values})


class OneParticle(Asked):
    """The numbers of one particle in all states."""

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        columns = view.columns
        self.write_json(one_particle.numbers(columns, self.label(columns), self.keys(columns)))


class Strip(Asked):
    """A picture of a particle in every state: grey levels of all, then labels of all."""

    slow = False

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

    slow = False

    def answer(self, view: View) -> None:
        """Answer with voxels; where they lie stands in headers."""
        told = one_particle.solid(view, self.label(view.columns), self.state(view))
        self.write_all(told, "grey", "own", *(["cracks"] if "cracks" in told else []))


class Field(Asked):
    """The labels of a state from one end to the other, coarse enough for a graphics card."""

    slow = False

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

    slow = False

    def answer(self, view: View) -> None:
        """Answer with JSON."""
        self.write_json(told_cell(view.columns.tables))


class SelectionCsv(Asked):
    """The particles that meet conditions, as CSV: some columns or all, in one state or in all."""

    async def get(self) -> None:
        """Answer a piece at a time, so that no number of particles takes much memory."""
        loop, view = IOLoop.current(), self.explored.view

        def begin() -> Any:
            labels, states = np.flatnonzero(self.chosen(view)), dict(enumerate(view.state_names))
            if self.get_argument("state", ""):
                states = {(number := self.state(view)): states[number]}
            keys = self.keys(view.columns) or view.columns.makeable()
            return selection.as_csv(view.columns, labels, states, keys)

        try:
            parts = await loop.run_in_executor(self.pools[True], begin)
        except (selection.SelectionError, AnalysisError, StoreError) as error:
            raise web.HTTPError(400, reason=one_line(error)) from error
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
