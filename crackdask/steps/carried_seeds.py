"""The seeds that a state hands to the next: where its labels are deep, and the last seeds of those that it lost.

Tables of a whole state, the same whatever its blocks: largest depths are maxima of integers, and lost seeds are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, writable
from crackdask.grid import Grid
from crackdask.kernels import seeds
from crackdask.kernels import watershed as kernels
from crackdask.steps.watershed import carried_tables

CARRIED = ("previous_max_depth", "lost_seed_voxel", "lost_seed_label")
"""Tables that a state hands to the next; the reference's come from the passes of its labels."""


def start_pass() -> Pass:
    """Return the pass from labels and their depth to the tables that a transfer starts from."""
    return Pass(name="start", kernel=_tally_tops, reads={"label": 0, "depth": 0}, makes=CARRIED, reduce=_start)


def _tally_tops(block: Block) -> Result:
    ids = np.ascontiguousarray(block.read("label"))
    tops = kernels.tops(ids, block.read("depth"), int(ids.max(initial=0)))
    present = np.flatnonzero(tops)
    return Result(tally={"labels": (present + 1).astype(np.uint32), "max_depth": tops[present]})


def _start(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    count = max(int(tally["labels"].max(initial=0)) for tally in tallies)
    return carried_tables(tallies, count)


class ReadSeeds(Protocol):
    """Reads the seeds of a block."""

    def __call__(self, block: Block, depth: Array) -> Array:
        """Return the label at each voxel of a seed, 0 elsewhere; `depth` is that of the state before."""


def read_seeds(block: Block, depth: Array, *, seed_depth: float) -> Array:
    """Return the seeds of a block, whose depth in the state before is given: the label at each of their voxels, else 0.

    Of labels that the previous state had lost those are the last, where there is no other.
    """
    thresholds = np.floor(block.table("previous_max_depth") * np.float64(seed_depth)).astype(np.uint32)
    seeded = writable(block.read("previous_label"))
    seeds.keep_deep_parts(seeded, depth, thresholds)
    own = block.grid.box(block.number)
    voxels, labels = block.table("lost_seed_voxel"), block.table("lost_seed_label")
    plane = block.grid.shape[1] * block.grid.shape[2]
    first, stop = np.searchsorted(voxels, (own.start[0] * plane, own.stop[0] * plane))
    voxels, lowest = np.unique(voxels[first:stop], return_index=True)
    z, y, x = np.unravel_index(voxels, block.grid.shape)
    here = (y >= own.start[1]) & (y < own.stop[1]) & (x >= own.start[2]) & (x < own.stop[2])
    places = tuple(a[here] - s for a, s in zip((z, y, x), own.start, strict=True))
    lost = labels[first:stop][lowest[here]]
    seeded[places] = np.where(seeded[places] == 0, lost, seeded[places])
    return seeded


def carry(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Return what the next state starts from."""
    depths: Array = np.zeros_like(tables["previous_max_depth"])
    still = np.isin(tables["lost_seed_label"], tables["lost_labels"])
    for tally in tallies:
        np.maximum.at(depths, tally["labels"], tally["max_depth"])
    voxel = np.concatenate([tables["lost_seed_voxel"][still], tables["lost_again_voxel"]])
    label = np.concatenate([tables["lost_seed_label"][still], tables["lost_again_label"]])
    order = np.lexsort((label, voxel))
    return {
        "previous_max_depth": depths,
        "lost_seed_voxel": voxel[order],
        "lost_seed_label": label[order],
    }


def keep(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Return the reference's tables unchanged."""
    return {name: tables[name] for name in CARRIED}
