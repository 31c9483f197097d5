"""A property of the particles painted back into the volume, as an OME-Zarr image (NGFF 0.5), block by block.

A voxel's value is that of its label, looked up in a table, so blocks and workers have no part in it. Coarser levels
keep every second voxel of the level before: a mean would mix particles with each other and with the background.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from filelock import FileLock, Timeout

from crackdask.analysis.tables import state_names, voxel_edges
from crackdask.export.properties import ExportError, property_of
from crackdask.export.slices import folder_name
from crackdask.grid import Box, Grid, Triple, check_single_writer
from crackdask.schema import UnitKey
from crackdask.storage.locations import Place, place
from crackdask.store.arrays import Compression
from crackdask.store.image import create_image, is_image
from crackdask.store.levels import multiscale
from crackdask.store.open import open_store
from crackdask.store.root import set_attributes
from crackdask.store.volumes import Volume, volume

if TYPE_CHECKING:  # imported where blocks are done: what only reads a store needs no engine
    from crackdask.engine.executors import Executor
    from crackdask.engine.progress import BlockReport, Progress

#: Edge of a block, about: whole chunks. A coarser level reads twice as far along each axis.
BLOCK = 128
_LARGEST_CHUNK = 128
#: What a worker may take: its libraries, and a block with the finer one that it is made of.
PAINT_BYTES = 2**30
_MOST_LEVELS = 8


class PaintError(RuntimeError):
    """Blocks failed, so there is no image; the message says which and why."""


@dataclass(frozen=True)
class Stroke:
    """One block of one level: everything a worker has to know.

    Attributes
    ----------
    number, box
        Of the block in the level that is written.
    source
        The labels, or the level before.
    within
        Shape of the level before, where that is the source.
    values
        File of the state's values by label, the first for the background; None for a coarser level.
    """

    number: int
    box: Box
    source: Volume
    target: Volume
    within: Triple
    values: str | None


def stroke(job: Stroke) -> BlockReport:
    """Paint a block and flush it to the disk."""
    from crackdask.engine.process_costs import peak_bytes
    from crackdask.engine.progress import BlockReport

    started = time.perf_counter()
    if job.values is not None:
        label = job.source.read(job.box)
        painted = np.load(job.values, mmap_mode="r", allow_pickle=False)[label]
        read = label.nbytes
    else:
        start, stop = (tuple(2 * k for k in end) for end in (job.box.start, job.box.stop))
        stop = tuple(min(k, n) for k, n in zip(stop, job.within, strict=True))
        finer = job.source.read(Box(_triple(start), _triple(stop)))
        painted, read = np.ascontiguousarray(finer[::2, ::2, ::2]), finer.nbytes
    written = job.target.write(job.box, painted).bytes
    return BlockReport(job.number, time.perf_counter() - started, read, written, peak_bytes())


def paint(
    store: str | Place,
    wanted: str | xr.DataArray,
    folder: str | Path,
    *,
    background: float = float("nan"),
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path:
    """Paint a property of the particles into the volume (`prop_2_image` of GRAPES).

    Parameters
    ----------
    store
        Where the store is.
    wanted
        A column of `particles`, `damage`, `damage_error`, `damage_class`, `damage_change`, ``cracks/COLUMN``, or a
        DataArray along `particle` (and `state`) with a name.
    folder
        Where the image goes, ``NAME.ome.zarr``; one of that name is replaced.
    background
        Of voxels outside particles, and in particles without a value. NaN by default, because 0 is a damage too;
        viewers that do not know NaN want a number.
    executor
        Runs the blocks; one after the other by default.
    progress
        Is told how the work goes on.

    Returns
    -------
    pathlib.Path
        The image: float32 along t (states), z, y, x, in um as the store's coordinates; levels ``0``, ``1``, ... each
        of every second voxel of the one before, until a chunk holds the whole. Names of the states, unit and meaning
        are the attribute `crackdask`.

    Raises
    ------
    ExportError
        If there is no such property, or what lies in the image's place is no image of crackdask.
    PaintError
        If blocks failed after a few tries.
    StoreError
        If there is no store, or its labels are damaged on the disk.
    """
    from crackdask.engine.executors import Serial

    store = place(store).resolve()
    tree = open_store(store)
    painted = property_of(tree, wanted)
    image = Path(folder).resolve() / f"{folder_name(str(painted.name))}.ome.zarr"
    if image.exists() and not is_image(image):
        raise ExportError(f"{image} exists and is no image of crackdask; remove it, or choose another folder")
    image.parent.mkdir(parents=True, exist_ok=True)
    with _under_its_name(image) as partial:
        _paint_states(store, tree, painted, partial, background, executor or Serial(), progress)
    return image


def _paint_states(
    store: Place,
    tree: xr.DataTree,
    painted: xr.DataArray,
    partial: Path,
    background: float,
    executor: Executor,
    progress: Progress | None,
) -> None:
    """Paint all states, one after the other, and describe the image."""
    label = tree["volumes"].to_dataset().label
    chunk = _triple(min(c, _LARGEST_CHUNK) for c in label.encoding["chunks"][1:])
    levels = _levels(_triple(label.shape[1:]), chunk)
    chunks = [_triple(min(c, n) for c, n in zip(chunk, shape, strict=True)) for shape in levels]
    create_image(partial, label.sizes["state"], levels, chunks, "float32", background, Compression())
    for state in range(label.sizes["state"]):
        values = partial / f"values-{state}.npy"
        row = np.append(np.float32(np.nan), painted.values[state])
        np.save(values, np.where(np.isnan(row), np.float32(background), row))
        unit = UnitKey(f"paint {painted.name}", state)
        _paint_state(store, partial, levels, chunks, executor, unit, progress)
        values.unlink()
    set_attributes(partial, _described(painted, tree, levels, background))


def _paint_state(
    store: Place,
    partial: Path,
    levels: list[Triple],
    chunks: list[Triple],
    executor: Executor,
    unit: UnitKey,
    progress: Progress | None,
) -> None:
    """Paint one state, one level after the other."""
    started, state = time.monotonic(), unit.state
    for level, (shape, chunk) in enumerate(zip(levels, chunks, strict=True)):
        grid = Grid(shape, _triple(c * -(-BLOCK // c) for c in chunk))
        check_single_writer(grid, chunk)
        target = Volume(str(partial / str(level)), state)
        source = Volume(str(partial / str(level - 1)), state) if level else volume(store, "label", state)
        within = levels[max(0, level - 1)]
        values = None if level else str(partial / f"values-{state}.npy")
        jobs = [Stroke(k, box, source, target, within, values) for k, box in enumerate(grid)]
        if progress:
            progress.begin(unit, f"level {level}", 0, len(jobs))
        _paint_all(jobs, executor, unit, f"level {level}", progress)
    if progress:
        progress.end(unit, time.monotonic() - started)


def _paint_all(
    jobs: Sequence[Stroke], executor: Executor, unit: UnitKey, pass_: str, progress: Progress | None
) -> None:
    """Do all blocks; those that fail are tried again."""
    from crackdask.engine.retries import Retries

    def sweep(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for job, outcome in executor.map(stroke, [jobs[number] for number in numbers]):
            yield job.number, outcome

    def keep(number: int, report: BlockReport) -> None:
        if progress:
            progress.advance(unit, report)

    def failed(number: int, error: BaseException, again: bool) -> None:
        if progress:
            progress.failed(unit, pass_, number, error, again)

    # Damaged labels are not mended by a second try.
    aside = Retries(2, (ValueError,)).sweep(range(len(jobs)), sweep, keep, failed)
    if aside:
        first, why = min(aside.items(), key=lambda each: each[0])
        if isinstance(why, OSError):
            raise why
        box = jobs[first].box
        raise PaintError(
            f"{len(aside)} blocks could not be painted, so there is no image; the first is voxels {box.start} to "
            f"{box.stop}: {type(why).__name__}: {why}"
        )


def _levels(shape: Triple, chunk: Triple) -> list[Triple]:
    """Return the shapes of the levels, each half of the one before, until a chunk holds the whole.

    >>> _levels((100, 300, 40), (64, 64, 64))
    [(100, 300, 40), (50, 150, 20), (25, 75, 10), (13, 38, 5)]
    """
    levels = [shape]
    while any(n > c for n, c in zip(levels[-1], chunk, strict=True)) and len(levels) < _MOST_LEVELS:
        levels.append(_triple(-(-n // 2) for n in levels[-1]))
    return levels


def _described(painted: xr.DataArray, tree: xr.DataTree, levels: list[Triple], background: float) -> dict[str, Any]:
    """Return the image's attributes: what OME readers look for, and what they have no place for."""
    edges = voxel_edges(tree)
    name = str(painted.name)
    finite = painted.where(np.isfinite(painted))
    low, high = float(finite.min()), float(finite.max())
    window = {"min": low, "max": high, "start": low, "end": high if high > low else low + 1}
    image = multiscale(name, "stride", edges, [str(level) for level in range(len(levels))], first="t")
    image["metadata"] = {"description": "each level holds every second voxel of the one before"}
    channel = {"label": name, "color": "FFFFFF", "window": window, "active": True}
    told = {
        "property": name,
        **painted.attrs,
        "states": state_names(painted.to_dataset()),
        "background": "NaN" if np.isnan(background) else background,
        "experiment": tree.attrs["recipe"]["experiment"].get("name", ""),
        "crackdask_version": tree.attrs.get("crackdask_version", ""),
    }
    return {"ome": {"version": "0.5", "multiscales": [image], "omero": {"channels": [channel]}}, "crackdask": told}


@contextmanager
def _under_its_name(image: Path) -> Iterator[Path]:
    """Give an image its name only when it is whole; what lies there is replaced, and one writer paints at a time."""
    partial, old = (image.with_name(f".{image.name}.{word}") for word in ("partial", "old"))
    lock = FileLock(image.with_name(f".{image.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ExportError(f"{image} is being painted by another process; wait for it") from None
    try:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        yield partial
        if image.exists():
            image.replace(old)
        partial.replace(image)
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _triple(numbers: Iterable[int]) -> Triple:
    z, y, x = numbers
    return (z, y, x)
