"""From projections to a tomogram: sinograms, the centre of rotation, slices (paper, 4.4 and 4.5).

Up to five passes. The first reads each frame once, in the order of the file, and writes raw counts so that a few rows
of all projections lie together. The second turns a few rows into attenuations, on which the centre is searched; it is
left out where the recipe gives one. Where tomograms are levels on an open window, the third makes a few slices of the
reference to find it. The fourth makes all slices, and each comes from its own row of the detector alone: that is why
nothing depends on how many are made at once. The last shows what ring removal does to one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import numpy as np

from crackdask.arrays import Floats
from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally
from crackdask.grid import Grid
from crackdask.kernels.attenuation import attenuations
from crackdask.kernels.gridding import gridded
from crackdask.kernels.quantisation import common_range, quantised, window_over
from crackdask.kernels.reconstruction import remove_rings, within
from crackdask.steps.center_rows import Candidates, Curve, RowSearch, search_row
from crackdask.steps.declaration import Of, Stage, Step, Volume
from crackdask.steps.phase_retrieval import FILTERED, phase_pass
from crackdask.steps.projection_slabs import frame_grid, searched_rows, slab_rows
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.steps.rotation_center import CenterNotFoundError, CenterSearch, refuse_limited, settle
from crackdask.steps.sinogram_rows import Geometry, all_projections, counts_of, one_row, refuse_blind, slices_of

#: Most columns and projections of the sinogram that is shown, and most pixels along a side of its slice.
EXAMPLE_SINOGRAM, EXAMPLE_SLICE = 512, 384
#: What is counted of a row, in order.
COUNTED = ("saturated", "starved", "zingers", "missing", "dead", "stuck", "lost")


def passes(
    geometry: Geometry,
    stored: np.dtype[Any],
    params: ReconstructParams,
    centers: Floats | None,
    window: Floats | None = None,
) -> tuple[Pass, ...]:
    """Return the step as passes: `frames` to `sinograms` to `tomogram`.

    They look up the tables `flats` and `darks`, means (begin and end, row, column), and make `center_*` (what the
    search found, only where `centers` is None), `window` (only where the recipe leaves it open and none is given),
    `flaws` (row, one of `COUNTED`), `beyond` (voxels of each row beyond a window) and, where rings are removed,
    `example_*` (before and after, ...).

    Parameters
    ----------
    geometry
        Of the scan.
    stored
        Type of the stored pixels.
    params
        The recipe's section.
    centers
        Where the axis is seen in each row, detector columns; None to search it.
    window
        Of the reference, for its other states, where the recipe leaves it open; they look it up as a table, too.
    """
    frames, scan, first = geometry.frames, geometry.scan, _sorting(geometry, stored, params)
    if params.phase is not None:  # from here on frames are transmissions, whose flaws are mended
        geometry, params = replace(geometry, saturation=inf), params.model_copy(update={"zingers": False})
    rows = slab_rows(frames)
    slabs = Grid(scan, (rows, *scan[1:]))
    few = searched_rows(frames[1])
    windowed = params.window == "auto"
    made = Pass(
        name="slices",
        kernel=partial(_slices, geometry, params),
        reads={"sinograms": partial(all_projections, frames)},
        writes={"tomogram": params.stored},
        tables=(
            "flats",
            "darks",
            "centers",
            *(("mended",) if params.phase else ()),
            *(("window",) if windowed else ()),
        ),
        makes=("flaws",) if params.window == "none" else ("flaws", "beyond"),
        reduce=partial(_gathered, int(within(geometry.degrees, params.between).sum()) * frames[1] * frames[2]),
        grid=slabs,
    )
    shown = () if params.rings == "none" else (_example(geometry, params, few[len(few) // 2]),)
    leveled = (_level_pass(geometry, params, few),) if windowed and window is None else ()
    if centers is not None:
        return first, *leveled, made, *shown
    searched = Pass(
        name="center",
        kernel=partial(_attenuated, geometry, params, few),
        reads={"sinograms": partial(one_row, frames, few)},
        tables=("flats", "darks"),
        makes=("centers", *_CENTER),
        reduce=partial(_searched, geometry, params, few),
        grid=Grid((len(few), 1, 1), (1, 1, 1)),
    )
    return first, searched, *leveled, made, *shown


def sinogram_type(stored: np.dtype[Any], params: ReconstructParams | None) -> np.dtype[Any]:
    """Return the type of what is sorted: counts as they are stored, or what phase retrieval makes of them."""
    return stored if params is None or params.phase is None else FILTERED


def _sorting(geometry: Geometry, stored: np.dtype[Any], params: ReconstructParams) -> Pass:
    """Return the pass that reads each frame once, and filters it where phase is to be retrieved."""
    if params.phase is not None:
        kept = within(geometry.degrees, params.between)
        scan = (geometry.frames, geometry.moments, kept, geometry.saturation)
        return phase_pass(*scan, params.zinger, params.phase.weight)
    return Pass(
        name="sort",
        kernel=_sorted,
        reads={"frames": 0},
        writes={"sinograms": stored.str},
        grid=frame_grid(geometry.frames, stored.itemsize),
    )


def _level_pass(geometry: Geometry, params: ReconstructParams, rows: Sequence[int]) -> Pass:
    """Return the pass that makes a few rows to find on which window tomograms are kept."""
    return Pass(
        name="levels",
        kernel=partial(_ranged, geometry, params, rows),
        reads={"sinograms": partial(one_row, geometry.frames, rows)},
        tables=("flats", "darks", "centers"),
        makes=("window",),
        reduce=_windowed,
        grid=Grid((len(rows), 1, 1), (1, 1, 1)),
    )


def _example(geometry: Geometry, params: ReconstructParams, row: int) -> Pass:
    """Return the pass that makes one row with its rings and without."""
    return Pass(
        name="rings",
        kernel=partial(_compared, geometry, params, row),
        reads={"sinograms": partial(one_row, geometry.frames, [row])},
        tables=("flats", "darks", "centers"),
        makes=("example_row", "example_sinogram", "example_slice"),
        reduce=_only,
        grid=Grid((1, 1, 1), (1, 1, 1)),
    )


_CENTER = (
    "center_rows", "center_sweep", "center_opposite",
    "center_candidates", "center_spread", "center_mirrored", "center_mismatch", "center_overlaid", "center_likeness",
    "center_strip", "center_strip_at",
)  # fmt: skip


def _sorted(block: Block) -> Result:
    return Result({"sinograms": block.read("frames")})


def _attenuated(geometry: Geometry, params: ReconstructParams, rows: Sequence[int], block: Block) -> Result:
    """Search one row, where that may be done; the sinogram of the middle one is handed on, to be looked at."""
    counts, references = counts_of(params, block, rows[block.number])
    found, flaws = attenuations(counts, references, geometry.moments, params.zinger, geometry.saturation)
    remove_rings(found, flaws.columns, params.rings)
    tally = {"unseen": np.array([flaws.saturated.sum(), flaws.missing.sum()])}
    tally |= {"sinogram": found[0]} if block.number == len(rows) // 2 else {}
    try:
        refuse_limited(geometry.degrees, params.below_180)
    except CenterNotFoundError:
        return Result(tally=tally)  # told where rows are put together
    return Result(tally=tally | search_row(found[0], geometry.degrees, Candidates.of(found.shape[2])).arrays())


def _searched(
    geometry: Geometry,
    params: ReconstructParams,
    rows: Sequence[int],
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    full, missing = np.sum([tally["unseen"] for tally in tallies], axis=0).tolist()
    refuse_blind(full, missing, len(rows) * geometry.frames[0] * geometry.frames[2])
    refuse_limited(geometry.degrees, params.below_180)
    sinogram = tallies[len(rows) // 2]["sinogram"]
    told = [RowSearch.of(tally) for tally in tallies]
    found = settle(told, sinogram, geometry.degrees, Candidates.of(sinogram.shape[1]))
    return {"centers": np.full(geometry.frames[1], found.center)} | _as_tables(found, rows)


def _as_tables(found: CenterSearch, rows: Sequence[int]) -> dict[str, Array]:
    none = Curve(np.empty(0), np.empty(0))
    mirrored, overlaid = found.mismatch or none, found.likeness or none
    return {
        "center_rows": np.array(rows),
        "center_sweep": found.sweep,
        "center_opposite": found.opposite,
        "center_candidates": found.spread.centers,
        "center_spread": found.spread.values,
        "center_mirrored": mirrored.centers,
        "center_mismatch": mirrored.values,
        "center_overlaid": overlaid.centers,
        "center_likeness": overlaid.values,
        "center_strip": found.strip.images,
        "center_strip_at": found.strip.centers,
    }


def _ranged(geometry: Geometry, params: ReconstructParams, rows: Sequence[int], block: Block) -> Result:
    (image,), _ = slices_of(geometry, params, rows[block.number], block)
    return Result(tally={"range": np.array(common_range(image))})


def _windowed(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    ends = np.array([tally["range"] for tally in tallies])
    return {"window": np.array(window_over(float(ends[:, 0].min()), float(ends[:, 1].max())))}


def _slices(geometry: Geometry, params: ReconstructParams, block: Block) -> Result:
    slices, flaws = slices_of(geometry, params, block.grid.box(block.number).start[0], block)
    columns = (flaws.dead, flaws.stuck, flaws.lost)
    counted = [flaws.saturated, flaws.starved, flaws.zingers, flaws.missing, *(mask.sum(axis=1) for mask in columns)]
    tally = {"flaws": np.stack(counted, axis=1).astype(np.int64)}
    if params.window == "none":
        return Result({"tomogram": slices}, tally)
    low, high = block.table("window") if isinstance(params.window, str) else params.window
    levels, beyond = quantised(slices, float(low), float(high))
    return Result({"tomogram": levels}, tally | {"beyond": beyond})


def _compared(geometry: Geometry, params: ReconstructParams, row: int, block: Block) -> Result:
    counts, references = counts_of(params, block, row)
    kept = within(geometry.degrees, params.between)
    found, flaws = attenuations(counts[:, kept], references, geometry.moments[kept], params.zinger, geometry.saturation)
    both = np.concatenate([found, found])
    remove_rings(both[1:], flaws.columns, params.rings)
    center = float(block.table("centers")[row])
    slices = gridded(both, geometry.degrees[kept], [center, center], params.filter)
    step, columns = -(-both.shape[1] // EXAMPLE_SINOGRAM), _middle(both.shape[2], EXAMPLE_SINOGRAM)
    here = _middle(slices.shape[1], EXAMPLE_SLICE)
    shown = {"example_sinogram": both[:, ::step, columns], "example_slice": slices[:, here, here]}
    return Result(tally={"example_row": np.array(row), **{k: np.ascontiguousarray(v) for k, v in shown.items()}})


def _middle(size: int, most: int) -> slice:
    length = min(size, most)
    return slice((size - length) // 2, (size - length) // 2 + length)


def _only(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    """Return the tally of the only block."""
    return dict(tallies[0])


def _gathered(pixels: int, grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    found = {name: np.concatenate([tally[name] for tally in tallies]) for name in tallies[0]}
    if "mended" in tables:
        found["flaws"][:, : tables["mended"].shape[1]] += tables["mended"]
    counted = dict(zip(COUNTED, found["flaws"].sum(axis=0).tolist(), strict=True))
    refuse_blind(counted["saturated"], counted["missing"], pixels)
    return found


def _asked(parameters: Any, is_reference: bool) -> bool:
    return parameters["reconstruct"] is not None


def _on_one_window(parameters: Any, is_reference: bool) -> bool:
    return parameters["reconstruct"] is not None and parameters["reconstruct"].window == "auto"


STEP = Step(
    name="reconstruct",
    stage=Stage.SCANS,
    parameters=ReconstructParams,
    sections=("reconstruct",),
    opened=("source",),
    writes={"tomogram": Volume(dtype=None, shaped="slabs")},
    internal={"sinograms": Volume(dtype=None, shaped="frames")},
    version=2,  # the center is told by how edges are spread; dark transmissions are kept
    needs=(("reconstruct", Of.REFERENCE),),
    needs_in=_on_one_window,
    asked=_asked,
    walks="slabs",
)
