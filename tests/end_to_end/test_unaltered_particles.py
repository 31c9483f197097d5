"""Scans between which no particle changes: noise anew, twice as strong in one of them, and rings, are no damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
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
from tests.support.silence import Silent

PHANTOM = Phantom((80, 120, 120), states(3), seed=1, vanishing=0, leaving=0, alterations=Alterations(rings=0.04))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    folder: Path = tmp_path_factory.mktemp("unaltered")
    recipe = load(write(PHANTOM, folder))
    whole = Box.whole(PHANTOM.shape)
    clean = PHANTOM.clean(0, whole).astype(float)
    noise = PHANTOM.scan(0, whole) - clean
    for state, factor in ((1, 1.0), (2, 2.0)):
        voxels = np.clip(np.rint(clean + factor * np.roll(noise, (17, 23, 31), (0, 1, 2))), 0, 255).astype(np.uint8)
        for path, page in zip(sorted((folder / recipe.states[state].source).iterdir()), voxels, strict=True):
            tifffile.imwrite(path, page)
    outcome = Run(Scans.of(recipe, folder), folder / "store.zarr", Serial(), Silent())(None)
    assert not outcome.failures
    return crackdask.open(folder / "store.zarr")


def test_nothing_is_corrected(store: xr.DataTree) -> None:
    assert {each.code for each in of_store(store.attrs)} <= {"rings", "clipped"}
    scales = store.attrs["found"]["grey_scale"].values()
    assert {(scale["gain"], scale["offset"]) for scale in scales} == {(1.0, 0.0)}


@pytest.mark.parametrize(("state", "most"), [(0, 0.03), (1, 0.08)])  # errors of the noisier are those of 95%
def test_few_changes_are_significant(store: xr.DataTree, state: int, most: float) -> None:
    found = analyse.changes(analyse.damage(store), since="pristine").isel(state=state)
    assert found.change.size > 80
    assert found.significant.values.mean() < most
    assert abs(np.median(found.change.values)) < 0.004
    assert (np.abs(found.change.values) <= 1.96 * found.standard_error.values).mean() >= 0.9
