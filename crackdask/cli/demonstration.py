"""The demonstration: an invented operando experiment, and how well its truth was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from crackdask.analysis.regions import regions
from crackdask.phantom import Phantom, hard, write
from crackdask.phantom.cell_record import cell_record, write_mpt
from crackdask.phantom.projected_scans import write_projections
from crackdask.phantom.projections import Projections
from crackdask.store.open import open_store

DEMO = Phantom(shape=(112, 168, 168), seed=7)
HARD = hard(DEMO.shape, DEMO.states, DEMO.seed)
#: Little motion: the ends of the box in which there are particles do not move with them, and projections show them.
PROJECTED = Projections(Phantom(shape=DEMO.shape, seed=DEMO.seed, max_shift=1.0, max_rotation_deg=0.1))
Kind = Literal["plain", "hard", "projections"]


def scans_beside(store: Path, kind: Kind = "plain") -> Path:
    """Return the folder of the demo's scans; each kind has its own, so that none is taken for the other."""
    return store.parent / f"{store.stem}-{'' if kind == 'plain' else f'{kind}-'}scans"


def prepare(
    store: Path,
    workers: int,
    say: Callable[[str], None],
    kind: Kind = "plain",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the demo's scans beside a store, if they are not there, and return the recipe.

    `progress` is told of slabs done and slabs in all, where scans are projected.
    """
    folder, phantom = scans_beside(store, kind), HARD if kind == "hard" else DEMO
    recipe = folder / "recipe.toml"
    if recipe.exists():
        say(f"the scans are there already: {folder}")
        return recipe
    if kind == "projections":
        scan = PROJECTED.phantom
        frames = f"{len(PROJECTED.degrees)} projections of {scan.shape[0]} x {PROJECTED.width} pixels"
        say(f"making {len(scan.states)} scans of {frames} in {folder}")
        write_projections(PROJECTED, folder, progress)
        return recipe
    shape = " x ".join(map(str, phantom.shape))
    say(f"making {len(phantom.states)} scans of {shape} voxels in {folder}")
    write(phantom, folder, workers=workers)
    write_mpt(cell_record(phantom.states), folder / "cell.mpt")
    with recipe.open("a", encoding="utf-8") as file:
        file.write('\n[electrochemistry]\nfiles = ["cell.mpt"]\n')
    return recipe


def verdict(store: Path, kind: Kind = "plain") -> list[tuple[str, float, float]]:
    """Return for each later state the share of particles that are more cracked than at first: found, and programmed."""
    tree = open_store(store)
    table = tree["particles"].to_dataset().load()
    tracked = table.tracked.any("state")
    core = regions(tree).sel(region="core").load()
    grey = (core.grey_sum / core.voxels).where(tracked)
    names = [str(name) for name in table.state.values]
    darker = [float((grey[i] < grey[0]).sum() / tracked.sum()) for i in range(1, len(names))]
    truth = pd.read_parquet(scans_beside(store, kind) / "truth" / "particles.parquet")
    void = truth.pivot_table(index="particle", columns="state", values="void_fraction", sort=False)
    seen = truth.groupby("particle").in_field.all()
    programmed = [float(np.mean(void.loc[seen, n] > void.loc[seen, names[0]])) for n in names[1:]]
    return list(zip(names[1:], darker, programmed, strict=True))
