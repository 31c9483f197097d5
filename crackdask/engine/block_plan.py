"""What a run will take, before it starts: blocks, bytes, disk, tasks and time. Only arithmetic.

Memory is a contract: a worker's peak is its libraries and kernels at rest, the most expensive pass on one block, and
what its heap keeps of the blocks before, whatever the size of the volume. Where the budget allows no block the recipe
is refused, with what would fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod, sin
from typing import Any

import numpy as np

from crackdask.blocks.passes import Pass
from crackdask.engine.projection_costs import Projected
from crackdask.engine.work_units import stored_volumes, units
from crackdask.grid import Grid, Triple, check_single_writer, coarser
from crackdask.recipe.recipe import Recipe, RecipeError
from crackdask.schema import LEVELS, TOMOGRAMS
from crackdask.steps.declaration import Setting, Step
from crackdask.steps.levels import block_bytes
from crackdask.steps.local_motion import tile_bytes
from crackdask.steps.read import slabs as scan_slabs
from crackdask.steps.registry import KEPT_ON_REQUEST, REGISTRY, VOLUMES
from crackdask.store.arrays import VolumeLayout
from crackdask.store.levels import level_layout

#: A worker with all libraries loaded and kernels compiled, before the first voxel (measured, rounded up).
BASE_BYTES = 320 * 2**20
#: What a worker's heap keeps at most of what was let go, for the next block (`cluster.worker_settings.ENVIRONMENT`).
KEPT_BYTES = 96 * 2**20
#: Voxels by which the window of a block is wider along an axis where a field of displacements differs within the block.
BENT = 16
#: Of the bytes of a tomogram's real numbers, what is left of them after compression.
KEPT_SHARE = 0.9
#: Edge of the largest block that is chosen by itself; larger ones gain nothing.
LARGEST_BLOCK = 256


@dataclass(frozen=True)
class PassCost:
    """What one pass takes on one block."""

    step: str
    name: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """Blocks and their cost.

    Attributes
    ----------
    grid, slabs
        Blocks of the stored volume, and the slabs in which a scan is read.
    levels
        Blocks of the coarser levels of the stored volume.
    chunk, raw_chunk
        Chunks of the stored volumes and of the raw scan in the work folder.
    costs
        Peak bytes of each pass on one block.
    """

    grid: Grid
    slabs: Grid
    levels: tuple[Grid, ...]
    chunk: Triple
    raw_chunk: Triple
    costs: tuple[PassCost, ...]

    @property
    def scan_blocks(self) -> Grid:
        """Blocks of a whole scan."""
        return Grid(self.slabs.shape, self.grid.block)

    def walked(self, step: Step) -> Grid:
        """Return what the passes of a step go over."""
        return {"blocks": self.grid, "slabs": self.slabs, "scan": self.scan_blocks}[step.walks]

    @property
    def peak(self) -> PassCost:
        """The most expensive pass."""
        return max(self.costs, key=lambda cost: cost.bytes)

    @property
    def worker_bytes(self) -> int:
        """Planned peak of one worker."""
        return BASE_BYTES + self.peak.bytes + self.kept_bytes

    @property
    def kept_bytes(self) -> int:
        """What its heap keeps of earlier blocks while it is at that pass."""
        return min(KEPT_BYTES, self.peak.bytes // 2)


@dataclass(frozen=True)
class Estimate:
    """What a whole run takes; `files` are those of a state's volumes and their coarser levels in the store."""

    voxels: int
    blocks: int
    tasks: int
    files: int
    source_bytes: int
    store_bytes: int
    work_bytes: int
    seconds: float


def passes_by_step(recipe: Recipe, scan: Triple, dtype: np.dtype[Any]) -> Iterator[tuple[str, Pass]]:
    """Yield every pass of one state, as it will be run."""
    setting = Setting(recipe.sections(), recipe.experiment.voxel_um, recipe.experiment.fill, scan, dtype)
    for step in REGISTRY.values():
        for each in step.passes(setting):
            yield step.name, each


