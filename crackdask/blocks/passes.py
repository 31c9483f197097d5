"""A pass: one kernel over all blocks of one state, and the reduction that ends it.

A step of the method is a list of passes. The same list is run in two ways with the same bits: as a lazy overlap-aware
dask graph (:mod:`crackdask.blocks.dask_graph`, for notebooks) and block by block against a store
(:mod:`crackdask.engine.pass_runner`). A kernel sees no difference: it is handed a :class:`Block` and asks that for
voxels.

Why the result cannot depend on the blocks: a kernel may ask for any halo up to the one its pass declares, windows are
clipped at the image edge and nowhere else, and it returns values for its own voxels only. Whatever needs
the whole volume (a threshold, a merge) is a reduction whose operation is associative and whose tally is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from crackdask.grid import Box, Grid, Halo, Triple

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

    def read_box(self, volume: str, box: Box) -> Array:
        """Return a volume's voxels of a box within what the pass declared for it."""

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
    load each one from disk when it is indexed) and those tables; it returns the tables named in `makes`. `grid` is
    what the pass walks, where that is not the blocks that its unit walks. `narrow` gives the same pass with no more
    than the block with this box needs, where it holds what grows with the volume.
    """

    name: str
    kernel: Callable[[Block], Result]
    reads: Mapping[str, Reach]
    writes: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    scratch: int = 0
    reduce: Callable[[Grid, Sequence[Tally], Tables], Tables] | None = None
    grid: Grid | None = None
    narrow: Callable[[Box], Pass] | None = None

    def task(self, box: Box) -> Pass:
        """Return what travels to the worker of a block: what ends a pass stays with the run."""
        return replace(self.narrow(box) if self.narrow else self, reduce=None, narrow=None)


def reach(where: Reach, own: Box, shape: Triple) -> Box:
    """Return the window that a pass reads around a block's own voxels."""
    return where(own) if callable(where) else own.grow(where, within=shape)


def window(block: Block, halo: Halo) -> Box:
    """Return the voxels that ``block.read(..., halo)`` covers."""
    return block.grid.box(block.number).grow(halo, within=block.grid.shape)


def window_ahead(block: Block) -> Box:
    """Return the block and the voxels right behind its last ones along each axis.

    Of any two neighbours, diagonal ones too, both are in such a window of one block at least: of the one that holds
    the first corner of the smallest box around the two.
    """
    own = block.grid.box(block.number)
    z, y, x = (min(b + 1, n) for b, n in zip(own.stop, block.grid.shape, strict=True))
    return Box(own.start, (z, y, x))


def writable(voxels: Array) -> Array:
    """Return voxels that a kernel may write over: themselves where they were read for it alone, else a copy."""
    flags = voxels.flags
    return voxels if flags.owndata and flags.writeable and flags.c_contiguous else voxels.copy()


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
