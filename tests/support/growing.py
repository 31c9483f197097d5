"""Runs of the first states of an experiment: what a beamtime has so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crackdask.cluster.launch import connect
from crackdask.engine.context import RunContext
from crackdask.engine.run import Outcome, Run
from crackdask.storage.locations import Place
from tests.support.experiment import CUT, Experiment
from tests.support.silence import Silent


def run_first(
    experiment: Experiment, store: Place, count: int, until: str | None = None, **changed: Any
) -> tuple[Outcome, RunContext]:
    """Run the first states of an experiment, with some sections (or `states`) of its recipe changed."""
    content = experiment.recipe(CUT | {"keep_intermediate": False})
    content |= {"states": content["states"][:count], **changed}
    scans = experiment.prepare(content)
    with connect("synchronous", 1, scans.recipe.compute.memory) as executor:
        run = Run(scans, store, executor, Silent())
        return run(until), run.context


def whole_run(experiment: Experiment, folder: Path, count: int, **changed: Any) -> Path:
    """Return the store of one run that had all states at once."""
    store = folder / "whole.zarr"
    outcome, _ = run_first(experiment, store, count, **changed)
    assert not outcome.failures
    return store
