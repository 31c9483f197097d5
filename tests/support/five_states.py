"""A phantom as it comes, with particles enough to take shares of, and one run of it for all that judges it."""

from __future__ import annotations

from pathlib import Path

from crackdask.cluster.launch import connect
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom import FIVE_STATES, Phantom, write
from crackdask.recipe.recipe import load
from tests.support.silence import Silent

PHANTOM = Phantom(shape=(128, 208, 208), states=FIVE_STATES, seed=1)


def run(folder: Path) -> None:
    """Write the scans, and run their recipe as it is into `store.zarr`, on two workers."""
    recipe = load(write(PHANTOM, folder / "scans", workers=2))
    with connect("local", 2, recipe.compute.memory) as executor:
        outcome = Run(Scans.of(recipe, folder / "scans"), folder / "store.zarr", executor, Silent())(None)
    assert not outcome.failures
