"""Passes as a lazy overlap-aware dask graph, for notebooks and previews: one task a block, nothing is computed.

Layers are named after the pass and the volume or table, which a dashboard shows, and a token of everything that decides
the result. So equal calls have equal keys, and dask does their work once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from crackdask.blocks.dask_arrays import ChunkedGraph, List, Task, TaskRef, layered, token
from crackdask.blocks.in_memory import run_in_memory
from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, reach
from crackdask.grid import Box, Grid, Triple


def lazy(
    passes: Iterable[Pass],
    volumes: Mapping[str, da.Array],
    tables: Mapping[str, Array | Delayed] | None = None,
    block: Triple | None = None,
) -> tuple[dict[str, da.Array], dict[str, Delayed]]:
    """Build the dask graph of some passes; nothing is computed.

    Every block becomes one task whose inputs are slices of the input arrays (block and halo), so the inputs may be
    chunked in any way. `block` defaults to the largest chunk of the first volume; a pass
    with a grid of its own walks that. Returns all volumes
    and all tables, made and given.
    """
    known = {name: ChunkedGraph.of(array) for name, array in volumes.items()}
    looked_up: dict[str, Any] = dict(tables or {})
    first = next(iter(known.values()))
    z, y, x = first.shape
    cz, cy, cx = block or first.chunksize
    grid = Grid((z, y, x), (cz, cy, cx))
    written: dict[str, ChunkedGraph] = {}
    for each in passes:
        needed = {name: looked_up[name] for name in each.tables}
        own = each.grid or grid
        results = _results(each, own, known, needed)
        written |= {name: _volume(results, own, name, dtype) for name, dtype in each.writes.items()}
        known |= written
        if each.reduce is not None:
            looked_up.update(_reduction(each, own, results, needed))
    return {**volumes, **{name: volume.array() for name, volume in written.items()}}, looked_up


@dataclass(frozen=True)
class _Results:
    """One graph layer: the results of a pass, keyed (name, number); `token` is that of all that decides them."""

    name: str
    token: str
    graph: HighLevelGraph

    @property
    def dask(self) -> HighLevelGraph:
        """The graph, under the name by which dask collects dependencies."""
        return self.graph

    def __dask_graph__(self) -> HighLevelGraph:
        """Return the graph: this is a dask collection."""
        return self.graph

    def __dask_layers__(self) -> tuple[str, ...]:
        """Return the layer that others depend on."""
        return (self.name,)


def _results(each: Pass, grid: Grid, volumes: Mapping[str, ChunkedGraph], tables: Mapping[str, Any]) -> _Results:
    """Return the results of a pass as a layer: one task a block, fed with whole chunks that it cuts itself."""
    at_hand, awaited = _split(tables)
    sources = {volume: (volumes[volume].name, volumes[volume].chunks) for volume in each.reads}
    decided = token(each, (grid.shape, grid.block), sources, at_hand, awaited)
    name = f"{each.name}-blocks-{decided}"
    layer = {}
    for number, own in enumerate(grid):
        pieces: list[TaskRef] = []
        specs = {}
        for volume, where in each.reads.items():
            window = reach(where, own, grid.shape)
            keys, cuts = _pieces(volumes[volume], window)
            specs[volume] = (where, window.shape, volumes[volume].dtype, len(pieces), cuts)
            pieces += [TaskRef(key) for key in keys]
        call = partial(_run_on_pieces, each.kernel, grid, number, specs, at_hand, tuple(awaited))
        layer[(name, number)] = Task((name, number), call, _references(awaited), List(*pieces))
    parents = [*(volumes[volume] for volume in each.reads), *_delayed_in(tables)]
    return _Results(name, decided, layered(name, layer, parents))


def _split(tables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part tables at hand from those still to be made (by graph key)."""
    awaited = {name: table.key for name, table in tables.items() if isinstance(table, Delayed)}
    return {name: table for name, table in tables.items() if name not in awaited}, awaited


def _references(awaited: Mapping[str, Any]) -> List:
    return List(*(TaskRef(key) for key in awaited.values()))


