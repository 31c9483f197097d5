"""A store that grows by states at the end of its recipe is that of a run which had all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crackdask.store.root import StoreError, attributes
from tests.support.experiment import Experiment
from tests.support.growing import run_first, whole_run
from tests.support.store_files import copied, unlike

#: What is done for a state that is added as the third: its own units, the reference's scan read again for registration,
#: and what compares all states, of which only the tables of the store are written anew.
ADDED = {"read-0", "read-2", "register-2", "grey-2", "denoise-2", "mask-2", "transfer-2", "sharpness-2"} | {
    "measure-0", "measure-1", "measure-2", "track-0"
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_run(experiment, tmp_path_factory.mktemp("whole"), 3)


@pytest.fixture(scope="module")
def two_states(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("two") / "two.zarr"
    run_first(experiment, store, 2)
    return store


def test_a_finished_store_grows_and_nothing_of_the_old_states_is_made_anew(
    experiment: Experiment, whole: Path, two_states: Path, tmp_path: Path
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    before = {path: path.stat().st_mtime_ns for path in (store / "volumes").rglob("c/[01]/*/*/*")}
    spent = attributes(store)["steps"]["measure-1"]["seconds"]
    outcome, context = run_first(experiment, store, 3)
    assert not outcome.failures
    assert set(outcome.done) == ADDED
    assert len(before) > 10
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert {str(unit) for unit, _, _ in context.engine.reports} & {"measure-0", "measure-1"} == set()
    assert attributes(store)["steps"]["measure-1"]["seconds"] == spent
    assert unlike(store, whole) == []
