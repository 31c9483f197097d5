"""The run's own kernels as functions of lazy xarray, for notebooks: previews and crops with the run's bits.

Each function is one step of the method; nothing is computed when it is called, and no chunking of its input changes a
bit of its result.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from crackdask.blocks.dask_graph import lazy as lazy_passes
from crackdask.blocks.xarrays import check, each_state, edges, like, number_of, reference_volume
from crackdask.schema import GREY_LEVELS, HISTOGRAMS, PARTICLES, SHELLS
from crackdask.steps.denoise import DenoiseParams, noise_passes
from crackdask.steps.denoise import passes as denoise_passes
from crackdask.steps.labels import LabelsParams
from crackdask.steps.labels import passes as labels_passes
from crackdask.steps.mask import MaskParams, threshold_pass
from crackdask.steps.mask import passes as mask_passes
from crackdask.steps.measure import MEASURED, MeasureParams, passes_to_tables
from crackdask.steps.transfer import CARRIED, DepthLimits, TransferParams, start_pass
from crackdask.steps.transfer import passes as transfer_passes
from crackdask.steps.watershed import depth_pass


def denoise(
    grey: xr.DataArray, *, reference: int | str = 0, noise: float | None = None, **parameters: Any
) -> xr.DataArray:
    """Smooth grey levels with non-local means, lazily; the same bits as a run's.

    Parameters
    ----------
    grey
        uint8 along (z, y, x) or (state, z, y, x), in any chunks; 0 is outside the scan.
    reference
        The state whose noise is taken for all.
    noise
        Standard deviation of the noise in grey levels; measured in the reference where not given.
    **parameters
        Of :class:`DenoiseParams`: patch_size, patch_distance, h, sigma, method.

    Returns
    -------
    xarray.DataArray
        `denoised`, uint8, lazy.

    Examples
    --------
    >>> grey = xr.DataArray(np.full((4, 5, 6), 100, np.uint8), dims=("z", "y", "x"))
    >>> int(denoise(grey).max())
    100
    """
    grey = check(grey, "grey", "uint8")
    params = DenoiseParams(**parameters)
    known: Any = None if noise is None else np.array(float(noise))
    if known is None:
        known = lazy_passes(noise_passes(), {"grey": reference_volume(grey, reference)})[1]["noise"]
    return each_state(
        grey,
        "denoised",
        lambda state: lazy_passes(denoise_passes(params), {"grey": state}, {"noise": known})[0]["denoised"],
    )


def mask(denoised: xr.DataArray, *, reference: int | str = 0, **parameters: Any) -> xr.DataArray:
    """Part particles from background, lazily; the same bits as a run's.

    Parameters
    ----------
    denoised
        uint8 along (z, y, x) or (state, z, y, x), in any chunks; 0 is outside the scan.
    reference
        The state whose Otsu threshold is taken for all.
    **parameters
        Of :class:`MaskParams`: phase, threshold, opening, closing, min_island, max_hole, per_state.

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
        if params.threshold != "otsu":
            return np.array(float(params.threshold))
        return lazy_passes((threshold_pass(),), {"denoised": state})[1]["threshold"]

    shared = None if params.per_state else level(reference_volume(denoised, reference))

    def one(state: da.Array) -> da.Array:
        known = {"threshold": level(state) if shared is None else shared}
        return lazy_passes(mask_passes(params), {"denoised": state}, known)[0]["mask"]

    return each_state(denoised, "mask", one)


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
    steps = labels_passes(LabelsParams(**parameters), edges(mask))
    return like(mask, lazy_passes(steps, {"mask": mask.data})[0]["label"], "label")


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
    params, kept = TransferParams(**parameters), DepthLimits(smoothing, max_radius)
    first = number_of(mask, reference)
    states, voxel_um = range(mask.sizes["state"]), edges(mask)
    steps = transfer_passes(params, kept, voxel_um)
    volumes, tables = lazy_passes(
        (depth_pass(smoothing, max_radius, voxel_um), start_pass()),
        {"mask": mask.data[first], "label": label.data},
    )
    done: dict[int, tuple[Any, Any]] = {first: ({**volumes, "label": label.data}, tables)}
    for state in (*range(first + 1, len(states)), *range(first - 1, -1, -1)):
        before = first if params.mode == "reference" else state - 1 if state > first else state + 1
        there, known = done[before]
        done[state] = lazy_passes(
            steps,
            {
                "mask": mask.data[state],
                "previous_label": there["label"],
                "previous_depth": there["depth"],
            },
            {name: known[name] for name in CARRIED},
        )
    return like(mask, da.stack([done[state][0]["label"] for state in states]), "label")


def measure(grey: xr.DataArray, label: xr.DataArray, particles: int, *, max_radius: int = 48) -> xr.DataTree:
    """Measure every particle, lazily; the same numbers as a run's.

    Parameters
    ----------
    grey, label
        uint8 and uint32 along (z, y, x) or (state, z, y, x), in any chunks; positions in um as coordinates.
    particles
        How many ids there are, 1..particles: a lazy table must know its length.
    max_radius
        Upper bound of the depth of any particle, in smallest voxel edges; also the number of shells.

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
    (counted,) = passes_to_tables(MeasureParams(), edges(label), max_radius, range(1, particles + 1), max_radius)

    def tables(grey_of_state: da.Array, label_of_state: da.Array) -> dict[str, Any]:
        return lazy_passes((counted,), {"grey": grey_of_state, "label": label_of_state})[1]

    several = "state" in label.dims
    found = (
        [tables(grey.data[i], label.data[i]) for i in range(label.sizes["state"])]
        if several
        else [tables(grey.data, label.data)]
    )
    sizes = {"particle": particles, "shell": max_radius, "grey": GREY_LEVELS}
    along_state = {name: c for name, c in label.coords.items() if several and c.dims == ("state",)}
    nodes = {}
    for group, variables in (("particles", PARTICLES), ("shells", SHELLS), ("histograms", HISTOGRAMS)):
        columns = {}
        for name, variable in variables.items():
            if group == "particles" and name not in MEASURED:
                continue
            dims = variable.dims[1:]
            shape = tuple(sizes[dim] for dim in dims)
            parts = [
                da.from_delayed(each[f"{group}.{name}"], shape=shape, dtype=np.dtype(variable.dtype)) for each in found
            ]
            voxels = da.stack(parts) if several else parts[0]
            columns[name] = (variable.dims if several else dims, voxels, variable.attributes)
        coords: dict[str, Any] = {dim: np.arange(1, sizes[dim] + 1) for dim in dims if dim != "grey"}
        nodes[group] = xr.Dataset(columns, coords=coords | along_state)
    return xr.DataTree.from_dict(nodes)
