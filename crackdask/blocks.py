"""The one place that turns a kernel and a grid into work on blocks.

A step of the method is a list of passes. A pass runs one kernel over every block of one state and may end in a
reduction: the blocks' tallies become tables that later passes look things up in. The same list is run in two ways
with the same bits: as a lazy overlap-aware dask graph (:func:`lazy`, for notebooks) and block by block against a
store (``crackdask.run``). A kernel sees no difference: it is handed a :class:`Block` and asks that for voxels.

Why the result cannot depend on the blocks: a kernel may ask for any halo up to the one its pass declares, windows are
clipped at the image edge and nowhere else, and it returns values for its own voxels only. Whatever needs
the whole volume (a threshold, a merge) is a reduction whose operation is associative and whose tally is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import uuid4

import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from crackdask.later import Later
from crackdask.plan import Box, Grid, Halo, Triple, triple

if TYPE_CHECKING:
    import dask.array as da
else:
    da = Later("dask.array")

Array = np.ndarray[Any, np.dtype[Any]]
Tally = Mapping[str, Array]
Tables = Mapping[str, Array]
Reach = int | Callable[[Box], Box]
"""What a pass reads around a block: a halo in voxels, or a rule that turns the block's box into a window."""


class Block(Protocol):
    """What a kernel is given: where it works, and a way to ask for voxels and tables."""

    @property
    def grid(self) -> Grid:
        """The blocks of the whole volume."""

    @property
    def number(self) -> int:
        """The block's number in the grid."""

    def read(self, volume: str, halo: Halo = 0) -> Array:
        """Return a volume's voxels of this block and a halo, clipped at the image edge.

        A volume whose pass gives a rule instead of a halo is read as that rule says.
        """

    def table(self, name: str) -> Array:
        """Return a table that an earlier reduction made."""


@dataclass(frozen=True)
class Result:
    """What a kernel returns: its own voxels of each volume it writes, and a small tally."""

    volumes: Mapping[str, Array] = field(default_factory=dict)
    tally: Tally = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """One kernel over all blocks of one state, and the reduction that ends it.

    `reads` names the volumes with the largest halo the kernel may ask for (or the rule for its window), `writes` the
    volumes with their dtype, `scratch` the bytes that the kernel needs for each voxel of its largest window,
    `tables` what kernel and reduction look up. `reduce` gets the grid, the tallies in block order (a sequence that may
    load each one from disk when it is indexed) and those tables; it returns the tables named in `makes`.
    """

    name: str
    kernel: Callable[[Block], Result]
    reads: Mapping[str, Reach]
    writes: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    scratch: int = 0
    reduce: Callable[[Grid, Sequence[Tally], Tables], Tables] | None = None


def reach(where: Reach, own: Box, shape: Triple) -> Box:
    """Return the window that a pass reads around a block's own voxels."""
    return where(own) if callable(where) else own.grow(where, within=shape)


def window(block: Block, halo: Halo) -> Box:
    """Return the voxels that ``block.read(..., halo)`` covers."""
    return block.grid.box(block.number).grow(halo, within=block.grid.shape)


def core(block: Block, halo: Halo) -> tuple[slice, slice, slice]:
    """Return the block's own voxels as an index into what ``block.read(..., halo)`` gave."""
    return block.grid.box(block.number).within(window(block, halo))


def padded(block: Block, volume: str, halo: int, *, mode: Literal["edge", "reflect"]) -> Array:
    """Read a volume with its full halo; where the image ends the voxels are repeated or reflected."""
    own, outer = block.grid.box(block.number), window(block, halo)
    missing = [
        (halo - (a - o), halo - (p - b))
        for a, o, p, b in zip(own.start, outer.start, outer.stop, own.stop, strict=True)
    ]
    voxels = block.read(volume, halo)
    if not np.any(missing):
        return np.ascontiguousarray(voxels)
    return np.pad(voxels, missing, mode=mode)


def inner(voxels: Array, halo: int) -> Array:
    """Return the block's own voxels of what :func:`padded` gave, or of what was made of it."""
    return voxels[tuple(slice(halo, n - halo) for n in voxels.shape)]


def total(tallies: Iterable[Tally], name: str) -> Array:
    """Add up one array of all tallies."""
    return np.asarray(sum(tally[name] for tally in tallies))


@dataclass(frozen=True)
class MemoryBlock:
    """A block whose windows are already in memory, each with the largest halo of its pass."""

    grid: Grid
    number: int
    windows: Mapping[str, tuple[Reach, Array]]
    tables: Tables

    def read(self, volume: str, halo: Halo = 0) -> Array:
        """Cut the asked halo out of the window at hand."""
        largest, voxels = self.windows[volume]
        if callable(largest):
            return voxels
        if max(triple(halo)) > largest:
            raise AssertionError(f"halo {halo} of {volume!r} exceeds the declared {largest}")
        own = self.grid.box(self.number)
        outer = own.grow(largest, within=self.grid.shape)
        return voxels[own.grow(halo, within=self.grid.shape).within(outer)]

    def table(self, name: str) -> Array:
        """Return a table by name."""
        return self.tables[name]


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


def run_in_memory(
    kernel: Callable[[Block], Result],
    grid: Grid,
    number: int,
    windows: Mapping[str, tuple[Reach, Array]],
    tables: Tables,
) -> Result:
    """Run one kernel on one block whose windows are at hand."""
    return kernel(MemoryBlock(grid, number, windows, tables))


def compute(
    passes: Iterable[Pass],
    volumes: Mapping[str, Array],
    tables: Mapping[str, Array] | None = None,
    block: Triple | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run some passes on arrays in memory, block after block; the plain form of :func:`lazy`."""
    known: dict[str, Array] = dict(volumes)
    looked_up: dict[str, Array] = dict(tables or {})
    shape = next(iter(known.values())).shape
    whole = (int(shape[0]), int(shape[1]), int(shape[2]))
    grid = Grid(whole, block or whole)
    for step in passes:
        made = {name: np.zeros(grid.shape, dtype) for name, dtype in step.writes.items()}
        tallies: list[Tally] = []
        needed = {name: looked_up[name] for name in step.tables}
        for number, box in enumerate(grid):
            windows = {
                name: (where, known[name][reach(where, box, grid.shape).slices]) for name, where in step.reads.items()
            }
            result = run_in_memory(step.kernel, grid, number, windows, needed)
            for name in step.writes:
                made[name][box.slices] = result.volumes[name]
            tallies.append(result.tally)
        known.update(made)
        if step.reduce is not None:
            looked_up.update(step.reduce(grid, tallies, needed))
    return known, looked_up