def _delayed_in(tables: Mapping[str, Any]) -> list[Delayed]:
    return [table for table in tables.values() if isinstance(table, Delayed)]


def _pieces(volume: ChunkedGraph, window: Box) -> tuple[list[Any], list[Any]]:
    """Return the keys of the chunks that a window touches, and for each (from, to) slices."""
    bounds = [np.cumsum((0, *sizes)) for sizes in volume.chunks]
    spans = [
        range(int(np.searchsorted(b, a, side="right")) - 1, int(np.searchsorted(b, e, side="left")))
        for b, a, e in zip(bounds, window.start, window.stop, strict=True)
    ]
    keys, cuts = [], []
    for place in product(*spans):
        low = tuple(int(b[i]) for b, i in zip(bounds, place, strict=True))
        high = tuple(int(b[i + 1]) for b, i in zip(bounds, place, strict=True))
        chunk = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        common = chunk.intersect(window)
        if common:
            keys.append((volume.name, *place))
            cuts.append((common.within(chunk), common.within(window)))
    return keys, cuts


def _run_on_pieces(
    kernel: Callable[[Block], Result],
    grid: Grid,
    number: int,
    specs: Mapping[str, Any],
    at_hand: Tables,
    names: Sequence[str],
    awaited: Sequence[Array],
    pieces: Sequence[Array],
) -> Result:
    windows = {}
    for volume, (where, shape, dtype, first, cuts) in specs.items():
        voxels = np.empty(shape, dtype)
        for piece, (source, target) in zip(pieces[first:], cuts, strict=False):
            voxels[target] = piece[source]
        windows[volume] = (where, voxels)
    return run_in_memory(kernel, grid, number, windows, {**at_hand, **dict(zip(names, awaited, strict=True))})


def _volume(results: _Results, grid: Grid, volume: str, dtype: str) -> ChunkedGraph:
    name = f"{volume}-{results.token}"
    layer = {}
    for number in range(len(grid)):
        key = (name, *grid.position(number))
        layer[key] = Task(key, partial(_volume_of, volume), TaskRef((results.name, number)))
    graph = layered(name, layer, [results])
    chunks = tuple(
        tuple(min(b, n - start) for start in range(0, n, b)) for n, b in zip(grid.shape, grid.block, strict=True)
    )
    return ChunkedGraph(name, chunks, np.dtype(dtype), graph)


def _volume_of(name: str, result: Result) -> Array:
    return result.volumes[name]


def _tally_of(result: Result) -> Tally:
    return result.tally


def _reduction(each: Pass, grid: Grid, results: _Results, tables: Mapping[str, Any]) -> dict[str, Delayed]:
    """Return the tables of a reduction: one task that sees all tallies, and one for each table."""
    if each.reduce is None:
        raise ValueError(f"{each.name} ends in no reduction")
    name, tally = f"{each.name}-reduction-{results.token}", f"{each.name}-tally-{results.token}"
    at_hand, awaited = _split(tables)
    layer: dict[Any, Task] = {
        (tally, number): Task((tally, number), _tally_of, TaskRef((results.name, number)))
        for number in range(len(grid))
    }
    tallies = List(*(TaskRef(key) for key in layer))
    layer[name] = Task(
        name, partial(_reduce, each.reduce, grid, at_hand, tuple(awaited)), _references(awaited), tallies
    )
    keys = {table: f"{table}-table-{results.token}" for table in each.makes}
    layer |= {key: Task(key, itemgetter(table), TaskRef(name)) for table, key in keys.items()}
    graph = layered(name, layer, [results, *_delayed_in(tables)])
    return {table: Delayed(key, graph, layer=name) for table, key in keys.items()}


def _reduce(
    reduce: Callable[[Grid, Sequence[Tally], Tables], Tables],
    grid: Grid,
    at_hand: Tables,
    names: Sequence[str],
    awaited: Sequence[Array],
    tallies: Sequence[Tally],
) -> Tables:
    return reduce(grid, tallies, {**at_hand, **dict(zip(names, awaited, strict=True))})
