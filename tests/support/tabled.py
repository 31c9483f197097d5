"""Stores of tables alone, with numbers that are chosen: nothing was scanned, and there is no voxel to touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from crackdask.phantom import FIVE_STATES, State

Floats = np.ndarray[Any, np.dtype[Any]]
VOXEL_UM = 0.5


def ball(radius: float, shells: int) -> Floats:
    """Return about the voxels of a ball's shells, outermost first."""
    shell = np.arange(1, shells + 1)
    voxels = 4 / 3 * np.pi * (np.clip(radius - shell + 1, 0, None) ** 3 - np.clip(radius - shell, 0, None) ** 3)
    return np.where(shell <= radius, np.maximum(voxels.round(), 1), 0)


def balls(radii: Sequence[float] | Floats, states: int) -> Floats:
    """Return the voxels of balls, (state, particle, shell)."""
    deepest = int(max(radii))
    return np.broadcast_to([ball(r, deepest) for r in radii], (states, len(radii), deepest)).copy()


def tables(
    voxels: Floats,
    grey: Floats,
    states: Sequence[State] = FIVE_STATES,
    *,
    noise: float = 5.0,
    tracked: Floats | None = None,
    found: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
) -> xr.DataTree:
    """Return a store of these shells: voxels and mean grey, both (state, particle, shell)."""
    n = voxels.shape[1]
    both, coords = ("state", "particle"), {"particle": np.arange(1, n + 1, dtype=np.uint32)}
    along = {
        "state": np.array([s.name for s in states], dtype=object),
        "voltage": ("state", [s.voltage for s in states]),
        "step": ("state", np.array([s.step for s in states], dtype=object)),
        "cycle": ("state", [s.cycle for s in states]),
    }
    volume = voxels.sum(axis=2) * VOXEL_UM**3
    flags = np.ones(n, bool) if tracked is None else tracked
    particles = {
        "volume_um3": (both, volume),
        "equivalent_diameter_um": (both, np.cbrt(6 * volume / np.pi)),
        "sphericity": (both, np.broadcast_to(np.linspace(0.7, 0.9, n), voxels.shape[:2])),
        "on_border": (both, np.broadcast_to(np.arange(n) % 3 == 0, voxels.shape[:2])),
        "tracked": (both, np.broadcast_to(flags, voxels.shape[:2])),
    }
    shells = {
        "voxels": ((*both, "shell"), voxels.astype(np.uint32)),
        "grey_sum": ((*both, "shell"), (voxels * grey).round().astype(np.uint64)),
        "grey_sumsq": ((*both, "shell"), (voxels * (grey**2 + noise**2)).round().astype(np.uint64)),
    }
    level = np.arange(256)
    spread = np.exp(-((level - grey.mean(axis=2)[..., None]) ** 2) / 2 / noise**2)
    counts = (spread / spread.sum(axis=2, keepdims=True) * voxels.sum(axis=2)[..., None]).round().astype(np.uint32)
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(
                attrs={
                    "complete": True,
                    "recipe": {"experiment": {"voxel_um": [VOXEL_UM] * 3}, "analyse": recipe or {}},
                    "found": {"noise": noise, "background": 60.0} if found is None else found,
                }
            ),
            "particles": xr.Dataset(particles, {**along, **coords}),
            "shells": xr.Dataset(shells, {**along, **coords, "shell": np.arange(1, voxels.shape[2] + 1)}),
            "histograms": xr.Dataset({"voxels": ((*both, "grey"), counts)}, {**along, **coords, "grey": level}),
        }
    )


def replaced(tree: xr.DataTree, **groups: xr.Dataset) -> xr.DataTree:
    """Return a store with other tables in some places."""
    made = tree.copy()
    for name, table in groups.items():
        made[name] = xr.DataTree(table)
    return made
