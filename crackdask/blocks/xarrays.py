"""Lazy xarray in and out, for the steps as notebooks call them: one state or several, any chunks, nothing computed."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import xarray as xr

from crackdask.grid import Edges
from crackdask.schema import SPATIAL, VOLUME, VOLUMES


def check(array: xr.DataArray, name: str, dtype: str, state: bool | None = None) -> xr.DataArray:
    """Return a volume with dask chunks, or say what is wrong with it.

    Parameters
    ----------
    array
        A volume along (z, y, x), with or without `state` in front.
    name
        What it is, for the message.
    dtype
        The dtype it must have.
    state
        Whether it must have (True) or must not have (False) a state dimension; None for either.
    """
    wanted = [dims for dims in (SPATIAL, VOLUME) if state in (None, dims == VOLUME)]
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"{name} must be an xarray.DataArray, not {type(array).__name__}")
    if array.dims not in wanted:
        raise ValueError(f"{name} must have the dims {' or '.join(map(str, wanted))}, not {array.dims}")
    if array.dtype != np.dtype(dtype):
        raise TypeError(
            f"{name} must be {dtype}, not {array.dtype}; convert it with .astype({dtype!r}) if that is meant"
        )
    return array if array.chunks is not None else array.chunk()


def edges(array: xr.DataArray) -> Edges:
    """Return the voxel edges (z, y, x) in um from a volume's coordinates, 1 where it has none.

    >>> edges(xr.DataArray(np.zeros((1, 1, 3)), dims=SPATIAL, coords={"x": [0.5, 1.0, 1.5]}))
    (1.0, 1.0, 0.5)
    """
    found = []
    for dim in SPATIAL:
        places = array.coords[dim].values if dim in array.coords else np.arange(2.0)
        steps = np.diff(places)
        if steps.size and not np.allclose(steps, steps[0], rtol=1e-6, atol=0):
            raise ValueError(f"the coordinate {dim} must be evenly spaced: voxels have one size")
        # Coordinates carry rounding; voxel sizes are given to fewer digits.
        found.append(float(f"{steps[0]:.9g}") if steps.size else 0.0)
    known = [edge for edge in found if edge] or [1.0]
    z, y, x = (edge or known[0] for edge in found)
    return (z, y, x)


def like(array: xr.DataArray, voxels: da.Array, name: str) -> xr.DataArray:
    """Return a volume with the dims and coordinates of another."""
    return xr.DataArray(voxels, dims=array.dims, coords=array.coords, name=name, attrs=VOLUMES[name].attributes)


def each_state(array: xr.DataArray, name: str, function: Callable[[da.Array], da.Array]) -> xr.DataArray:
    """Apply a function of one state's volume to a volume or to every state of it."""
    if array.dims == SPATIAL:
        return like(array, function(array.data), name)
    return like(array, da.stack([function(array.data[i]) for i in range(array.sizes["state"])]), name)


def reference_volume(array: xr.DataArray, reference: int | str) -> da.Array:
    """Return the reference state of a volume; a volume of one state is its own."""
    return array.data if array.dims == SPATIAL else array.data[number_of(array, reference)]


def number_of(array: xr.DataArray, reference: int | str) -> int:
    """Return the number of a state given by number or name."""
    if isinstance(reference, str):
        names = [str(value) for value in array.state.values]
        if reference not in names:
            raise ValueError(f"no state is named {reference!r}; there are {', '.join(names)}")
        return names.index(reference)
    count = array.sizes["state"]
    if not -count <= reference < count:
        raise ValueError(f"there are {count} states, found number {reference}, wanted 0 to {count - 1}")
    return range(count)[reference]
