"""Tomograms from projections as lazy xarray, for notebooks: a few slices before a run, with the run's bits."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask.delayed import Delayed

from crackdask.blocks.dask_arrays import ChunkedGraph, Task, TaskRef, layered, token
from crackdask.blocks.dask_graph import lazy as lazy_passes
from crackdask.blocks.passes import Array
from crackdask.kernels.quantisation import LAST
from crackdask.schema import SPATIAL, TOMOGRAM
from crackdask.sources.frames import Frames
from crackdask.sources.projections import Projections, open_projections
from crackdask.steps.phase_retrieval import FILTERED
from crackdask.steps.projected_scan import geometry_of, given_centers, mean_references
from crackdask.steps.projection_slabs import frame_grid, slab_rows
from crackdask.steps.reconstruct import passes
from crackdask.steps.reconstruct_parameters import ReconstructParams

if TYPE_CHECKING:
    import dask.array as da


def reconstruct(source: str | Path, **parameters: Any) -> xr.DataArray:
    """Reconstruct a tomogram from projections, lazily; the same bits as a run's.

    Only the slices that are asked for are made, and for each slab of some rows these rows of all frames are read. A
    whole scan is better left to a run, which reads each frame once. With `center` = "auto" a search in five rows comes
    first, so give the number that it found for more than one look. With `phase` every projection is read and filtered.

    Where no `window` is given it is "none" here: voxels are attenuations, from which a run makes levels on one window
    for all states. With that window (`reconstruction.window` of its store) they are its levels, and with "auto" those
    on a window that five slices of this scan tell, which are made at once.

    Parameters
    ----------
    source
        As the recipe's `source`: an NXtomo or DXchange file, or a folder of TIFF frames.
    **parameters
        Of :class:`ReconstructParams`, as in the recipe's section [reconstruct]; `center` is that of this one scan.

    Returns
    -------
    xarray.DataArray
        Along (z, y, x), attenuation per voxel edge, lazy: float32, or with a window uint16 levels, which the attributes
        `scale_factor` and `add_offset` turn into attenuation.

    Raises
    ------
    SourceError
        If the scan cannot be used. When voxels are computed, also `CenterNotFoundError` if no center can be believed.

    Examples
    --------
    >>> reconstruct("pristine.nxs", angles=[30.0, 177.0], center=863.4)[900:904]  # doctest: +SKIP
    """
    params = ReconstructParams(**({"window": "none"} | parameters))
    projections = open_projections(str(source), Path(), params)
    (axis,) = params.axes(1)
    given = given_centers(axis, projections)
    decided = token(projections.fingerprint())
    tables: dict[str, Array | Delayed] = {**_references(projections, decided)}
    if given is not None:
        tables["centers"] = given
    first, *made = passes(geometry_of(projections), projections.recorded.dtype, params, given)
    if params.phase is None:
        volumes, made_of = lazy_passes(made, {"sinograms": _sinograms(projections.recorded, decided)}, tables)
    else:  # every projection is filtered whole
        volumes, made_of = lazy_passes([first, *made], {"frames": _frames(projections.recorded, decided)}, tables)
    window = None if isinstance(params.window, str) else params.window
    if params.window == "auto":
        low, high = made_of["window"].compute().tolist()
        window = low, high
    attrs = {**TOMOGRAM.attributes, **_packed(window)}
    return xr.DataArray(volumes["tomogram"], dims=SPATIAL, name="tomogram", attrs=attrs)


def _packed(window: tuple[float, float] | None) -> dict[str, float]:
    """Return how levels are turned into attenuation, by the names that the CF conventions have for it."""
    if window is None:
        return {}
    low, high = window
    return {"scale_factor": (high - low) / LAST, "add_offset": low}


def _sinograms(frames: Frames, decided: str) -> da.Array:
    """Return raw counts (projection, row, column) in slabs of rows: what a run keeps in its work folder."""
    count, rows, columns = frames.shape
    ends = [*range(0, rows, slab_rows(frames.shape)), rows]
    name = f"sinograms-{decided}"
    layer = {
        (name, 0, k, 0): Task((name, 0, k, 0), partial(_some_rows, frames, first, end))
        for k, (first, end) in enumerate(pairwise(ends))
    }
    chunks = ((count,), tuple(int(n) for n in np.diff(ends)), (columns,))
    return ChunkedGraph(name, chunks, frames.dtype, layered(name, layer, [])).array()


def _frames(frames: Frames, decided: str) -> da.Array:
    """Return whole projections, in the blocks in which a run reads them."""
    count, rows, columns = frames.shape
    block = frame_grid(frames.shape, FILTERED.itemsize).block[0]
    ends = [*range(0, count, block), count]
    name = f"frames-{decided}"
    layer = {
        (name, k, 0, 0): Task((name, k, 0, 0), partial(frames.read, first, end))
        for k, (first, end) in enumerate(pairwise(ends))
    }
    chunks = (tuple(int(n) for n in np.diff(ends)), (rows,), (columns,))
    return ChunkedGraph(name, chunks, frames.dtype, layered(name, layer, [])).array()


def _some_rows(frames: Frames, first: int, end: int) -> Array:
    """Return some rows of all frames."""
    top = frames.rows[0]
    return Frames(frames.stack, frames.runs, (top + first, top + end)).read(0, len(frames))


def _references(projections: Projections, decided: str) -> dict[str, Delayed]:
    """Return the means of flats and darks, to be read when they are needed."""
    name = f"references-{decided}"
    layer = {name: Task(name, partial(mean_references, projections))}
    for kind in ("flats", "darks"):
        layer[f"{kind}-{decided}"] = Task(f"{kind}-{decided}", itemgetter(kind), TaskRef(name))
    graph = layered(name, layer, [])
    return {kind: Delayed(f"{kind}-{decided}", graph, layer=name) for kind in ("flats", "darks")}
