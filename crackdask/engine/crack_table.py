"""The cracks of all particles of a store, written as its table `cracks`.

Every particle is looked at in its own box, exactly as :func:`crackdask.cracks.cracks_of` does, and its levels come from
the tables of the whole store, so neither blocks nor workers can show. A block only gathers the particles whose boxes
begin in it, so that the chunks around them are read together; no state is ever in memory whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from crackdask.analysis.cracks import TRACED, is_bright, limits, origin, trace
from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.solid_grey import solid
from crackdask.analysis.tables import state_names, table_of, voxel_edges
from crackdask.arrays import Array
from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Executor
from crackdask.engine.progress import BlockReport, Progress
from crackdask.engine.retries import Retries
from crackdask.engine.table_writer import CracksWriter
from crackdask.grid import Box, Triple
from crackdask.schema import CRACKS, UnitKey
from crackdask.storage.locations import Place
from crackdask.store.arrays import Axes
from crackdask.store.open import open_store
from crackdask.store.root import StoreError, attributes, tidy
from crackdask.store.volumes import volume

BLOCK = (128, 128, 128)
#: A damaged store is not mended by a second try.
_RETRIES = Retries(2, (StoreError,))
_VERSION = 2  # of what a crack is; to be raised with a change that alters numbers
#: Parameters that decide the table.
_DECISIVE = ("reference", "void_grey", "noise", "noise_correlation", "crack_threshold")
_LEVELS = ("solid_grey", "core_volume_um3", "crack_volume_partial_um3", "crack_volume_partial_error_um3")


class BlockError(RuntimeError):
    """The cracks of a block could not be measured; the states that were finished are kept."""


@dataclass(frozen=True)
class CrackBlock:
    """Some particles of one state, and the box that holds them all."""

    path: Place
    number: int
    state: int
    rows: Array
    boxes: tuple[Box, ...]
    limits: Array
    bright: bool
    voxel_um: tuple[float, float, float]

    @property
    def box(self) -> Box:
        """The box that is read."""
        starts, stops = zip(*((box.start, box.stop) for box in self.boxes), strict=True)
        low, high = np.min(starts, axis=0).tolist(), np.max(stops, axis=0).tolist()
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def measure(block: CrackBlock) -> dict[str, Array]:
    """Return the rows of a block's particles."""
    outer = block.box
    label, grey = (volume(block.path, name, block.state).read(outer) for name in ("label", "grey"))
    traced = []
    for row, box, limit in zip(block.rows.tolist(), block.boxes, block.limits, strict=True):
        at = box.within(outer)
        traced.append(trace(grey[at], label[at] == row + 1, limit, block.bright, block.voxel_um)[0])
    return {name: np.array([row[name] for row in traced]) for name in TRACED}


def crack_blocks(path: Place, tree: xr.DataTree, levels: xr.Dataset, state: int, block: Triple) -> Iterator[CrackBlock]:
    """Yield the particles of a state, by the block in which their boxes begin; those larger than a block alone."""
    here = table_of(tree, "particles").isel(state=state)
    start, stop = (np.stack([here[f"bbox_{axis}{end}"].values for axis in "zyx"], axis=1) for end in "01")
    rows = np.flatnonzero(np.isfinite(levels.solid_grey.values[state]))
    large = (stop - start > np.array(block)).any(axis=1)
    home = np.where(large[:, None], np.iinfo(np.int32).max, start // np.array(block))
    key = np.column_stack([home, np.where(large, np.arange(large.size), 0)])[rows]
    order = np.lexsort(key.T[::-1])
    apart = np.flatnonzero((np.diff(key[order], axis=0) != 0).any(axis=1)) + 1
    for number, part in enumerate(np.split(rows[order], apart) if rows.size else ()):
        boxes = tuple(
            Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))
            for a, b in zip(start[part].tolist(), stop[part].tolist(), strict=True)
        )
        yield CrackBlock(
            path, number, state, part, boxes, limits(levels, state, part), is_bright(levels), voxel_edges(tree)
        )


def check(path: Place, states: Sequence[str] = (), **parameters: Any) -> None:
    """Refuse what :func:`write_cracks` cannot do, before workers are started for it.

    Raises
    ------
    StoreError
        If there is no store.
    AnalysisError
        If the run of the store is not finished, or there is no such state or parameter.
    """
    attributes(path)
    _names(open_store(path), states, parameters)


def _names(tree: xr.DataTree, states: Sequence[str], parameters: Mapping[str, Any]) -> list[str]:
    """Return the names of all states, where those that are asked for are among them."""
    names = state_names(table_of(tree, "particles"))
    params_of(tree, parameters)
    unknown = [name for name in states if name not in names]
    if unknown:
        raise AnalysisError(f"no state is named {', '.join(map(repr, unknown))}; there are {', '.join(names)}")
    return names


