"""A small electrode in two states, projected: its scans are made once, its recipe is changed as a test likes."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from crackdask.cluster.launch import connect
from crackdask.engine.checkpoints import Work
from crackdask.engine.run import Outcome, Run
from crackdask.engine.scans import Scans
from crackdask.kernels.quantisation import LAST
from crackdask.phantom import Phantom
from crackdask.phantom.cell_states import states
from crackdask.phantom.projections import Projections
from crackdask.recipe.recipe import check
from crackdask.schema import UnitKey
from tests.support.experiment import QUICK
from tests.support.silence import Silent

PHANTOM = Phantom(
    (20, 48, 48), states(2), seed=2, vanishing=0, leaving=0, max_shift=1.0, radius_median=6.0, radius_range=(4.0, 8.0)
)
PROJECTED = Projections(PHANTOM, degrees=tuple(np.linspace(0, 180, 121).tolist()), center=43.13)


def altered(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the scans, to be written to."""
    return Path(shutil.copytree(folder, tmp_path / "altered"))


def content(folder: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe with some keys changed."""
    recipe = tomllib.loads((folder / "recipe.toml").read_text()) | {"register": QUICK}
    recipe["labels"]["max_radius"] = 12
    for name, values in sections.items():
        recipe[name] = {**recipe.get(name, {}), **values}
    return recipe


def run(
    folder: Path, store: Path, cluster: str = "synchronous", until: str | None = None, **sections: dict[str, Any]
) -> Outcome:
    """Run the recipe with some keys changed."""
    return run_recipe(content(folder, **sections), folder, store, cluster, until)


def run_recipe(
    recipe: dict[str, Any], folder: Path, store: Path, cluster: str = "synchronous", until: str | None = None
) -> Outcome:
    """Run a recipe whose paths begin in a folder."""
    scans = Scans.of(check(recipe), folder)
    with connect(cluster, 2 if cluster == "local" else None, scans.recipe.compute.memory) as executor:
        return Run(scans, store, executor, Silent())(until)


def found(store: Path, state: int = 0) -> dict[str, np.ndarray]:
    """Return what a run knows of a state that it reconstructed."""
    _, tables = Work.beside(store).result(UnitKey("reconstruct", state)) or ("", {})
    return dict(tables)


def raw_attenuation(store: Path, state: int = 0) -> np.ndarray:
    """Return a scan as it was read from its tomogram of 16-bit levels, as attenuation."""
    raw = np.asarray(zarr.open_array(str(Work.beside(store).volume("raw", state)))[...])
    low, high = found(store, state)["window"].tolist()
    attenuation: np.ndarray = low + raw * ((high - low) / LAST)
    return attenuation
