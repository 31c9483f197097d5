"""A run of an experiment of some seconds, so that the kernels which runs need are compiled before they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.engine.executors import Serial
from crackdask.engine.progress import Silent
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import check

#: What scans are stored as; kernels that read them are compiled for each. The first goes the whole way.
DTYPES = ("uint16", "uint8", "float32")
_SHAPE = (40, 56, 56)
_BALLS = 90


def warm_up(folder: Path, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Compile what a run with the defaults needs, by one in a folder, in this process.

    Parameters
    ----------
    folder
        Where its scans and store go; they are of no use afterwards.
    dtypes
        What the scans of runs to come are stored as.

    Raises
    ------
    RuntimeError
        If a block failed.
    """
    for number, dtype in enumerate(dtypes):
        place = folder / dtype
        place.mkdir()
        for state in range(2):
            np.save(place / f"{state}.npy", _scan(state, dtype))
        outcome = Run(Scans.of(check(_RECIPE), place), place / "out.zarr", Serial(), Silent())(
            "grey" if number else None
        )
        if outcome.failures:
            raise RuntimeError(f"a run of a small experiment failed: {outcome.failures[0].error}") from outcome.cause


_RECIPE: dict[str, Any] = {
    "experiment": {"name": "kernels", "voxel_um": 0.5},
    "states": [
        {"name": "pristine", "voltage": 3.0, "step": "pristine", "source": "0.npy"},
        {"name": "charged", "voltage": 4.2, "step": "charge", "source": "1.npy"},
    ],
    "labels": {"max_radius": 12},
    "compute": {"chunk": 28, "block": [28, 28, 56]},  # more than one block, so that those of seams are among them
}


def _scan(state: int, dtype: str) -> NDArray[Any]:
    """Return bright balls before a dark ground, those of the second state a voxel further along z."""
    rng = np.random.default_rng(0)
    centres, radii = rng.uniform(4, np.array(_SHAPE) - 5, (_BALLS, 3)), rng.uniform(3, 5, _BALLS)
    grid = np.ogrid[tuple(slice(n) for n in _SHAPE)]
    voxels = np.full(_SHAPE, 60.0)
    for (z, y, x), radius in zip(centres, radii, strict=True):
        voxels[(grid[0] - z - state) ** 2 + (grid[1] - y) ** 2 + (grid[2] - x) ** 2 <= radius**2] = 160
    noise = np.random.default_rng(1 + state).normal(0, 6, _SHAPE)
    return (voxels + noise).clip(1, 254).astype(dtype)
