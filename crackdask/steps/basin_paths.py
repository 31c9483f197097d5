"""Paths up to the peaks of depth, followed from block to block while the blocks tell of theirs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from crackdask.blocks.passes import Array, Tables, Tally
from crackdask.grid import Grid
from crackdask.kernels import union_find


class BasinPaths:
    """Follows paths from block to block; of what the blocks tell, only that of the last layer of them is held.

    A code is an end of a path within a block, counted over all blocks. What it leads to is another one, in the block
    that the path goes on in, or itself, for a peak.
    """

    _CHUNK = 1 << 20  # codes that are followed at once

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._offsets = np.zeros(len(grid) + 1, np.int64)
        self._leads_to: Array = np.zeros(0, np.uint32)
        self._peaks: list[tuple[Array, Array, Array]] = []  # global index, height and code
        # By block: entered voxels, the codes that they have, and the last block that a path can come from.
        self._entries: dict[int, tuple[Array, Array, int]] = {}
        self._waiting: dict[int, list[tuple[Array, Array]]] = {}  # by block that is not told of: voxels, and who asks

    def add(self, number: int, tally: Tally) -> None:
        """Take in what a block tells, in the order of the blocks."""
        ends, heights, first = tally["ends"], tally["heights"], int(self._offsets[number])
        if first + ends.size >= 1 << 32:
            raise ValueError(f"path ends are counted in 32 bits, found {first + ends.size}")
        self._offsets[number + 1] = first + ends.size
        self._leads_to.resize(first + ends.size, refcheck=False)  # where it lies, so that it is never held twice
        codes = np.arange(first, first + ends.size, dtype=np.uint32)
        self._leads_to[first:] = codes
        is_peak = heights > 0
        self._peaks.append((ends[is_peak], heights[is_peak], codes[is_peak]))
        near = self._grid.box(number).grow(1, within=self._grid.shape)
        self._entries[number] = tally["entered"], tally["entered_codes"], self._grid.touching(near)[-1]
        for voxels, who in self._waiting.pop(number, []):
            self._answer(number, voxels, who)
        self._ask(ends[~is_peak], codes[~is_peak])
        for told in [told for told, (*_, last) in self._entries.items() if last <= number]:
            del self._entries[told]

    def _ask(self, voxels: Array, who: Array) -> None:
        """Follow paths that leave a block."""
        owners = _owners(self._grid, voxels)
        order = np.argsort(owners, kind="stable")
        voxels, who, owners = voxels[order], who[order], owners[order]
        bounds = np.append(np.flatnonzero(np.diff(owners, prepend=-1)), owners.size)
        for first, stop in pairwise(bounds):
            owner, asked = int(owners[first]), (voxels[first:stop], who[first:stop])
            if owner in self._entries:
                self._answer(owner, *asked)
            else:
                self._waiting.setdefault(owner, []).append(asked)

    def _answer(self, owner: int, voxels: Array, who: Array) -> None:
        entered, codes, _ = self._entries[owner]
        place = np.searchsorted(entered, voxels)
        if place.max(initial=-1) >= entered.size or not np.array_equal(entered[place], voxels):
            raise RuntimeError("a path left for nowhere")
        self._leads_to[who] = self._offsets[owner] + codes[place] - 1

    def joined(self) -> Tables:
        """Return the tables of all basins, once every block has told."""
        if self._waiting:
            raise RuntimeError("a path left for nowhere")
        code = self._leads_to
        chunks = [slice(first, first + self._CHUNK) for first in range(0, code.size, self._CHUNK)]
        for chunk in chunks:
            code[chunk] = union_find.jump(code, code[chunk])
        peaks, heights, codes = (np.concatenate(parts) for parts in zip(*self._peaks, strict=True))
        by_index = np.argsort(peaks)
        # From here on a peak's place holds its basin; all others still hold the place of a peak.
        code[codes[by_index]] = np.arange(1, peaks.size + 1, dtype=np.uint32)
        for chunk in chunks:
            others = np.ones(code[chunk].size, bool)
            first, stop = np.searchsorted(codes, (chunk.start, chunk.stop))
            others[codes[first:stop] - chunk.start] = False
            code[chunk][others] = code[code[chunk][others]]
        return {
            "peaks": peaks[by_index],
            "peak_depth": heights[by_index],
            "basin_of_code": code,
            "code_offsets": self._offsets,
        }


def _owners(grid: Grid, voxels: Array) -> Array:
    """Return the number of the block that each voxel belongs to."""
    z, y, x = (a // b for a, b in zip(np.unravel_index(voxels, grid.shape), grid.block, strict=True))
    return np.asarray((z * grid.counts[1] + y) * grid.counts[2] + x)
