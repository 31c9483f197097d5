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
from math import log
from pathlib import Path

from crackdask.recipe.recipe import Recipe
from crackdask.storage.locations import write_whole

#: Runs that are remembered; the oldest are forgotten first.
KEPT = 100
#: Of runs about as large the latest so many count: programs and machines change.
_LATEST = 5
#: Runs are about as large where their expectations differ by less than this factor.
_LIKE_SIZED = 2.0
#: Seconds of a run beside which as many count as expected, so that a small run says little of a large one's rate.
_PRIOR = 60.0


@dataclass(frozen=True)
class RunTime:
    """One run from its first block to its last.

    Attributes
    ----------
    like
        What decides how dear its voxels are (`likeness`).
    expected, took
        Seconds, with the workers that it had.
    waited
        Share of them in which its workers had no core, for the machine had other work.
    """

    like: str
    expected: float
    took: float
    waited: float = 0.0

    @property
    def undisturbed(self) -> float:
        """Seconds that it would have taken on a machine with nothing else to do."""
        return self.took * (1.0 - self.waited)


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
            RunTime(str(run["like"]), float(run["expected"]), float(run["took"]), float(run.get("waited", 0.0)))
            for run in json.loads(path().read_text())
            if 0 < float(run["expected"]) < 1e9 and 0 < float(run["took"]) < 1e9 and 0 <= run.get("waited", 0.0) < 1
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

    A run takes a multiple of what is expected, and some seconds more to start. Runs are slower than they need be, never
    faster, so of the latest that are alike the fastest count: for the multiple all of them, each the more the longer it
    took, for the rest those whose size is nearest.

    >>> runs = [RunTime("nlm", 2.0, 6.0), RunTime("nlm", 2.0, 50.0), RunTime("nlm", 400.0, 320.0)]
    >>> [round(learned("nlm", expected, runs)[0]) for expected in (2.0, 400.0, 800.0)]
    [6, 320, 650]
    >>> learned("median", 60.0, runs)
    (60.0, 0)
    """
    alike = [run for run in runs if run.like == like]
    if not alike:
        return expected, 0
    counted = [run for at, run in enumerate(alike) if _about(run.expected, alike[at + 1 :]) < _LATEST]
    rate = min((run.undisturbed + _PRIOR) / (run.expected + _PRIOR) for run in counted)
    nearest = min((run.expected for run in counted), key=lambda size: abs(log(size / expected)))
    more = min(run.undisturbed - rate * run.expected for run in counted if _about(nearest, [run]))
    least = min(run.undisturbed / run.expected for run in counted)
    return max(rate * expected + more, least * expected), len(counted)


def _about(size: float, runs: Sequence[RunTime]) -> int:
    """Return how many runs are about as large."""
    return sum(size / _LIKE_SIZED < run.expected < size * _LIKE_SIZED for run in runs)
