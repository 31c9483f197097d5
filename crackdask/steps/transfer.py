"""Labels of a later state: every particle keeps the id it has in the state before.

The watershed is that of :mod:`crackdask.steps.labels`; only its merge differs, since labels arrive as seeds.

1. The **seed** of a label is where its depth in the previous state exceeds `seed_depth` of its largest depth there. A
   label that the previous state lost keeps its last seed; at a voxel where seeds meet, that of a label present in the
   previous state wins, then the lower id.
2. A seed **counts** in a basin where it shares at least `min_overlap` of the voxels that the largest seed there has.
3. A basin with one counted seed has its label. A basin with more is **cut**: each voxel goes to the nearest voxel of
   the counted seeds in that basin (squared distance, then lower id), and its pieces stand in the table of saddles like
   basins. Nodes, whole basins or pieces, are in the order of their peak's global index, then of their seed.
4. Nodes without a label **join** the neighbour over the highest saddle, in the order saddle down, then the two nodes;
   two labels never join. A group of nodes that meets no label is 0.
5. A label without a voxel is **lost** in this state, and its seed goes on to the next.

Why the blocks do not matter: depth and basins do not depend on them (`crackdask.steps.watershed`); overlaps are sums
and saddles maxima of integers; a cut reads the seed voxels of its basin from a table, wherever in the volume they lie,
and measures in integers; the decisions are taken on tables, in one process, in an order without ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, window, window_ahead, writable
from crackdask.grid import Box, Edges, Grid, Triple
from crackdask.kernels import basin_merging, depth_in_mask, seeds
from crackdask.kernels import watershed as kernels
from crackdask.steps.carried_seeds import CARRIED, ReadSeeds, carry, keep, read_seeds
from crackdask.steps.declaration import LABELLING, Of, Setting, Stage, Step, Volume
from crackdask.steps.watershed import (
    BASIN_TABLES,
    BASINS,
    LABELLED,
    ascent_pass,
    codes_within,
    fold_saddles,
    global_index,
    join_basins,
    tally_saddles,
)

#: The label at each voxel of a seed, 0 elsewhere.
SEEDS = {"seed": Volume("uint32", 0.2)}
_CUT_TABLES = (*BASIN_TABLES, "node_of_basin", "cut_basin", "cut_offsets", "cut_rim")
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class TransferParams(BaseModel):
    """How labels are carried to the next state.

    >>> TransferParams().mode
    'chain'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    mode: Literal["chain", "reference"] = Field(
        default="chain", description="Seeds come from the state before, or always from the reference"
    )
    seed_depth: float = Field(
        default=0.5,
        ge=0.0,
        lt=1.0,
        description="A seed is where a particle is deeper than this share of its largest depth",
    )
    min_overlap: float = Field(
        default=0.2,
        gt=0.0,
        le=1.0,
        description="A seed counts in a basin where it has this share of the largest seed's overlap",
    )


class DepthParams(Protocol):
    """What the transfer takes over from the parameters of the reference's labels."""

    @property
    def smoothing(self) -> float:
        """Standard deviation of the Gaussian on the depth, voxels."""

    @property
    def max_radius(self) -> int:
        """Largest depth, voxels."""


def passes(params: TransferParams, labels_params: DepthParams, voxel_um: Edges) -> tuple[Pass, ...]:
    """Return the passes from a later state's ``mask`` to its ``label``.

    Volumes: reads ``mask`` (bool), ``previous_label`` (uint32) and ``previous_depth`` (uint16), the ``label`` and
    ``depth`` of the state before, in mode "reference" those of the reference. Writes ``depth``, ``basin`` and ``label``
    as the passes of the reference's labels do.

    Tables in: those named in :data:`CARRIED`, from the state before (the reference's labels make the first):
    ``previous_max_depth`` (uint16, largest depth by label id, 0 for a label without a voxel), ``lost_seed_voxel``
    (int64, global index) and ``lost_seed_label`` (uint32), rows in the order voxel, label. Tables out: the same
    for the next state (in mode "reference" unchanged), and ``lost_labels`` (uint32, known labels without a
    voxel in this state), ``deepest`` and ``capped_voxels``.
    """
    weights, _ = depth_in_mask.square_weights(voxel_um)
    ascent = ascent_pass(labels_params.smoothing, labels_params.max_radius, voxel_um)
    return (
        replace(
            ascent,
            kernel=partial(_climb, climb=ascent.kernel, read_seeds=partial(read_seeds, seed_depth=params.seed_depth)),
            reads={**ascent.reads, "previous_label": 0, "previous_depth": 0},
            writes={**ascent.writes, **{name: str(volume.dtype) for name, volume in SEEDS.items()}},
            tables=CARRIED,
            makes=(*ascent.makes, "node_of_basin", "node_label", "cutting", "lost_labels"),
            reduce=partial(_count_seeds, min_overlap=params.min_overlap),
        ),
        Pass(
            name="cuts",
            kernel=partial(_tally_rims, chained=params.mode == "chain"),
            reads={"basin": 0, "seed": 0},
            tables=(*BASIN_TABLES, *CARRIED, "cutting", "lost_labels"),
            makes=("cut_basin", "cut_offsets", "cut_rim", "lost_again_voxel", "lost_again_label"),
            scratch=9,
            reduce=_sort_rims,
        ),
        Pass(
            name="saddles",
            kernel=partial(_tally_saddles, weights=weights),
            reads={"basin": 1, "depth": 1},
            tables=(*_CUT_TABLES, *CARRIED, "node_label"),
            makes=("label_of_node",),
            scratch=7,
            reduce=_merge_nodes,
        ),
        _relabel_pass(params, weights),
    )


