"""What a scanner or a sample may do between scans, a kind a state: the default recipe gets changes of damage right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crackdask import analyse
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom import Alterations, Phantom, states, write
from crackdask.recipe.recipe import load
from tests.support.compared import Compared, compared_with_truth
from tests.support.silence import Silent

NOISY, BENT, SWOLLEN, CUPPED = range(1, 5)
PHANTOM = Phantom(
    (72, 120, 120), states(5), seed=2, vanishing=0, leaving=0,
    alterations=Alterations(
        noise=(1.0, 2.0, 1.0, 1.0, 1.0),
        local_motion=(0.0, 0.0, 2.0, 0.0, 0.0),
        swelling=(1.0, 1.0, 1.0, 1.015, 1.0),
        cupping=(0.0, 0.0, 0.0, 0.0, 0.05),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder: Path = tmp_path_factory.mktemp("altered")
    recipe = load(write(PHANTOM, folder))
    outcome = Run(Scans.of(recipe, folder), folder / "store.zarr", Serial(), Silent())(None)
    assert not outcome.failures
    return compared_with_truth(folder / "store.zarr", PHANTOM)


@pytest.mark.parametrize("state", [NOISY, BENT, SWOLLEN, CUPPED], ids=["noisy", "bent", "swollen", "cupped"])
def test_changes_are_right(compared: Compared, state: int) -> None:
    found, true = (
        analyse.changes(each, since="pristine").isel(state=state - 1) for each in (compared.found, compared.true)
    )
    change, really, error = found.change.values, true.change.values, found.standard_error.values
    assert change.size > 60
    clear = np.abs(really) > 0.015
    assert clear.mean() > 0.5
    assert (np.sign(change) == np.sign(really))[clear].mean() >= 0.98
    assert (np.abs(change - really) <= 1.96 * error).mean() >= 0.9
    if state == CUPPED:  # told, with the state and the figure
        assert [(each.code, each.state) for each in compared.findings if not each.kind.note] == [
            ("cupping", PHANTOM.states[CUPPED].name)
        ]
        return
    assert abs(np.median(change - really)) < 0.004
    assert 0.95 <= (change * really).sum() / (really * really).sum() <= 1.08


def test_each_is_told_with_its_state(compared: Compared) -> None:
    names = [state.name for state in PHANTOM.states]
    told = {(each.code, each.state) for each in compared.findings}
    mean_of_cupping = ("grey-corrected", names[CUPPED])
    wanted = {("local-motion", names[BENT]), ("deformed", names[SWOLLEN]), ("cupping", names[CUPPED])}
    assert told == {*wanted, mean_of_cupping}
    (uneven,) = (each for each in compared.findings if each.code == "cupping")
    assert 0.03 < uneven.figure < 0.06
