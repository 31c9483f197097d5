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

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, core, window
from crackdask.grid import Grid, Triple
from crackdask.kernels import basin_merging, distance, seeds
from crackdask.kernels import watershed as kernels
from crackdask.steps.carried_seeds import CARRIED, ReadSeeds, carry, keep, read_seeds, thresholds_of
from crackdask.steps.declaration import LABELLING, Of, Setting, Stage, Step
from crackdask.steps.watershed import (
    BASIN_TABLES,
    BASINS,
    LABELLED,
    Edges,
    basins_pass,
    corner,
    depth_pass,
    fold_saddles,
    global_index,
    read_basins,
    tally_saddles,
)

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
    weights, _ = distance.square_weights(voxel_um)
    deep = partial(read_seeds, seed_depth=params.seed_depth)
    previous = {"previous_label": 1, "previous_depth": 1}
    return (
        depth_pass(labels_params.smoothing, labels_params.max_radius, voxel_um),
        basins_pass(),
        Pass(
            name="overlaps",
            kernel=partial(_tally_overlaps, read_seeds=deep),
            reads={"basin": 0, "previous_label": 0, "previous_depth": 0},
            tables=(*BASIN_TABLES, *CARRIED, "peaks"),
            makes=("node_of_basin", "node_label", "cutting"),
            scratch=9,
            reduce=partial(_count_seeds, min_overlap=params.min_overlap),
        ),
        Pass(
            name="rims",
            kernel=partial(_tally_rims, read_seeds=deep),
            reads={"basin": 1, **previous},
            tables=(*BASIN_TABLES, *CARRIED, "cutting"),
            makes=("cut_basin", "cut_offsets", "cut_rim"),
            scratch=9,
            reduce=_sort_rims,
        ),
        Pass(
            name="saddles",
            kernel=partial(_tally_saddles, weights=weights),
            reads={"basin": 1, "depth": 1},
            tables=(*_CUT_TABLES, *CARRIED, "node_label"),
            makes=("label_of_node", "lost_labels"),
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
    chained = params.mode == "chain"
    previous = {"previous_label": 0, "previous_depth": 0} if chained else {}
    return Pass(
        name="relabel",
        kernel=partial(_relabel, weights=weights, seed_depth=params.seed_depth if chained else None),
        reads={"basin": 0, "depth": 0, **previous},
        writes={"label": "uint32"},
        tables=(*_CUT_TABLES, *CARRIED, "label_of_node", "lost_labels"),
        makes=CARRIED,
        scratch=9,
        reduce=carry if chained else keep,
    )


def _read_nodes(block: Block, halo: int, weights: Triple) -> Array:
    """Return the nodes of a block and its halo: basins, or the pieces of those that are cut."""
    nodes = read_basins(block, halo)
    seeds.split(
        nodes,
        window(block, halo).start,
        block.table("node_of_basin"),
        block.table("cut_basin"),
        block.table("cut_offsets"),
        block.table("cut_rim"),
        weights,
    )
    return nodes


def _tally_overlaps(block: Block, *, read_seeds: ReadSeeds) -> Result:
    pairs, voxels = seeds.overlaps(read_basins(block, 0), read_seeds(block, 0))
    return Result(tally={"pairs": pairs, "voxels": voxels})


def _count_seeds(grid: Grid, tallies: Sequence[Tally], tables: Tables, *, min_overlap: float) -> Tables:
    """Decide which seeds count in which basin, and number the nodes."""
    pairs, voxels = basin_merging.fold(((t["pairs"], t["voxels"]) for t in tallies), how=np.add)
    pairs = pairs[basin_merging.counted_seeds(pairs, voxels, min_overlap)]
    basins = (pairs >> _HALF).astype(np.int64)
    counts = np.bincount(basins, minlength=tables["peaks"].size + 1)
    sizes = np.maximum(counts, 1)
    sizes[0] = 1
    nodes = np.concatenate([[0], np.cumsum(sizes)])
    labels = np.zeros(nodes[-1] - 1, np.uint32)
    rank = np.arange(pairs.size) - np.searchsorted(basins, basins)
    labels[nodes[basins] + rank - 1] = (pairs & _LOW).astype(np.uint32)
    return {
        "node_of_basin": nodes,
        "node_label": labels,
        "cutting": pairs[counts[basins] > 1],
    }


def _tally_rims(block: Block, *, read_seeds: ReadSeeds) -> Result:
    cutting = block.table("cutting")
    places, voxels = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if cutting.size:
        start, own = corner(core(block, 1)), block.grid.box(block.number)
        places, voxels = seeds.rims(read_basins(block, 1), read_seeds(block, 1), start, own.shape, cutting)
        voxels = global_index(voxels, window(block, 1), block.grid.shape)
    return Result(tally={"places": places, "voxels": voxels})


def _sort_rims(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Gather the seed voxels of each cut basin in raster order."""
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
    }


def _tally_saddles(block: Block, *, weights: Triple) -> Result:
    return Result(tally=tally_saddles(block, _read_nodes(block, 1, weights)))


def _merge_nodes(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Give every node a label, and say which known labels have none."""
    pairs, saddles = fold_saddles(tallies)
    labels = basin_merging.merge_by_label(pairs, saddles, tables["node_label"])
    known = np.union1d(np.flatnonzero(tables["previous_max_depth"]), tables["lost_seed_label"])
    lost = np.setdiff1d(known, tables["node_label"])
    return {"label_of_node": labels, "lost_labels": lost.astype(np.uint32)}


def _relabel(block: Block, *, weights: Triple, seed_depth: float | None) -> Result:
    nodes = _read_nodes(block, 0, weights)
    labels = np.empty_like(nodes)
    kernels.look_up(nodes, block.table("label_of_node"), labels)
    tops = kernels.tops(labels, block.read("depth"), block.table("previous_max_depth").size - 1)
    present = np.flatnonzero(tops)
    tally = {
        "labels": (present + 1).astype(np.uint32),
        "max_depth": tops[present],
        "lost_voxels": np.zeros(0, np.int64),
        "lost_labels": np.zeros(0, np.uint32),
    }
    lost = block.table("lost_labels")
    if seed_depth is not None and lost.size:
        thresholds = np.full(tops.size + 1, np.iinfo(np.uint16).max, np.uint16)
        thresholds[lost] = thresholds_of(block, seed_depth)[lost]
        again = seeds.deep_parts(block.read("previous_label"), block.read("previous_depth"), thresholds)
        at = np.flatnonzero(again)
        tally["lost_voxels"] = global_index(at, window(block, 0), block.grid.shape)
        tally["lost_labels"] = again.reshape(-1)[at]
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
    internal=BASINS,
    aliases={"previous_label": "label", "previous_depth": "depth"},
    passes=_planned,
    seconds_per_megavoxel=0.21,
)
