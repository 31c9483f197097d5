"""What several of these tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import five_states
from tests.support.experiment import CUT, Experiment
from tests.support.shared import made_once


@pytest.fixture(scope="session")
def five_states_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run of the phantom of five states; look, do not touch."""
    return made_once(tmp_path_factory, "five-states", five_states.run) / "store.zarr"


@pytest.fixture(scope="session")
def grey_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run that came as far as grey; look, do not touch."""

    def make(folder: Path) -> None:
        outcome, _ = experiment.run(folder / "grey.zarr", CUT | {"keep_intermediate": False}, until="grey")
        assert not outcome.failures

    return made_once(tmp_path_factory, "grey", make) / "grey.zarr"
