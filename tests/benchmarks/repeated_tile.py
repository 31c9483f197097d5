"""Tallies of a full field without its voxels: one real tile over and over, all the way round.

A phantom's scan of one block is taken to go on behind each of its sides with its other side, so that any number of such
blocks fit together, and a field of them closes to a ring along each axis. The kernels are run on that one block, in the
middle of 3 x 3 x 3, and leave the tallies that they would in a run. In a block elsewhere the same is found at other
places and under other numbers: global indices are moved, and basins and particles are numbered as the raster order of
their peaks in the whole field asks. So records of neighbours agree: where a path leaves one block it enters the next, a
particle across a wall has one number on both sides, and components go on. At the end of the field it goes on at the
other end, but for islands and holes, which end there, and for paths, which enter their own block again, where all is
as it is at the other end; particles that are whole there have two distant parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crackdask.blocks.passes import Array, Tables
from crackdask.grid import Box, Grid, Halo, Triple

MIDDLE: Triple = (1, 1, 1)  # of the 3 x 3 x 3 blocks among which the kernels are run
#: Volumes whose voxels are numbers that another block calls otherwise.
_NAMED = ("label", "previous_label")


@dataclass(frozen=True)
class Names:
    """Numbers 1 and up of all peaks of a field in raster order, when each block has its peaks at the same `places`."""

    edge: int
    places: Array

    @classmethod
    def of(cls, peaks: Array, edge: int) -> Names:
        """Return the names of what lies at global indices among 3 x 3 x 3 blocks."""
        at = np.stack(np.unravel_index(peaks, (3 * edge,) * 3))
        own = (at // edge == 1).all(axis=0)
        return cls(edge, np.ravel_multi_index(tuple(at[:, own] - edge), (edge,) * 3))

    @cached_property
    def around(self) -> Array:
        """The numbers among 3 x 3 x 3 blocks."""
        return self.of_blocks((3, 3, 3))

    def of_blocks(self, counts: Triple) -> Array:
        """Return the number of each peak of each block, (z, y, x, peak)."""
        shape = tuple(n * self.edge for n in counts)
        blocks = np.moveaxis(np.indices(counts), 0, -1)[..., None, :] * self.edge
        local = np.stack(np.unravel_index(self.places, (self.edge,) * 3), axis=-1)
        at = np.ravel_multi_index(tuple(np.moveaxis(blocks + local, -1, 0)), shape)
        numbers = np.empty(at.size, np.uint32)
        numbers[np.argsort(at, axis=None)] = np.arange(1, at.size + 1, dtype=np.uint32)
        return numbers.reshape(at.shape)


@dataclass
class Field:
    """A field of equal blocks, with the numbers that things have in it.

    Attributes
    ----------
    counts, edge
        Blocks along (z, y, x), and the edge of each.
    names
        Of the basins of each unit, and of its particles, as "label".
    """

    counts: Triple
    edge: int
    names: dict[str, Names] = field(default_factory=dict)
    _numbers: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def grid(self) -> Grid:
        """The blocks of the field."""
        z, y, x = (n * self.edge for n in self.counts)
        return Grid((z, y, x), (self.edge,) * 3)

    def name(self, what: str, names: Names) -> None:
        """Say how things are numbered."""
        self.names[what], self._numbers[what] = names, names.of_blocks(self.counts)

    def names_of(self, peaks: Array) -> Names:
        """Return the names of what has its peaks at global indices among 3 x 3 x 3 blocks."""
        return Names.of(peaks, self.edge)

    def seen_from(self, position: Triple, what: str) -> Array:
        """Return what those are called here that are numbered 1 and up around the middle block; 0 stays 0."""
        here = self.names[what].around
        called = np.zeros(here.size + 1, np.uint32)
        at = np.indices((3, 3, 3)).reshape(3, -1).T - MIDDLE + position
        there = self._numbers[what][tuple((at % self.counts).T)]
        called[here.reshape(there.shape)] = there
        return np.asarray(called)

    def voxels(self, indices: Array, position: Triple, *, back: bool = False) -> Array:
        """Return global indices of voxels whose indices around the middle block are given.

        What lies behind the end of the field is at its other end, or `back` in the same block, where all is alike.
        """
        at = np.stack(np.unravel_index(indices, (3 * self.edge,) * 3), axis=-1)
        blocks = at // self.edge + np.array(position) - MIDDLE
        there = np.clip(blocks, 0, np.array(self.counts) - 1) if back else blocks % self.counts
        moved = at % self.edge + self.edge * there
        return np.ravel_multi_index(tuple(moved.T), self.grid.shape).astype(np.int64)


@dataclass
class TileBlock:
    """The middle block, which reads the same voxels again behind each of its sides."""

    grid: Grid
    number: int
    volumes: Mapping[str, Array]
    tables: Tables
    around: Field

    def read(self, volume: str, halo: Halo = 0) -> Array:
        """Return the voxels of the block and a halo."""
        return self.read_box(volume, self.grid.box(self.number).grow(halo, within=self.grid.shape))

    def read_box(self, volume: str, box: Box) -> Array:
        """Return the voxels of a box."""
        edge = self.grid.block[0]
        places = [np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)]
        voxels = np.asarray(self.volumes[volume][np.ix_(*(p % edge for p in places))])
        if volume not in _NAMED or box == self.grid.box(self.number):
            return voxels
        for z, y, x in np.ndindex(3, 3, 3):
            at = np.ix_(*(np.flatnonzero(p // edge == k) for p, k in zip(places, (z, y, x), strict=True)))
            voxels[at] = self.around.seen_from((z, y, x), "label")[voxels[at]]
        return voxels

    def table(self, name: str) -> Array:
        """Return a table by name."""
        return self.tables[name]
