"""How long whole runs took on this machine, so that `check` can tell from them how long another one will.

Each run that did all of its recipe in one go leaves a line in a small file of the user's cache folder
(`CRACKDASK_CACHE_DIR`, or `crackdask` in `XDG_CACHE_HOME` or ``~/.cache``): what was expected of it, and what it took.
No name and no path is in it. It may be deleted; where it cannot be read or written, nothing is learned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from crackdask.recipe.recipe import Recipe
from crackdask.storage.locations import write_whole

#: Runs that are remembered; the oldest are forgotten first.
KEPT = 50
#: How much the expectation itself counts beside one run, so that a single small run says nothing of a large one's rate.
_PRIOR = 0.05


@dataclass(frozen=True)
class RunTime:
    """One run from its first block to its last.

    Attributes
    ----------
    like
        What decides how dear its voxels are (`likeness`).
    expected, took
        Seconds, with the workers that it had.
    """

    like: str
    expected: float
    took: float


def likeness(recipe: Recipe) -> str:
    """Return what makes the voxels of two runs about as dear: how they are denoised, and whether slices are made.

    >>> from crackdask.recipe.recipe import check
    >>> state = {"name": "a", "voltage": 3.0, "step": "pristine", "source": "a.npy"}
    >>> likeness(check({"experiment": {"name": "x", "voxel_um": 1.0}, "states": [state]}))
    'nlm 3 5'
    """
    rings = f", {recipe.reconstruct.rings} rings" if recipe.reconstruct else ""
    return f"{recipe.denoise.costs_as}{rings}"


def path() -> Path:
    """Return where run times are kept."""
    if named := os.environ.get("CRACKDASK_CACHE_DIR"):
        return Path(named) / "run_times.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crackdask" / "run_times.json"


def remembered() -> list[RunTime]:
    """Return the runs of this machine, the latest last."""
    try:
        return [
            RunTime(str(run["like"]), float(run["expected"]), float(run["took"]))
            for run in json.loads(path().read_text())
            if 0 < float(run["expected"]) < 1e9 and 0 < float(run["took"]) < 1e9
        ]
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # there is no home, or it holds something else
        return []


def remember(run: RunTime) -> None:
    """Keep what a run took; where that cannot be, it is forgotten."""
    try:
        write_whole(path(), json.dumps([asdict(each) for each in [*remembered(), run][-KEPT:]], indent=1).encode())
    except (OSError, RuntimeError):
        return


def learned(like: str, expected: float, runs: Sequence[RunTime]) -> tuple[float, int]:
    """Return the seconds that a run will take, and of how many runs that was learned.

    A run takes some seconds to start, and then a multiple of what is expected. Both follow from runs that are alike,
    each weighed by its relative error; of the multiple, 1 is taken for as likely as a twentieth of a run says.

    >>> runs = [RunTime("nlm", 2.0, 25.0), RunTime("nlm", 400.0, 320.0), RunTime("none", 9.0, 900.0)]
    >>> [round(learned("nlm", expected, runs)[0]) for expected in (2.0, 400.0, 800.0)]
    [25, 323, 623]
    >>> learned("median", 60.0, runs)
    (60.0, 0)
    """
    alike = [run for run in runs if run.like == like]
    if not alike:
        return expected, 0
    expectations, took = (np.array([getattr(run, name) for run in alike]) for name in ("expected", "took"))
    rows = np.stack([np.append(1 / took, 0.0), np.append(expectations / took, sqrt(_PRIOR))], axis=1)
    wanted = np.append(np.ones(len(alike)), sqrt(_PRIOR))
    (start, rate), *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    if start < 0:
        start, rate = 0.0, float(rows[:, 1] @ wanted / (rows[:, 1] @ rows[:, 1]))
    if rate < 0:
        start, rate = float(rows[:, 0] @ wanted / (rows[:, 0] @ rows[:, 0])), 0.0
    return float(start + rate * expected), len(alike)
