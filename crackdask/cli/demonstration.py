"""The demonstration: an invented operando experiment, and how well its truth was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from crackdask.analysis.regions import regions
from crackdask.phantom import Phantom, write
from crackdask.store.open import open_store

DEMO = Phantom(shape=(112, 168, 168), seed=7)


def prepare(store: Path, workers: int, say: Callable[[str], None]) -> Path:
    """Make the demo's scans beside a store, if they are not there, and return the recipe."""
    folder = store.parent / f"{store.stem}-scans"
    recipe = folder / "recipe.toml"
    if recipe.exists():
        say(f"the scans are there already: {folder}")
        return recipe
    shape = " x ".join(map(str, DEMO.shape))
    say(f"making {len(DEMO.states)} scans of {shape} voxels in {folder}")
    return write(DEMO, folder, workers=workers)


def verdict(store: Path) -> list[tuple[str, float, float]]:
    """Return for each later state the share of particles that are more cracked than at first: found, and programmed."""
    tree = open_store(store)
    table = tree["particles"].to_dataset().load()
    tracked = table.tracked.any("state")
    core = regions(tree).sel(region="core").load()
    grey = (core.grey_sum / core.voxels).where(tracked)
    names = [str(name) for name in table.state.values]
    darker = [float((grey[i] < grey[0]).sum() / tracked.sum()) for i in range(1, len(names))]
    truth = pd.read_parquet(store.parent / f"{store.stem}-scans" / "truth" / "particles.parquet")
    void = truth.pivot_table(index="particle", columns="state", values="void_fraction", sort=False)
    seen = truth.groupby("particle").in_field.all()
    programmed = [float(np.mean(void.loc[seen, n] > void.loc[seen, names[0]])) for n in names[1:]]
    return list(zip(names[1:], darker, programmed, strict=True))
