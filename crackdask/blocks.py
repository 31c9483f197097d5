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
from typing import Any, Literal, Protocol

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed

from crackdask.plan import Box, Grid, Halo, Triple, triple

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
        results = [_delayed_block(step, grid, number, known, needed) for number in range(len(grid))]
        for name, dtype in step.writes.items():
            known[name] = _assemble(grid, [result.volumes[name] for result in results], dtype)
        if step.reduce is not None:
            tallies = dask.delayed(list)([result.tally for result in results])
            made = dask.delayed(step.reduce, pure=True)(grid, tallies, needed)
            looked_up.update({name: made[name] for name in step.makes})
    return known, looked_up


def _delayed_block(
    step: Pass, grid: Grid, number: int, volumes: Mapping[str, da.Array], tables: Mapping[str, Any]
) -> Any:
    own = grid.box(number)
    windows = {
        name: (where, volumes[name][reach(where, own, grid.shape).slices])
        for name, where in step.reads.items()
    }
    return dask.delayed(run_in_memory, pure=True)(step.kernel, grid, number, windows, tables)


def run_in_memory(
    kernel: Callable[[Block], Result],
    grid: Grid,
    number: int,
    windows: Mapping[str, tuple[Reach, Array]],
    tables: Tables,
) -> Result:
    """Run one kernel on one block whose windows are at hand."""
    return kernel(MemoryBlock(grid, number, windows, tables))


def _assemble(grid: Grid, parts: Sequence[Any], dtype: str) -> da.Array:
    arrays = [
        da.from_delayed(part, shape=grid.box(i).shape, dtype=np.dtype(dtype))
        for i, part in enumerate(parts)
    ]
    nz, ny, nx = grid.counts
    return da.block(
        [
            [[arrays[grid.number((z, y, x))] for x in range(nx)] for y in range(ny)]
            for z in range(nz)
        ]
    )


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
                name: (where, known[name][reach(where, box, grid.shape).slices])
                for name, where in step.reads.items()
            }
            result = run_in_memory(step.kernel, grid, number, windows, needed)
            for name in step.writes:
                made[name][box.slices] = result.volumes[name]
            tallies.append(result.tally)
        known.update(made)
        if step.reduce is not None:
            looked_up.update(step.reduce(grid, tallies, needed))
    return known, looked_up
