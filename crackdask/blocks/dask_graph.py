"""Passes as a lazy overlap-aware dask graph, for notebooks and previews: one task a block, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

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
    chunked in any way. `block` defaults to the largest chunk of the first volume. Returns all volumes
    and all tables, made and given.
    """
    known = dict(volumes)
    looked_up: dict[str, Any] = dict(tables or {})
    first = next(iter(known.values()))
    z, y, x = first.shape
    cz, cy, cx = block or first.chunksize
    grid = Grid((int(z), int(y), int(x)), (int(cz), int(cy), int(cx)))
    for step in passes:
        needed = {name: looked_up[name] for name in step.tables}
        results = _layer(step, grid, known, needed)
        known.update({name: _volume(results, grid, name, dtype) for name, dtype in step.writes.items()})
        if step.reduce is not None:
            looked_up.update(_reduction(step, grid, results, needed))
    return known, looked_up


@dataclass(frozen=True)
class _Results:
    """One graph layer: the results of a pass, keyed (name, number)."""

    name: str
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


def _layer(step: Pass, grid: Grid, volumes: Mapping[str, da.Array], tables: Mapping[str, Any]) -> _Results:
    """Return the results of a pass as a layer: one task a block, fed with whole chunks that it cuts itself."""
    name = f"{step.name}-{uuid4().hex}"
    at_hand, keys = _split(tables)
    layer = {}
    for number, own in enumerate(grid):
        pieces: list[Any] = []
        specs = {}
        for volume, where in step.reads.items():
            window = reach(where, own, grid.shape)
            found, cuts = _pieces(volumes[volume], window)
            specs[volume] = (where, window.shape, volumes[volume].dtype, len(pieces), cuts)
            pieces += found
        # What is no task goes into the callable, where dask does not look for keys.
        call = partial(_run_on_pieces, step.kernel, grid, number, specs, at_hand, tuple(keys))
        layer[(name, number)] = (call, list(keys.values()), pieces)
    sources = [*(volumes[volume] for volume in step.reads), *_delayed_in(tables)]
    return _Results(name, HighLevelGraph.from_collections(name, layer, dependencies=sources))


def _split(tables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part tables at hand from those still to be made (by graph key)."""
    made = {name: table.key for name, table in tables.items() if isinstance(table, Delayed)}
    return {name: table for name, table in tables.items() if name not in made}, made


def _delayed_in(tables: Mapping[str, Any]) -> list[Delayed]:
    return [table for table in tables.values() if isinstance(table, Delayed)]


def _pieces(array: da.Array, window: Box) -> tuple[list[Any], list[Any]]:
    """Return the keys of the chunks that a window touches, and for each (from, to) slices."""
    bounds = [np.cumsum((0, *sizes)) for sizes in array.chunks]
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
            keys.append((array.name, *place))
            cuts.append((common.within(chunk), common.within(window)))
    return keys, cuts


def _run_on_pieces(
    kernel: Callable[[Block], Result],
    grid: Grid,
    number: int,
    specs: Mapping[str, Any],
    at_hand: Tables,
    names: Sequence[str],
    made: Sequence[Array],
    pieces: Sequence[Array],
) -> Result:
    windows = {}
    for volume, (where, shape, dtype, first, cuts) in specs.items():
        voxels = np.empty(shape, dtype)
        for piece, (source, target) in zip(pieces[first:], cuts, strict=False):
            voxels[target] = piece[source]
        windows[volume] = (where, voxels)
    return run_in_memory(kernel, grid, number, windows, {**at_hand, **dict(zip(names, made, strict=True))})


def _volume(results: _Results, grid: Grid, volume: str, dtype: str) -> da.Array:
    name = f"{volume}-{uuid4().hex}"
    layer = {
        (name, *grid.position(number)): (partial(_volume_of, volume), (results.name, number))
        for number in range(len(grid))
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[results])
    chunks = tuple(
        tuple(min(b, n - start) for start in range(0, n, b)) for n, b in zip(grid.shape, grid.block, strict=True)
    )
    return da.Array(graph, name, chunks, dtype=np.dtype(dtype))


def _volume_of(name: str, result: Result) -> Array:
    return result.volumes[name]


def _tally_of(result: Result) -> Tally:
    return result.tally


def _reduction(step: Pass, grid: Grid, results: _Results, tables: Mapping[str, Any]) -> dict[str, Delayed]:
    """Return the tables of a reduction: one task that sees all tallies, and one for each table."""
    assert step.reduce is not None, f"{step.name} ends in no reduction"
    name = f"{step.name}-tables-{uuid4().hex}"
    at_hand, keys = _split(tables)
    layer: dict[Any, Any] = {
        (name + "-tally", number): (_tally_of, (results.name, number)) for number in range(len(grid))
    }
    layer[name] = (partial(_reduce, step.reduce, grid, at_hand, tuple(keys)), list(keys.values()), list(layer))
    layer.update({f"{name}-{made}": (itemgetter(made), name) for made in step.makes})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[results, *_delayed_in(tables)])
    return {made: Delayed(f"{name}-{made}", graph, layer=name) for made in step.makes}


def _reduce(
    reduce: Callable[[Grid, Sequence[Tally], Tables], Tables],
    grid: Grid,
    at_hand: Tables,
    names: Sequence[str],
    made: Sequence[Array],
    tallies: Sequence[Tally],
) -> Tables:
    return reduce(grid, tallies, {**at_hand, **dict(zip(names, made, strict=True))})
