"""Passes on arrays in memory, one block after the other: for crops, tests and the tasks of a dask graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from crackdask.blocks.passes import Array, Block, Pass, Reach, Result, Tables, Tally, reach
from crackdask.grid import Box, Grid, Halo, Triple, triple


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
        if not isinstance(largest, int):
            return voxels
        if max(triple(halo)) > largest:
            raise AssertionError(f"halo {halo} of {volume!r} exceeds the declared {largest}")
        own = self.grid.box(self.number)
        outer = own.grow(largest, within=self.grid.shape)
        return voxels[own.grow(halo, within=self.grid.shape).within(outer)]

    def read_box(self, volume: str, box: Box) -> Array:
        """Cut a box out of the window at hand."""
        largest, voxels = self.windows[volume]
        outer = reach(largest, self.grid.box(self.number), self.grid.shape)
        if box.intersect(outer) != box:
            raise AssertionError(f"{box} of {volume!r} exceeds the declared {outer}")
        return voxels[box.within(outer)]

    def table(self, name: str) -> Array:
        """Return a table by name."""
        return self.tables[name]


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
    """Run some passes on arrays in memory, block after block.

    The plain form of :func:`crackdask.blocks.dask_graph.lazy`.
    """
    known: dict[str, Array] = dict(volumes)
    looked_up: dict[str, Array] = dict(tables or {})
    shape = next(iter(known.values())).shape
    whole = (int(shape[0]), int(shape[1]), int(shape[2]))
    grid = Grid(whole, block or whole)
    for step in passes:
        own = step.grid or grid
        made = {name: np.zeros(own.shape, dtype) for name, dtype in step.writes.items()}
        tallies: list[Tally] = []
        needed = {name: looked_up[name] for name in step.tables}
        for number, box in enumerate(own):
            windows = {
                name: (where, known[name][reach(where, box, own.shape).slices]) for name, where in step.reads.items()
            }
            result = run_in_memory(step.kernel, own, number, windows, needed)
            for name in step.writes:
                made[name][box.slices] = result.volumes[name]
            tallies.append(result.tally)
        known.update(made)
        if step.reduce is not None:
            looked_up.update(step.reduce(own, tallies, needed))
    return known, looked_up