class DepthLimits(NamedTuple):
    """How depth is made, as the labels that are carried had it; lengths in voxels of the smallest edge."""

    smoothing: float
    max_radius: int


def _relabel_pass(params: TransferParams, weights: Triple) -> Pass:
    return Pass(
        name="relabel",
        kernel=partial(_relabel, weights=weights),
        reads={"basin": 0, "depth": 0},
        writes={"label": "uint32"},
        tables=(*_CUT_TABLES, *CARRIED, "label_of_node", "lost_labels", "lost_again_voxel", "lost_again_label"),
        makes=CARRIED,
        scratch=5,
        reduce=carry if params.mode == "chain" else keep,
    )


def _read_nodes(block: Block, box: Box, weights: Triple, names: Array) -> Array:
    """Return the names of the nodes of the voxels of a box: of basins, or of the pieces of those that are cut."""
    nodes = writable(block.read_box("basin", box))
    first, cut = block.table("node_of_basin"), block.table("cut_basin")
    offsets, rim = block.table("cut_offsets"), block.table("cut_rim")
    for part, basins in codes_within(block, box):
        seeds.split(nodes, part, box.start, basins, first, cut, offsets, rim, weights, names)
    return nodes


def _climb(block: Block, *, climb: Callable[..., Result], read_seeds: ReadSeeds) -> Result:
    """Find basins, and how many voxels each shares with each seed; which basin a code is, the reduction knows."""
    # About as deep as they were: where a particle is deeper, the search is widened.
    before = block.read("previous_depth")
    found = climb(block, likely=int(before.max()) // depth_in_mask.STEPS_PER_VOXEL + 2)
    seeded = read_seeds(block, before)
    pairs, voxels = seeds.overlaps(found.volumes["basin"], seeded)
    return Result({**found.volumes, "seed": seeded}, {**found.tally, "pairs": pairs, "voxels": voxels})


def _count_seeds(grid: Grid, tallies: Sequence[Tally], tables: Tables, *, min_overlap: float) -> Tables:
    """Join the basins, decide which seeds count in which of them, and number the nodes."""
    overlaps: list[tuple[Array, Array]] = []

    def read() -> Iterator[Tally]:
        for tally in tallies:
            overlaps.append((tally["pairs"], tally["voxels"]))
            yield tally

    joined = dict(join_basins(grid, read(), tables))
    names, offsets = joined["basin_of_code"], joined["code_offsets"]

    def shared(number: int) -> tuple[Array, Array]:
        """Return a block's pairs of basin and seed, and how many voxels they share."""
        pairs, voxels = overlaps[number]
        codes = (pairs >> _HALF).astype(np.int64) - 1
        return names[offsets[number] + codes].astype(np.uint64) << _HALF | pairs & _LOW, voxels

    pairs, voxels = basin_merging.fold(map(shared, range(len(grid))), how=np.add)
    pairs = pairs[basin_merging.counted_seeds(pairs, voxels, min_overlap)]
    basins = (pairs >> _HALF).astype(np.int64)
    counts = np.bincount(basins, minlength=joined["peaks"].size + 1)
    sizes = np.maximum(counts, 1)
    sizes[0] = 1
    nodes = np.concatenate([[0], np.cumsum(sizes)])
    labels = np.zeros(nodes[-1] - 1, np.uint32)
    rank = np.arange(pairs.size) - np.searchsorted(basins, basins)
    known = np.union1d(np.flatnonzero(tables["previous_max_depth"]), tables["lost_seed_label"])
    labels[nodes[basins] + rank - 1] = (pairs & _LOW).astype(np.uint32)
    return joined | {
        "node_of_basin": nodes,
        "node_label": labels,
        "cutting": pairs[counts[basins] > 1],
        "lost_labels": np.setdiff1d(known, labels).astype(np.uint32),
    }


def _tally_rims(block: Block, *, chained: bool) -> Result:
    """Find what the cuts and the next state need of the seeds: their rims, and all of those that are lost."""
    cutting, own = block.table("cutting"), block.grid.box(block.number)
    first, stop = block.table("code_offsets")[block.number : block.number + 2]
    cuts = np.isin(block.table("basin_of_code")[first:stop], cutting >> _HALF).any()
    lost, before = block.table("lost_labels"), block.table("previous_max_depth")
    lost = lost[before[lost] > 0] if chained else lost[:0]  # the last seeds of those lost before are at hand
    places, voxels, again = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    names = np.zeros(0, np.uint32)
    if cuts or lost.size:
        seeded = np.ascontiguousarray(block.read("seed"))
        if lost.size:
            again = seeds.of_labels(seeded, lost, before.size)
            names = seeded.reshape(-1)[again]
        if cuts:
            codes = np.ascontiguousarray(block.read("basin"))
            places, voxels = seeds.rims(codes, block.table("basin_of_code")[first:stop], seeded, cutting)
    return Result(
        tally={
            "places": places,
            "voxels": global_index(voxels, own, block.grid.shape),
            "lost_voxels": global_index(again, own, block.grid.shape),
            "lost_labels": names,
        }
    )


def _sort_rims(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Gather the seed voxels of each cut basin in raster order, and those of the lost labels."""
    places = np.concatenate([tally["places"] for tally in tallies])
    voxels = np.concatenate([tally["voxels"] for tally in tallies])
    basins = tables["cutting"] >> _HALF
    rank = np.arange(basins.size) - np.searchsorted(basins, basins)
    order = np.lexsort((voxels, basins[places]))
    places, voxels = places[order], voxels[order]
    cut = np.unique(basins)
    offsets = np.append(np.searchsorted(basins[places], cut), places.size)
    z, y, x = np.unravel_index(voxels, grid.shape)
    return {
        "cut_basin": cut.astype(np.uint32),
        "cut_offsets": offsets,
        "cut_rim": np.stack([z, y, x, rank[places]], axis=1).astype(np.int32),
        "lost_again_voxel": np.concatenate([tally["lost_voxels"] for tally in tallies]),
        "lost_again_label": np.concatenate([tally["lost_labels"] for tally in tallies]),
    }


def _tally_saddles(block: Block, *, weights: Triple) -> Result:
    numbers = np.arange(1, block.table("node_of_basin")[-1], dtype=np.uint32)
    return Result(tally=tally_saddles(block, _read_nodes(block, window_ahead(block), weights, numbers)))


def _merge_nodes(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Give every node a label."""
    pairs, saddles = fold_saddles(tallies)
    labels = basin_merging.merge_by_label(pairs, saddles, tables["node_label"])
    return {"label_of_node": labels}


def _relabel(block: Block, *, weights: Triple) -> Result:
    labels = _read_nodes(block, window(block, 0), weights, block.table("label_of_node"))
    tops = kernels.tops(labels, block.read("depth"), block.table("previous_max_depth").size - 1)
    present = np.flatnonzero(tops)
    tally = {
        "labels": (present + 1).astype(np.uint32),
        "max_depth": tops[present],
    }
    return Result({"label": labels}, tally)


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes(setting.parameters["transfer"], setting.parameters["labels"], setting.voxel_um)


STEP = Step(
    name="transfer",
    stage=Stage.STATES,
    parameters=TransferParams,
    sections=("transfer", "labels"),
    states="others",
    needs=(("mask", Of.ITSELF), (LABELLING, Of.BEFORE), ("labels", Of.REFERENCE)),
    reads=(("mask", Of.ITSELF), ("label", Of.BEFORE), ("depth", Of.BEFORE)),
    writes=LABELLED,
    internal=BASINS | SEEDS,
    aliases={"previous_label": "label", "previous_depth": "depth"},
    passes=_planned,
    seconds_per_megavoxel=0.09,
)
