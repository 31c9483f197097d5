"""Labels of the reference state: touching particles told apart by an exact watershed.

The watershed is that of the whole volume, bit for bit, whatever the blocks are:

1. depth: integer distances, with a halo as wide as the deepest particle is deep (`max_radius` at most, where depth is
   capped for all blocks alike);
2. basins: pointers to the highest neighbour, with ties broken by the global index, followed across blocks;
3. saddles: the highest saddle of each pair of basins is a maximum, which can be taken block by block; basins are then
   merged in one process, in an order fixed by heights and global indices;
4. relabel: each voxel's basin is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crackdask.blocks.passes import Block, Pass, Result, Tables, Tally, window_ahead
from crackdask.grid import Edges, Grid
from crackdask.kernels import basin_merging
from crackdask.kernels import watershed as kernels
from crackdask.kernels.depth_in_mask import LARGEST_DEPTH, STEPS_PER_VOXEL
from crackdask.steps.declaration import Of, Setting, Stage, Step
from crackdask.steps.watershed import (
    BASIN_TABLES,
    BASINS,
    LABELLED,
    ascent_pass,
    carried_tables,
    fold_saddles,
    read_basins,
    tally_saddles,
)


class LabelsParams(BaseModel):
    """How particles are told apart. Lengths are in voxels of the smallest edge.

    >>> LabelsParams().least_rise
    32
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    smoothing: float = Field(default=1.0, ge=0.0, le=8.0, description="Standard deviation of the Gaussian on the depth")
    min_depth: float = Field(
        default=0.5,
        ge=1.0 / STEPS_PER_VOXEL,
        le=float(LARGEST_DEPTH),
        description="Particles whose depth rises less than this above the saddle between them are one",
    )
    max_radius: int = Field(
        default=48,
        ge=2,
        le=LARGEST_DEPTH,
        description="Depth is capped here; larger than the largest particle's radius",
    )

    @property
    def least_rise(self) -> int:
        """The smallest rise that keeps two particles apart, in steps of depth."""
        return max(1, ceil(self.min_depth * STEPS_PER_VOXEL))


def passes(params: LabelsParams, voxel_um: Edges) -> tuple[Pass, ...]:
    """Return the passes from ``mask`` to ``label``, for voxels with edges `voxel_um` along (z, y, x).

    Volumes: reads ``mask`` (bool); writes ``depth`` (uint16, 1/64 of the smallest edge), ``basin`` (uint32, means
    something only to these passes) and ``label`` (uint32: 0 outside the mask, else 1..n in raster order of each
    particle's highest point, of equal ones the last).

    Tables made for others: ``deepest`` and ``capped_voxels`` (see :func:`crackdask.steps.watershed.depth_pass`),
    ``particles`` (how many), ``highest`` (global index of each particle's highest point), and what the next state's
    transfer starts from: ``previous_max_depth`` (uint16, by label id, 0 for id 0), ``lost_seed_voxel`` and
    ``lost_seed_label`` (empty).

    A mask without a voxel gives labels that are all 0 and 0 particles.
    """
    if len(voxel_um) != 3 or not all(0 < edge < float("inf") for edge in voxel_um):
        raise ValueError(f"voxel edges (z, y, x) must be three positive lengths, not {voxel_um}")
    return (
        ascent_pass(params.smoothing, params.max_radius, voxel_um),
        Pass(
            name="saddles",
            kernel=_tally_saddles,
            reads={"basin": 1, "depth": 1},
            tables=(*BASIN_TABLES, "peaks", "peak_depth"),
            makes=("label_of_basin", "particles", "highest"),
            scratch=7,
            reduce=partial(_merge_basins, least_rise=params.least_rise),
        ),
        Pass(
            name="relabel",
            kernel=_relabel,
            reads={"basin": 0, "depth": 0},
            writes={"label": "uint32"},
            tables=(*BASIN_TABLES, "label_of_basin", "particles"),
            scratch=1,
            makes=("previous_max_depth", "lost_seed_voxel", "lost_seed_label"),
            reduce=_max_depths,
        ),
    )


def _tally_saddles(block: Block) -> Result:
    return Result(tally=tally_saddles(block, read_basins(block, window_ahead(block))))


def _merge_basins(grid: Grid, tallies: Sequence[Tally], tables: Tables, *, least_rise: int) -> Tables:
    """Merge basins by the rise of their peaks and name the particles."""
    pairs, saddles = fold_saddles(tallies)
    roots = basin_merging.merge_by_height(pairs, saddles, tables["peak_depth"], least_rise)
    tops = np.flatnonzero(roots == np.arange(1, roots.size + 1))
    return {
        "label_of_basin": basin_merging.name_particles(roots),
        "particles": np.array([tops.size], np.int64),
        "highest": tables["peaks"][tops],
    }


def _relabel(block: Block) -> Result:
    codes, number = np.ascontiguousarray(block.read("basin")), block.number
    first, stop = block.table("code_offsets")[number : number + 2]
    names = block.table("label_of_basin")[block.table("basin_of_code")[first:stop] - 1]
    labels = np.empty(codes.shape, np.uint32)
    kernels.look_up(codes, names, labels)
    tops = kernels.tops(codes, block.read("depth"), names.size)
    present, depths = basin_merging.fold([(names, tops)], how=np.maximum)
    return Result({"label": labels}, {"labels": present, "max_depth": depths})


def _max_depths(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    return carried_tables(tallies, int(tables["particles"][0]))


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes(setting.parameters["labels"], setting.voxel_um)


STEP = Step(
    name="labels",
    stage=Stage.STATES,
    parameters=LabelsParams,
    sections=("labels",),
    facts=("voxel_um",),
    states="reference",
    needs=(("mask", Of.ITSELF),),
    reads=(("mask", Of.ITSELF),),
    writes=LABELLED,
    internal=BASINS,
    passes=_planned,
    seconds_per_megavoxel=0.07,
)
