"""Shells of a particle, counted from 1 at its surface: which are its deepest, its core, and without its rim.

The one place that says what the core is. Everything here takes numpy arrays and xarray columns alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

Shells = TypeVar("Shells", "NDArray[Any]", "xr.DataArray")


def in_core(shell: Shells, deepest: Shells) -> Shells:
    """Tell which shells belong to the core: those deeper than half of the particle's deepest (central 50%; paper, 4.6).

    >>> in_core(np.arange(1, 6), np.array(5)).tolist(), in_core(np.arange(1, 5), np.array(4)).tolist()
    ([False, False, True, True, True], [False, False, True, True])
    """
    return 2 * shell > deepest


def deepest_shell(shells: xr.Dataset) -> xr.DataArray:
    """Return the deepest shell that has voxels, of each particle in each state; 0 where it is absent."""
    return shells.shell.astype(np.int64).where(shells.voxels > 0, 0).max("shell")


def core_of(shells: xr.Dataset) -> xr.DataArray:
    """Tell which shells of the table `shells` belong to the core of each particle in each state."""
    return in_core(shells.shell.astype(np.int64), deepest_shell(shells))
