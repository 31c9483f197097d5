"""What several test files share: two small experiments, the stores of their runs, and a Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import slurm as slurm_daemons
from tests.support.experiment import CUT, SMALL, Experiment, whole
from tests.support.tiny import Tiny


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return Experiment.make(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="session")
def whole_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run in which every state is one block, one after the other in one process."""
    store = tmp_path_factory.mktemp("whole") / "whole.zarr"
    outcome, _ = experiment.run(store, whole(SMALL) | {"keep_intermediate": True})
    assert not outcome.failures
    return store


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Return a small experiment, not yet run."""
    return Tiny(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return the small experiment, run to its end; look, do not touch."""
    made = Tiny(tmp_path_factory.mktemp("finished"))
    said = made.run()
    assert said.code == 0, said.err
    return made


@pytest.fixture(scope="session")
def cut_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run in blocks that was never disturbed."""
    store = tmp_path_factory.mktemp("cut") / "cut.zarr"
    outcome, job = experiment.run(store, CUT)
    assert not outcome.failures
    assert len(job.grid) == 8
    return store


@pytest.fixture(scope="session")
def slurm() -> Iterator[slurm_daemons.Slurm]:
    """Return a running Slurm with two nodes of two cores; whoever is done with it leaves no jobs behind."""
    if missing := slurm_daemons.missing():
        pytest.skip(f"no Slurm: {', '.join(missing)} not found; on Debian: apt-get install slurm-wlm munge")
    with slurm_daemons.running() as daemons:
        yield daemons
