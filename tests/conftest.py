"""What several test files share: two small experiments, and the stores of their runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiment import CUT, SMALL, Experiment, whole
from tests.tiny import Tiny


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
