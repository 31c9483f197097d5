"""The last step of a run at the size of a full field: a small real run, whose tables of particles are exchanged.

A phantom is run up to its tables, and then told that its particles are those of a field (`reductions`): all its states
have the tables and contacts of the field's later state, and shifts of the sums of its grey levels.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.engine.step_runners import PERFORM
from crackdask.engine.table_writer import WORK_TABLES
from crackdask.engine.work_units import units
from crackdask.phantom import Phantom, states, write
from crackdask.recipe.recipe import load
from crackdask.schema import UnitKey
from crackdask.steps.particle_motion import ParticleShifts
from tests.support.silence import Silent


def _small_run(folder: Path) -> Run:
    scans = folder / "scans"
    return Run(Scans.of(load(scans / "recipe.toml"), scans), folder / "small.zarr", Serial(), Silent())


def prepare(folder: Path, particles: int, count: int) -> None:
    """Make the run, of so many states, in the folder of a field, whose tables of particles lie there."""
    shape = (40, 48, 48)
    phantom = Phantom(shape=shape, states=states(count), seed=1, max_rotation_deg=0.0, max_shift=0.0)
    write(phantom, folder / "scans")
    assert not _small_run(folder)("measure").failures
    work, known = Work(folder / "small.zarr.work"), folder / "known"
    contacts = {path.stem: np.load(path) for path in (known / "measure-1").glob("*.npy")}
    shifts = ParticleShifts.first(contacts.pop("shift_sums")).found
    exchanged = {UnitKey("labels", 0): {"particles": np.array([particles])}}
    exchanged |= {UnitKey("measure", s): contacts | ({"shifts": shifts} if s else {}) for s in range(count)}
    for key, tables in exchanged.items():
        result = work.result(key)
        assert result is not None
        work.finish(key, result[0], result[1] | tables)
    for s in range(count):
        work.drop_volume(WORK_TABLES, s)
        shutil.copytree(
            folder / "volumes" / f"{WORK_TABLES}-1", str(work.volume(WORK_TABLES, s)), copy_function=os.link
        )


def track(folder: Path) -> int:
    """Do the last step; return how many states there are."""
    context = _small_run(folder).context
    (unit,) = (each for each in units(context.recipe) if each.step == "track")
    PERFORM[unit.step](context, unit)
    return len(context.recipe.states)
