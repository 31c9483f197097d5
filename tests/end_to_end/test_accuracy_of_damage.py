"""Damage, its errors and the paper's shares, from scans to answers, against a phantom whose paths are known.

The phantom is as it comes: noise, streaks, phase contrast and motion are on. Nothing here is fitted to it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crackdask import analyse
from tests.support.compared import Compared, compared_with_truth
from tests.support.five_states import PHANTOM

LARGE = 8.0  # voxels
POINTS = 0.03


@pytest.fixture(scope="session")
def compared(five_states_store: Path) -> Compared:
    return compared_with_truth(five_states_store, PHANTOM)


def test_the_phantom_is_large_enough(compared):
    assert compared.found.sizes["particle"] >= 500
    assert (compared.radius >= LARGE).sum() >= 150
    assert PHANTOM.noise_sd > 0
    assert np.abs(PHANTOM.matrix(1) - np.eye(4)).max() > 0.5


def test_states_that_are_alike_are_measured_as_they_are_and_nothing_is_told(compared):
    assert set(compared.found_of_run["blurred_by"].values()) == {0.0}
    assert compared.findings == []


def test_shares_of_particles_are_within_three_points(compared):
    found, true = compared.found, compared.true
    pairs = {
        "damaged at the top": [analyse.damaged_on_charge(x).share_at_top for x in (found, true)],
        "damaged anywhere": [analyse.damaged_on_charge(x).share_anywhere for x in (found, true)],
        "healed": [analyse.healed_on_discharge(x).share for x in (found, true)],
        "least damage": [analyse.extremes(x).least_share for x in (found, true)],
        "most damage": [analyse.extremes(x).most_share for x in (found, true)],
        "paths": [analyse.paths(x).share for x in (found, true)],
    }
    off = {name: float(np.abs(a - b).max()) for name, (a, b) in pairs.items()}
    assert max(off.values()) <= POINTS, off
    assert all(0.02 < float(true_share.max()) < 1 for _, true_share in pairs.values())


def test_the_commonest_paths_are_found(compared):
    found, true = (analyse.ranking(analyse.paths(x)) for x in (compared.found, compared.true))
    common = true.path.values[true.share.values >= 0.05]
    assert len(common) >= 6
    for path in common:
        assert float(found.share.sel(path=path)) == pytest.approx(float(true.share.sel(path=path)), abs=POINTS)
    assert found.path.values[0] in true.path.values[:2]


def test_damage_follows_the_true_void_fraction(compared):
    large = compared.radius >= LARGE
    found, true = compared.found.damage.values[:, large], compared.true.damage.values[:, large]
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] >= 0.95
    for state in range(5):
        assert np.corrcoef(found[state], true[state])[0, 1] >= 0.93
    slope = float((found * true).sum() / (true * true).sum())
    assert slope == pytest.approx(1, abs=0.07)


def test_pristine_damage_is_free_of_size(compared):
    pristine = compared.found.damage.sel(state="pristine").values
    assert abs(np.corrcoef(pristine, compared.radius)[0, 1]) < 0.1
    assert abs(np.corrcoef(pristine, compared.found.radius_um)[0, 1]) < 0.1


def test_intervals_of_damage_cover_the_truth(compared):
    covered = compared.covered(compared.found.standard_error, compared.found.damage - compared.true.damage)
    assert 0.90 <= covered <= 0.98


@pytest.mark.parametrize("since", ["previous", "pristine", "4.4 V"])
def test_intervals_of_changes_cover_the_truth(compared, since):
    found, true = (analyse.changes(x, since=since).change for x in (compared.found, compared.true))
    error = analyse.changes(compared.found, since=since).standard_error
    assert 0.90 <= compared.covered(error, found - true) <= 0.98
    for state in range(4):
        assert compared.covered(error[state], (found - true)[state]) >= 0.85


def test_significant_changes_have_the_right_sign(compared):
    found, true = (analyse.changes(x, since="pristine") for x in (compared.found, compared.true))
    sure = found.significant.values
    assert not (sure & ~found.beyond_noise.values).any()
    assert 0.5 < sure.mean() < 0.95
    wrong = np.sign(found.change.values) != np.sign(true.change.values)
    assert wrong[sure].mean() < 0.005
    assert wrong[~sure].mean() > 0.03