def write_cracks(
    path: Place,
    executor: Executor,
    progress: Progress,
    states: Sequence[str] = (),
    block: Triple = BLOCK,
    **parameters: Any,
) -> tuple[list[str], list[str]]:
    """Measure the cracks of every particle and write them into the store, state by state.

    Parameters
    ----------
    path
        A finished store.
    executor, progress
        Where it runs, and who is told.
    states
        Names; none: all. Those that the table holds already, with the same parameters, are kept.
    block
        Voxels; particles whose boxes begin in one block are read together. Without effect on the result.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Returns
    -------
    tuple
        Names of the states that were measured, and of those that were there before.

    Raises
    ------
    StoreError
        If there is no store, another run holds it, or a chunk of it is damaged.
    AnalysisError
        If the run of the store is not finished, there is no such state, or no level can be told.
    BlockError
        If a block fails for another reason. States that were finished are kept.
    """
    attributes(path)
    with Work.beside(path).held():
        tidy(path)
        tree = open_store(path)
        names, particles = _names(tree, states, parameters), table_of(tree, "particles")
        levels = solid(tree, **parameters).load()
        facts = {"of": origin(tree), "parameters": _decisive(levels)}
        done = _done(tree, facts)
        writer = CracksWriter(
            path, _axes(particles, tree), particles.sizes["particle"], facts if done is None else None
        )
        there = [name for name in names if name in (done or ())]
        todo = [name for name in names if (name in states or not states) and name not in there]
        for name in todo:
            number = names.index(name)
            writer.write(number, _state(path, tree, levels, number, block, executor, progress))
    return todo, [name for name in there if not states or name in states]


def _decisive(levels: xr.Dataset) -> str:
    asked = json.loads(levels.attrs["analyse"])
    levelled = {name: levels.attrs[name] for name in ("reference", "void_grey", "noise", "rim_height", "rim_spread")}
    return json.dumps({"version": _VERSION, **{name: asked[name] for name in _DECISIVE}, **levelled})


def _done(tree: xr.DataTree, facts: Mapping[str, str]) -> list[str] | None:
    """Return the states that the table holds, or None where it must be made anew."""
    if "cracks" not in tree.children:
        return None
    there = tree["cracks"].to_dataset()
    whole = set(CRACKS) <= set(there.data_vars) and all(there.attrs.get(name) == facts[name] for name in facts)
    if not whole or not bool(there.computed.any()):
        return None
    return [str(name) for name, known in zip(there.state.values, there.computed.values, strict=True) if known]


def _axes(particles: xr.Dataset, tree: xr.DataTree) -> Axes:
    volumes = tree["volumes"].sizes
    return Axes(
        tuple(state_names(particles)),
        tuple(float(v) for v in particles.voltage.values),
        tuple(str(step) for step in particles.step.values),
        tuple(int(cycle) for cycle in particles.cycle.values),
        (volumes["z"], volumes["y"], volumes["x"]),
        voxel_edges(tree),
    )


def _state(
    path: Place,
    tree: xr.DataTree,
    levels: xr.Dataset,
    state: int,
    block: Triple,
    executor: Executor,
    progress: Progress,
) -> dict[str, Array]:
    """Return the columns of one state."""
    started = time.perf_counter()
    particles = levels.sizes["particle"]
    columns: dict[str, Array] = {name: levels[name].values[state] for name in _LEVELS}
    for name in TRACED:
        whole = np.dtype(CRACKS[name].dtype).kind == "u"
        columns[name] = np.zeros(particles, np.uint32) if whole else np.full(particles, np.nan)
    blocks = list(crack_blocks(path, tree, levels, state, block))
    unit = UnitKey("cracks", state)
    progress.begin(unit, "cracks", 0, len(blocks))

    def keep(number: int, rows: Mapping[str, Array]) -> None:
        for name in TRACED:
            columns[name][blocks[number].rows] = rows[name]
        progress.advance(unit, BlockReport(number, 0.0, 0, 0, 0))

    _measure_all(blocks, executor, unit, progress, keep)
    progress.end(unit, time.perf_counter() - started)
    return columns


def _measure_all(
    blocks: Sequence[CrackBlock],
    executor: Executor,
    unit: UnitKey,
    progress: Progress,
    keep: Callable[[int, Mapping[str, Array]], None],
) -> None:
    """Do all blocks; those that fail are tried again."""

    def sweep(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for block, outcome in executor.map(measure, [blocks[number] for number in numbers], lambda _: "cracks"):
            yield block.number, outcome

    def failed(number: int, error: BaseException, again: bool) -> None:
        progress.failed(unit, "cracks", number, error, again)

    aside = _RETRIES.sweep(range(len(blocks)), sweep, keep, failed)
    if aside:
        number, error = min(aside.items(), key=lambda each: each[0])
        if isinstance(error, OSError):
            raise error
        box = blocks[number].box
        raise BlockError(f"cracks of voxels {box.start} to {box.stop}: {type(error).__name__}: {error}") from error
