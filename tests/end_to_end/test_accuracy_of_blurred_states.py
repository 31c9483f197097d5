"""A state that is blurrier than the others: what it does to changes, what a run does about it, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crackdask import analyse
from crackdask.cluster.launch import connect
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom import FIVE_STATES, Alterations, Phantom, write
from crackdask.recipe.recipe import load
from tests.support.compared import Compared, compared_with_truth
from tests.support.silence import Silent

PHANTOM = Phantom(
    (64, 112, 112), FIVE_STATES[:2], seed=1, vanishing=0, leaving=0, alterations=Alterations(blur=(0, 0.7))
)
AS_IT_IS = '\n[grey]\nmatch_sharpness = "none"\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compared]:
    """Return the same scans, matched and as they are: the second run measures anew in the first one's store."""
    folder = tmp_path_factory.mktemp("blurred")
    recipe, store = write(PHANTOM, folder), folder / "store.zarr"
    found = {}
    for name, more in (("auto", ""), ("none", AS_IT_IS)):
        recipe.write_text(recipe.read_text() + more)
        loaded = load(recipe)
        with connect("synchronous", None, loaded.compute.memory) as executor:
            outcome = Run(Scans.of(loaded, folder), store, executor, Silent())(None)
        assert not outcome.failures
        found[name] = compared_with_truth(store, PHANTOM)
        found[name].found_of_run["done"] = outcome.done
    return found


def off(run: Compared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors of the changes, which are significant, and whether intervals hold the truth."""
    found, true = (analyse.changes(each) for each in (run.found, run.true))
    wrong = found.change.values[0] - true.change.values[0]
    return wrong, found.significant.values[0], np.abs(wrong) <= 1.96 * found.standard_error.values[0]


def test_the_blurrier_state_is_told(runs: dict[str, Compared]) -> None:
    for name, code in (("auto", "sharpness-matched"), ("none", "sharpness")):
        (told,) = [each for each in runs[name].findings if each.code.startswith("sharpness")]
        assert (told.code, told.state, told.limit) == (code, "4.2 V", 0.4)
        assert told.figure == pytest.approx(0.7, abs=0.1)
    blurred = runs["auto"].found_of_run["blurred_by"]
    assert blurred == {"pristine": pytest.approx(0.7, abs=0.1), "4.2 V": 0.0}
    assert set(runs["none"].found_of_run["blurred_by"].values()) == {0.0}
    assert set(runs["auto"].found_of_run["noise_by_state"]) == {"pristine", "4.2 V"}


def test_blur_is_not_taken_for_a_drift_of_the_grey_scale(runs: dict[str, Compared]) -> None:
    """It draws the peaks of the histogram together, by 2% of the contrast; the same places keep their levels."""
    assert [each.code for each in runs["auto"].findings] == ["sharpness-matched"]
    scale = runs["auto"].found_of_run["grey_scale"]["4.2 V"]
    assert (scale["gain"], scale["offset"]) == (1.0, 0.0)


def test_only_what_is_measured_hangs_on_it(runs: dict[str, Compared]) -> None:
    assert runs["none"].found_of_run["done"] == ("measure-0", "measure-1", "track-0")


def test_changes_are_as_sure_as_before(runs: dict[str, Compared]) -> None:
    wrong, sure, covered = off(runs["auto"])
    blurred, unsure, _ = off(runs["none"])
    assert sure.size > 60
    assert sure.mean() >= 0.8 > unsure.mean()
    assert abs(np.median(wrong)) < 0.004 < abs(np.median(blurred))
    assert covered.mean() >= 0.9
    changed = analyse.changes(runs["auto"].found).change.values[0]
    true = analyse.changes(runs["auto"].true).change.values[0]
    assert (np.sign(changed) == np.sign(true))[sure].mean() >= 0.98
    assert 0.95 <= (changed * true).sum() / (true * true).sum() <= 1.08, "what blur took is given back"


def test_particles_stay_what_they_are(runs: dict[str, Compared]) -> None:
    first, second = (runs[name].found for name in ("auto", "none"))
    np.testing.assert_array_equal(first.particle.values, second.particle.values)
    assert replace(PHANTOM, alterations=Alterations()).truth().equals(PHANTOM.truth())
