"""Damage where scans are not as the method expects them: a binder round the particles, and a grey scale that drifts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask import analyse
from crackdask.analysis.findings import of_store
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.grid import Box
from crackdask.phantom import Alterations, Phantom, write
from crackdask.phantom.cell_states import states
from crackdask.recipe.recipe import load
from tests.support.scoring import f1, matches
from tests.support.silence import Silent

ALTERED = Alterations(binder_level=0.4, gain=(1.0, 1.03), offset=(0.0, 0.02))
PHANTOM = Phantom(shape=(72, 120, 120), states=states(2), seed=1, alterations=ALTERED)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    folder: Path = tmp_path_factory.mktemp("altered")
    recipe = load(write(PHANTOM, folder / "scans"))
    outcome = Run(Scans.of(recipe, folder / "scans"), folder / "store.zarr", Serial(), Silent())(None)
    assert not outcome.failures
    return crackdask.open(folder / "store.zarr")


def test_both_are_noted_and_nothing_else(store: xr.DataTree) -> None:
    found = of_store(store.attrs)
    assert {(each.code, each.state) for each in found} == {("three-phases", None), ("grey-corrected", "4.2 V")}
    assert all(each.kind.note for each in found)
    (drift,) = (each for each in found if each.code == "grey-corrected")
    assert drift.figure == pytest.approx(0.067, abs=0.005)


def test_particles_end_where_the_binder_begins(store: xr.DataTree) -> None:
    label, true = store["volumes"].label[0].values, PHANTOM.labels(Box.whole(PHANTOM.shape))
    assert f1(label, true, 200) > 0.97
    assert np.count_nonzero(label) / np.count_nonzero(true) == pytest.approx(1, abs=0.04)


def test_changes_of_damage_are_right(store: xr.DataTree) -> None:
    truth, damage = PHANTOM.truth(), analyse.damage(store)
    stays = set(truth.particle.values[truth.in_field.values.all(axis=0)].tolist())
    pairs = matches(store["volumes"].label[0].values, PHANTOM.labels(Box.whole(PHANTOM.shape)))
    both = [(p, pairs[p]) for p in damage.particle.values.tolist() if pairs.get(p) in stays]
    assert len(both) >= 30
    void = truth.sel(particle=[t for _, t in both]).void_fraction.values
    true = (void[1] - void[0]) / (1 - np.median(void[0]))
    found = analyse.changes(damage.sel(particle=[p for p, _ in both]), since="pristine").isel(state=0)
    change, error = found.change.values, found.standard_error.values
    clear = np.abs(true) > 0.015
    assert (np.sign(change) == np.sign(true))[clear].mean() >= 0.98
    assert abs(np.median(change - true)) < 0.004
    assert 0.95 <= (change * true).sum() / (true * true).sum() <= 1.08
    assert (np.abs(change - true) <= 1.96 * error).mean() >= 0.9
