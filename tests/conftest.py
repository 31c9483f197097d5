"""What several test files share: one small experiment, and the store of its run as a single block."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiment import SMALL, Experiment, whole


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return Experiment.make(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="session")
def whole_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run in which every state is one block, one after the other in one process."""
    store = tmp_path_factory.mktemp("whole") / "whole.zarr"
    outcome, _ = experiment.run(store, whole(SMALL) | {"keep_intermediate": True})
    assert not outcome.failures
    return store
