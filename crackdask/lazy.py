"""The run's own kernels as functions of lazy xarray, for notebooks: previews and crops with the run's bits.

Each function is one step of the method, or with `open_and_close` a part of one; nothing is computed when it is called,
and no chunking of its input changes a bit of its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed

from crackdask.blocks.dask_arrays import array_of_table, graphs_are_expressions
from crackdask.blocks.dask_graph import lazy as lazy_passes
from crackdask.blocks.passes import Pass
from crackdask.blocks.xarrays import check, each_state, edges, like, number_of, reference_volume
from crackdask.kernels.morphology import ball
from crackdask.lazy_import import Later
from crackdask.schema import GREY_LEVELS, HISTOGRAMS, PARTICLES, SHELLS, Variable
from crackdask.steps.carried_seeds import CARRIED, start_pass
from crackdask.steps.denoise import DenoiseParams
from crackdask.steps.denoise import passes as denoise_passes
from crackdask.steps.labels import LabelsParams
from crackdask.steps.labels import passes as labels_passes
from crackdask.steps.mask import MaskParams, threshold_pass
from crackdask.steps.mask import passes as mask_passes
from crackdask.steps.measure import MeasureParams, passes_to_tables
from crackdask.steps.noise import noise_passes
from crackdask.steps.particle_columns import MEASURED
from crackdask.steps.transfer import DepthLimits, TransferParams
from crackdask.steps.transfer import passes as transfer_passes
from crackdask.steps.watershed import depth_pass

if TYPE_CHECKING:
    from dask_image import ndmorph
else:
    ndmorph = Later("dask_image.ndmorph")


def denoise(
    grey: xr.DataArray, *, reference: int | str = 0, noise: float | None = None, **parameters: Any
) -> xr.DataArray:
    """Smooth grey levels with non-local means, a median or a Gaussian, lazily; the same bits as a run's.

    Parameters
    ----------
    grey
        uint8 along (z, y, x) or (state, z, y, x), in any chunks; 0 is outside the scan.
    reference
        The state whose noise is taken for all.
    noise
        Standard deviation of the noise in grey levels, for non-local means; measured in the reference where not given.
    **parameters
        Of :class:`DenoiseParams`: method, patch_size, patch_distance, h, sigma, median_size, gaussian_sigma.

    Returns
    -------
    xarray.DataArray
        `denoised`, uint8, lazy.

    Examples
    --------
    >>> grey = xr.DataArray(np.full((4, 5, 6), 100, np.uint8), dims=("z", "y", "x"))
    >>> int(denoise(grey).max())
    100
    >>> int(denoise(grey, method="median", median_size=5).max())
    100
    """
    grey = check(grey, "grey", "uint8")
    params = DenoiseParams(**parameters)
    known: dict[str, Any] = {}
    if params.reads_noise:
        measured = lazy_passes(noise_passes(), {"grey": reference_volume(grey, reference)})[1]["noise"]
        known["noise"] = measured if noise is None else np.array(float(noise))

    def one(state: da.Array) -> da.Array:
        return lazy_passes(denoise_passes(params), {"grey": state}, known)[0]["denoised"]

    return each_state(grey, "denoised", one)


def mask(denoised: xr.DataArray, *, reference: int | str = 0, **parameters: Any) -> xr.DataArray:
    """Part particles from background, lazily; the same bits as a run's.

    Parameters
    ----------
    denoised
        uint8 along (z, y, x) or (state, z, y, x), in any chunks; 0 is outside the scan.
    reference
        The state whose threshold is taken for all.
    **parameters
        Of :class:`MaskParams`: phase, threshold, classes, threshold_class, opening, closing, min_island, max_hole,
        per_state.

    Returns
    -------
    xarray.DataArray
        `mask`, bool, lazy.

    Examples
    --------
    >>> denoised = xr.DataArray(np.full((8, 8, 8), 60, np.uint8), dims=("z", "y", "x"))
    >>> denoised[2:6, 2:6, 2:6] = 150
    >>> int(mask(denoised, opening=0, closing=0).sum())
    64
    """
    denoised = check(denoised, "denoised", "uint8")
    params = MaskParams(**parameters)

    def level(state: da.Array) -> Any:
        if not isinstance(params.threshold, str):
            return np.array(float(params.threshold))
        return lazy_passes((threshold_pass(params),), {"denoised": state})[1]["threshold"]

    shared = None if params.per_state else level(reference_volume(denoised, reference))

    def one(state: da.Array) -> da.Array:
        known = {"threshold": level(state) if shared is None else shared}
        return lazy_passes(mask_passes(params), {"denoised": state}, known)[0]["mask"]

    return each_state(denoised, "mask", one)


def open_and_close(mask: xr.DataArray, *, opening: int = 1, closing: int = 1) -> xr.DataArray:
    """Open and close a mask of your own with balls, lazily; the same bits as those of the step `mask`.

    The image edge is repeated, as in a run. Whoever made the mask leaves voxels outside the scan out of it; closing may
    reach into them, so the step takes them out once more: ``open_and_close(mask) & (grey != 0)``.

    Parameters
    ----------
    mask
        bool along (z, y, x) or (state, z, y, x), in any chunks.
    opening, closing
        Radius of each in voxels; 0 for none.

    Returns
    -------
    xarray.DataArray
        `mask`, bool, lazy.

    Examples
    --------
    >>> mask = xr.DataArray(np.zeros((7, 7, 7), bool), dims=("z", "y", "x"))
    >>> mask[1:6, 1:6, 1:6] = True
    >>> mask[3, 3, 3], mask[0, 0, 0] = False, True
    >>> int(open_and_close(mask, opening=0).sum()), bool(open_and_close(mask, closing=0)[0, 0, 0])
    (126, False)
    """
    mask = check(mask, "mask", "bool")
    halo = MaskParams(opening=opening, closing=closing).halo
    if graphs_are_expressions():
        raise NotImplementedError("dask-image knows no arrays of query planning yet: unset DASK_ARRAY__QUERY_PLANNING")

    def one(state: da.Array) -> da.Array:
        wide = _with_edge(state, halo)
        opened = ndmorph.binary_opening(wide, ball(opening)) if opening else wide
        closed = ndmorph.binary_closing(opened, ball(closing)) if closing else opened
        return closed[tuple(slice(halo, n + halo) for n in state.shape)]

    return each_state(mask, "mask", one)


def _with_edge(state: da.Array, halo: int) -> da.Array:
    """Return a volume with its edge repeated `halo` times on every side, in as many chunks as before."""
    if not halo:
        return state
    ends = [[halo, *(0 for _ in sizes[1:-1]), halo] if len(sizes) > 1 else [2 * halo] for sizes in state.chunks]
    chunks = tuple(
        tuple(map(sum, zip(sizes, more, strict=True))) for sizes, more in zip(state.chunks, ends, strict=True)
    )
    return da.pad(state, halo, mode="edge").rechunk(chunks)


def label(mask: xr.DataArray, **parameters: Any) -> xr.DataArray:
    """Label the particles of one state, lazily; the same ids as a run's.

    Parameters
    ----------
    mask
        bool along (z, y, x), in any chunks; positions in um as coordinates.
    **parameters
        Of :class:`LabelsParams`: smoothing, min_depth, max_radius.

    Returns
    -------
    xarray.DataArray
        `label`, uint32, lazy.

    Examples
    --------
    >>> mask = xr.DataArray(np.zeros((5, 5, 9), bool), dims=("z", "y", "x"))
    >>> mask[1:4, 1:4, 1:4] = True
    >>> mask[1:4, 1:4, 5:8] = True
    >>> label(mask)[2, 2].values.tolist()
    [0, 1, 1, 1, 0, 2, 2, 2, 0]
    """
    mask = check(mask, "mask", "bool", state=False)
    passes = labels_passes(LabelsParams(**parameters), edges(mask))
    return like(mask, lazy_passes(passes, {"mask": mask.data})[0]["label"], "label")


def transfer(
    mask: xr.DataArray,
    label: xr.DataArray,
    *,
    reference: int | str = 0,
    smoothing: float = 1.0,
    max_radius: int = 48,
    **parameters: Any,
) -> xr.DataArray:
    """Carry the labels of the reference to all states, lazily; the same ids as a run's.

    Parameters
    ----------
    mask
        bool along (state, z, y, x), states in electrochemical order, in any chunks.
    label
        Labels of the reference along (z, y, x), from :func:`crackdask.label`.
    reference
        Number or name of that state; labels go from it outward, later states first.
    smoothing, max_radius
        As given to :func:`crackdask.label`.
    **parameters
        Of :class:`TransferParams`: mode, seed_depth, min_overlap.

    Returns
    -------
    xarray.DataArray
        `label` along (state, z, y, x), uint32, lazy.

    Examples
    --------
    >>> mask = xr.DataArray(np.zeros((2, 5, 5, 9), bool), dims=("state", "z", "y", "x"))
    >>> mask[:, 1:4, 1:4, 2:5] = True
    >>> ids = mask[0].astype(np.uint32) * 7
    >>> transfer(mask, ids)[1, 2, 2].values.tolist()
    [0, 0, 7, 7, 7, 0, 0, 0, 0]
    """
    mask = check(mask, "mask", "bool", state=True)
    label = check(label, "label", "uint32", state=False)
    if label.shape != mask.shape[1:]:
        raise ValueError(f"label {label.shape} must have the shape of one state of mask, {mask.shape[1:]}")
    params, voxel_um = TransferParams(**parameters), edges(mask)
    first = number_of(mask, reference)
    volumes, tables = lazy_passes(
        (depth_pass(smoothing, max_radius, voxel_um), start_pass()),
        {"mask": mask.data[first], "label": label.data},
    )
    carried = _carry(
        transfer_passes(params, DepthLimits(smoothing, max_radius), voxel_um),
        mask.data,
        first,
        ({**volumes, "label": label.data}, tables),
        chain=params.mode == "chain",
    )
    return like(mask, da.stack(carried), "label")


_Carried = tuple[Mapping[str, da.Array], Mapping[str, Delayed]]


def _carry(passes: Sequence[Pass], mask: da.Array, first: int, start: _Carried, *, chain: bool) -> list[da.Array]:
    """Return the labels of all states, carried outward from the first: from each neighbour, or always from it."""
    done: dict[int, _Carried] = {first: start}
    for state in (*range(first + 1, mask.shape[0]), *range(first - 1, -1, -1)):
        neighbour = state - 1 if state > first else state + 1
        there, known = done[neighbour if chain else first]
        volumes = {"mask": mask[state], "previous_label": there["label"], "previous_depth": there["depth"]}
        done[state] = lazy_passes(passes, volumes, {name: known[name] for name in CARRIED})
    return [done[state][0]["label"] for state in range(mask.shape[0])]


def measure(
    grey: xr.DataArray, label: xr.DataArray, particles: int, *, max_radius: int = 48, blur: float = 0.0
) -> xr.DataTree:
    """Measure every particle, lazily; the same numbers as a run's.

    Parameters
    ----------
    grey, label
        uint8 and uint32 along (z, y, x) or (state, z, y, x), in any chunks; positions in um as coordinates.
    particles
        How many ids there are, 1..particles: a lazy table must know its length.
    max_radius
        Upper bound of the depth of any particle, in smallest voxel edges; also the number of shells.
    blur
        Standard deviation, in voxels, of a Gaussian by which grey levels are blurred first; where a run matched the
        sharpness of its states, the store's root attribute `found` has it as `blurred_by`.

    Returns
    -------
    xarray.DataTree
        Nodes `particles`, `shells` and `histograms` as in a store, lazy.

    Examples
    --------
    >>> label = xr.DataArray(np.zeros((4, 4, 4), np.uint32), dims=("z", "y", "x"))
    >>> label[1:3, 1:3, 1:3] = 1
    >>> measure(label.astype(np.uint8), label, 1, max_radius=4)["particles"].voxels.values.tolist()
    [8]
    """
    grey, label = check(grey, "grey", "uint8"), check(label, "label", "uint32")
    if grey.dims != label.dims or grey.shape != label.shape:
        raise ValueError(f"grey and label must cover the same voxels, found {grey.shape} and {label.shape}")
    (counted,) = passes_to_tables(MeasureParams(), edges(label), max_radius, range(1, particles + 1), max_radius, blur)

    several = "state" in label.dims
    pairs = [(grey.data, label.data)]
    if several:
        pairs = [(grey.data[state], label.data[state]) for state in range(label.sizes["state"])]
    tables = [lazy_passes((counted,), {"grey": of_grey, "label": of_label})[1] for of_grey, of_label in pairs]
    sizes = {"particle": particles, "shell": max_radius, "grey": GREY_LEVELS}
    states = {name: c for name, c in label.coords.items() if several and c.dims == ("state",)}
    measured = {name: variable for name, variable in PARTICLES.items() if name in MEASURED}
    groups = {"particles": measured, "shells": SHELLS, "histograms": HISTOGRAMS}
    return xr.DataTree.from_dict(
        {group: _group(group, variables, tables, sizes, several, states) for group, variables in groups.items()}
    )


def _group(
    group: str,
    variables: Mapping[str, Variable],
    tables: Sequence[Mapping[str, Delayed]],
    sizes: Mapping[str, int],
    several: bool,
    states: Mapping[Any, Any],
) -> xr.Dataset:
    """Return one group of tables of one state, or of several, as a lazy dataset."""
    columns = {}
    for name, variable in variables.items():
        shape = tuple(sizes[dim] for dim in variable.dims[1:])
        parts = [array_of_table(table[f"{group}.{name}"], shape, np.dtype(variable.dtype)) for table in tables]
        numbers = da.stack(parts) if several else parts[0]
        columns[name] = (variable.dims if several else variable.dims[1:], numbers, variable.attributes)
    along = dict.fromkeys(dim for variable in variables.values() for dim in variable.dims[1:] if dim != "grey")
    return xr.Dataset(columns, coords={**{dim: np.arange(1, sizes[dim] + 1) for dim in along}, **states})