def plan_blocks(
    recipe: Recipe, scan: Triple, shape: Triple, dtype: np.dtype[Any], workers: int, also: Sequence[PassCost] = ()
) -> Plan:
    """Choose the blocks, or take the recipe's, and check that one fits the memory of a worker.

    Parameters
    ----------
    recipe
        The recipe.
    scan, shape
        Shapes of a scan and of the stored (cropped) volume.
    dtype
        Of the scans.
    workers
        How many blocks are worked on at once.
    also
        What passes take that do not walk these blocks.

    Raises
    ------
    RecipeError
        If the memory is too small for one block; the message says what would fit.
    """
    compute = recipe.compute
    chunk: Triple = tuple(min(c, n) for c, n in zip(compute.chunk, shape, strict=True))  # type: ignore[assignment]
    raw_chunk = tuple(min(c, n) for c, n in zip((32, 64, 64), scan, strict=True))
    unit = compute.shard or compute.chunk
    plan: Plan | None = None
    for block in [compute.block] if compute.block != "auto" else _candidates(unit, shape, workers):
        fitted: Triple = tuple(min(b, n) for b, n in zip(block, shape, strict=True))  # type: ignore[assignment]
        left = compute.memory - BASE_BYTES
        room = max(left - KEPT_BYTES, 2 * left // 3, 2**24)
        slabs = scan_slabs(scan, dtype.itemsize, (32, 64, 64), room // 8)
        levels = level_blocks(shape, VolumeLayout(compute.chunk, compute.shard), fitted)
        most = max(map(block_bytes, levels))
        costs = (*also, *_costs(recipe, scan, dtype, fitted, slabs), PassCost("levels", "level_1", most))
        plan = Plan(Grid(shape, block), slabs, levels, chunk, raw_chunk, costs)  # type: ignore[arg-type]
        if plan.worker_bytes <= compute.memory:
            return plan
    if plan is None:
        raise RuntimeError("no block was tried")
    raise RecipeError(_too_little(recipe, plan))


def level_blocks(shape: Triple, layout: VolumeLayout, block: Triple) -> tuple[Grid, ...]:
    """Return the blocks of the coarser levels of a volume: whole files, over no more than a block of it where possible.

    Parameters
    ----------
    shape, layout
        Of the volume.
    block
        Of the volume.
    """
    grids = []
    for level in coarser(shape):
        cut = level_layout(layout, level)
        z, y, x = (max(u, b // 2 // u * u) for u, b in zip(cut.shard or cut.chunk, block, strict=True))
        grids.append(Grid(level, (z, y, x)))
        check_single_writer(grids[-1], cut.shard or cut.chunk)
    return tuple(grids)


def _too_little(recipe: Recipe, plan: Plan) -> str:
    """Say that no block fits, and what would."""
    compute = recipe.compute
    needed = ceil(plan.worker_bytes / 2**20)
    return (
        f"compute.memory: {compute.memory / 2**20:.0f} MiB for each worker is too little for a block of "
        f"{' x '.join(map(str, plan.grid.block))} voxels: {plan.peak.step} ({plan.peak.name}) takes "
        f"{plan.peak.bytes / 2**20:.0f} MiB beside {BASE_BYTES / 2**20:.0f} MiB for the program and "
        f"{plan.kept_bytes / 2**20:.0f} MiB of heap; "
        f"set memory = '{needed} MiB' or more{', or a smaller block' if compute.block != 'auto' else ''}"
    )


def _candidates(unit: Triple, shape: Triple, workers: int) -> list[Triple]:
    """Return block shapes from large to small; not larger than leaves every worker something to do."""
    blocks: list[Triple] = []
    for edge in range(LARGEST_BLOCK, 0, -1):
        block = tuple(max(u, edge // u * u) for u in unit)
        for each in (_without_slivers(block, unit, shape), block):  # type: ignore[arg-type]
            if each not in blocks:
                blocks.append(each)  # type: ignore[arg-type]
    busy = [block for block in blocks if len(Grid(shape, block)) >= 4 * workers]
    return busy or blocks[-1:]


def _without_slivers(block: Triple, unit: Triple, shape: Triple) -> Triple:
    """Return a block a little longer along axes whose last blocks would be slivers: what is around them costs more.

    >>> _without_slivers((256, 256, 256), (64, 64, 64), (200, 770, 1500))
    (256, 320, 256)
    """
    z, y, x = (b + u if 0 < n % b <= b // 8 and n > b else b for b, u, n in zip(block, unit, shape, strict=True))
    return (z, y, x)


def _costs(recipe: Recipe, scan: Triple, dtype: np.dtype[Any], block: Triple, slabs: Grid) -> Iterator[PassCost]:
    if recipe.register_.may_bend and len(recipe.states) > 1:
        yield PassCost("register", "local motion", tile_bytes(recipe.register_.local_spacing, dtype.itemsize))
    for step, each in passes_by_step(recipe, scan, dtype):
        if REGISTRY[step].walks == "slabs":
            voxels = prod(min(b, n) for b, n in zip(slabs.block, scan, strict=True))
            yield PassCost(step, each.name, voxels * (2 * dtype.itemsize + each.scratch))
            continue
        windows = {
            name: _turned(recipe, block) if callable(where) else prod(b + 2 * where for b in block)
            for name, where in each.reads.items()
        }
        reads = sum(n * _itemsize(REGISTRY[step], name, dtype) for name, n in windows.items())
        writes = sum(prod(block) * np.dtype(kind).itemsize for kind in each.writes.values())
        yield PassCost(step, each.name, reads + writes + each.scratch * max(windows.values()))


def _itemsize(step: Step, volume: str, dtype: np.dtype[Any]) -> int:
    """Return the bytes of a voxel of a volume that a step reads; `dtype` is the scan's."""
    kind = VOLUMES[step.aliases.get(volume, volume)].dtype
    return dtype.itemsize if kind is None else np.dtype(kind).itemsize


def _turned(recipe: Recipe, block: Triple) -> int:
    """Return the voxels of the box around a block that is turned as far as registration may."""
    turn = sin(np.deg2rad(recipe.register_.max_rotation_deg))
    bent = BENT if recipe.register_.may_bend else 0
    return prod(ceil(b + turn * (sum(block) - b)) + 4 + bent for b in block)


def estimate(
    recipe: Recipe, plan: Plan, dtype: np.dtype[Any], workers: int, projected: Sequence[Projected] = ()
) -> Estimate:
    """Return what the whole run takes: bytes, tasks and a likely time; `projected` are the states of projections."""
    states = len(recipe.states)
    voxels, scan = prod(plan.grid.shape), prod(plan.slabs.shape)
    kept = kept_bytes(recipe)
    per_step: dict[str, int] = {}
    for name, _ in passes_by_step(recipe, plan.slabs.shape, dtype):
        per_step[name] = per_step.get(name, 0) + 1
    tasks, seconds = 0, 0.0
    for unit in units(recipe):
        step = REGISTRY[unit.step]
        walked = plan.walked(step)
        tasks += per_step.get(step.name, 0) * len(walked)
        tasks += sum(map(len, plan.levels)) * (step.name == LEVELS)
        seconds += step.seconds_per_megavoxel * prod(walked.shape) / 1e6
        seconds += step.seconds_per_state * (unit.state != recipe.reference)
    seconds += sum(each.seconds for each in projected)
    stored = _disk_bytes(stored_volumes(recipe)) * voxels * states + kept * scan * len(projected)
    # While scans are read and registered, a state is carried on beside them; after that, while one is, the next one is
    # denoised and masked (`work_units.ready`). While a tomogram is read, the next state is sorted to sinograms and
    # reconstructed.
    made = max((each.sinogram_bytes + 2 * each.tomogram_bytes for each in projected), default=0)
    carried = _disk_bytes(name for name, volume in VOLUMES.items() if volume.kept != "always")
    work = voxels * carried + max(3.0 * scan * dtype.itemsize + made, voxels * _disk_bytes(KEPT_ON_REQUEST))
    return Estimate(
        voxels * states,
        len(plan.grid),
        tasks + sum(each.tasks for each in projected),
        _files(recipe, plan),
        scan * dtype.itemsize * (states - len(projected)) + sum(each.bytes for each in projected),
        ceil(stored),
        ceil(work),
        seconds / workers,
    )


def _files(recipe: Recipe, plan: Plan) -> int:
    """Return how many files hold a state's volumes and their coarser levels, of grey levels and of labels."""
    layout, stored = VolumeLayout(recipe.compute.chunk, recipe.compute.shard), stored_volumes(recipe)
    files = (len(stored) - (TOMOGRAMS in stored)) * len(Grid(plan.grid.shape, layout.shard or layout.chunk))
    if TOMOGRAMS in stored:
        files += len(Grid(plan.slabs.shape, layout.shard or layout.chunk))
    for grid in plan.levels:
        cut = level_layout(layout, grid.shape)
        files += 2 * len(Grid(grid.shape, cut.shard or cut.chunk))
    return files


def kept_bytes(recipe: Recipe) -> float:
    """Return the bytes on disk of a voxel of a tomogram that is kept."""
    params = recipe.reconstruct
    return 0.0 if params is None or params.keep is None else KEPT_SHARE * np.dtype(params.keep).itemsize


def _disk_bytes(volumes: Iterable[str]) -> float:
    """Return the bytes on disk of a voxel of some volumes together, after compression."""
    return sum(VOLUMES[name].disk_bytes for name in volumes)
