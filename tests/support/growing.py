"""A beamtime in small: scans of a tiny experiment that come one after the other, and runs of those that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from crackdask.cluster.launch import connect
from crackdask.engine.context import RunContext
from crackdask.engine.run import Outcome, Run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import load
from crackdask.storage.locations import Place
from tests.support.silence import Silent
from tests.support.tiny import Said, Tiny, Voxels, crackdask, scan, write_slices

NAMES = ("pristine", "4.2 V", "3.6 V", "3.0 V", "again 4.2 V")
_STEPS = ("pristine", "charge", "discharge", "discharge", "charge")
_VOLTS = (3.0, 4.2, 3.6, 3.0, 4.2)


def large_balls(seed: int, blur: float) -> Voxels:
    """Return a scan of balls whose faces are flat enough to tell how sharp it is; `blur` is a sigma in voxels."""
    grid = np.ogrid[:32, :60, :60]
    voxels = np.full((32, 60, 60), 1000.0)
    for y, x in ((16, 16), (16, 44), (44, 16), (44, 44)):
        voxels[sum((g - c) ** 2 for g, c in zip(grid, (16, y, x), strict=True)) <= 144] = 3000
    noise = np.random.default_rng(seed).normal(0, 60, voxels.shape)
    return np.asarray((ndimage.gaussian_filter(voxels, blur) + noise).astype(np.uint16))


class Growing(Tiny):
    """A tiny experiment of five states, of which the recipe has the first ones."""

    def __init__(self, folder: Path, states: int = 3, **sections: Any) -> None:
        super().__init__(folder)
        for number in range(2, states):
            if not (folder / "scans" / "abcde"[number]).exists():
                write_slices(folder / "scans" / "abcde"[number], scan(number))
        self.content |= {"compute": {"chunk": [20, 28, 16], "block": [20, 28, 16]}, **sections}
        self.has(states)

    def has(self, states: int) -> Growing:
        """Let the recipe have the first states."""
        rows = zip(NAMES, _VOLTS, _STEPS, "abcde", strict=True)
        every = [{"name": n, "voltage": v, "step": s, "cycle": 1, "source": f"scans/{a}"} for n, v, s, a in rows]
        self.content["states"] = every[:states]
        return self

    def grown(self, states: int, store: Place | None = None, until: str | None = None) -> tuple[Outcome, RunContext]:
        """Run the first states in this process, and return how it ended."""
        recipe = load(self.has(states).recipe)
        with connect("synchronous", 1, recipe.compute.memory) as executor:
            run = Run(Scans.of(recipe, self.folder), store or self.store, executor, Silent())
            return run(until), run.context

    def refused(self, store: Path) -> Said:
        """Run the recipe as it is, which is to be refused."""
        return crackdask("run", self.recipe, "--store", store, "--cluster", "synchronous")
